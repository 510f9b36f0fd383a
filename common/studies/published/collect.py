"""Find the results below folders, and part those that may stand beside published numbers from the others. Imports no torch."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.errors import InputError
from common.files import read_json
from common.studies.results import check_result

REFUSING_FLAGS = ("source_saw_target",)
"""Flags with which nothing is concluded from a result."""


@dataclass(frozen=True)
class Found:
    """A result that may be compared.

    Attributes:
        file: where it lies.
        result: its content, of format 1.
        said: what `--method` says of it; None: nothing.
    """

    file: Path
    result: Mapping[str, Any]
    said: str | None

    @property
    def configuration(self) -> str:
        """The run's name without its seeds: results that differ in nothing else may be averaged."""
        return str(self.result["run"]).rpartition("/")[0]

    @property
    def seeds(self) -> tuple[Any, Any]:
        """Seeds of the search and of the task."""
        return self.result["seed"].get("ticket"), self.result["seed"].get("task")

    @property
    def density(self) -> float:
        """Kept fraction, in (0, 1]."""
        return float(self.result["density"])

    def text(self, path: str) -> str:
        """Return a field, by its dotted path, as a match column writes it; null where it is absent."""
        value: Any = self.result
        for key in path.split("."):
            value = value.get(key) if isinstance(value, Mapping) else None
        return value if isinstance(value, str) else json.dumps(value)

    def measured(self, metric: str) -> float | None:
        """Return a metric on the test split, a fraction; None where it was not measured."""
        value = self.result["metrics"].get(f"test/{metric}")
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


@dataclass(frozen=True)
class Refused:
    """A result that stands beside nothing published, and why."""

    file: Path
    why: str


def collect(folders: Sequence[str], said: Mapping[str, str]) -> tuple[list[Found], list[Refused]]:
    """Read every result below some folders, once.

    Args:
        folders: run directories, or whatever holds some.
        said: for a folder, the method that `--method` says its results are of; these folders are read too.

    Raises:
        InputError: a folder is absent or holds no result, a result is damaged, or one is said to be of two methods.
    """
    methods = {folder: found for folder in said for found in [_files(folder)]}
    files = {file.resolve(): file for folder in folders for file in _files(folder)}
    files |= {file.resolve(): file for found in methods.values() for file in found}
    told: dict[Path, str] = {}
    for folder, found in methods.items():
        for file in found:
            if told.setdefault(file.resolve(), said[folder]) != said[folder]:
                raise InputError(f"--method: {file} is said to be of {told[file.resolve()]} and of {said[folder]}; it is of one")
    results: list[Found] = []
    refused: list[Refused] = []
    for real, file in sorted(files.items()):
        result = read_json(file)
        check_result(result, file)
        why = _why_not(result)
        if why is None:
            results.append(Found(file, result, told.get(real)))
        else:
            refused.append(Refused(file, why))
    return results, refused


def _files(folder: str) -> list[Path]:
    """Return the result files of the runs below a folder; of a run with rounds, those of its rounds."""
    root = Path(folder)
    if not root.is_dir():
        raise InputError(f"{folder}: there is no such folder; name one with runs below it, such as runs")
    found = sorted(root.rglob("result.json"))
    if not found:
        raise InputError(f"{folder}: no result.json below it; name the folder that runs were written to with --out")
    return list(_last_only(found))


def _last_only(files: Iterable[Path]) -> Iterable[Path]:
    for file in files:
        if not any(file.parent.glob("round_*/result.json")):  # its own repeats the last round's
            yield file


def _why_not(result: Mapping[str, Any]) -> str | None:
    """Return why a result stands beside nothing published; None: it may."""
    if result["task"] == "pretraining":
        return "a round of a search, judged on validation images"
    if result["split"] != "test":
        return f"measured on the {result['split']} split, and published numbers are of test images"
    refusing = [flag for flag in result["flags"] if flag in REFUSING_FLAGS]
    return f"flagged {', '.join(refusing)}" if refusing else None
