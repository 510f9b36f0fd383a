"""Read the result files of a plan: rows for what is there, and a note for whatever is missing, failed, damaged or flagged."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from common.errors import InputError
from common.files import canonical_json, read_json
from common.studies.plan import Job, Plan
from common.studies.study import Study
from common.studies.words import flagged
from common.tickets.header import read_header

FORMAT = 1
_WORDS = ("run", "folder", "recipe", "task", "split", "metric", "unit", "control", "protocol", "device")
_ALIKE = ("protocol", "data", "split", "metric", "unit", "higher_is_better", "task", "labels")
"""What runs must share before their values may be averaged or compared."""


@dataclass(frozen=True)
class Row:
    """One result: the job that asked for it, the file, and its content; `round` is a search's round, else the ticket's."""

    job: Job
    file: Path
    round: int | None
    result: Mapping[str, Any]

    @property
    def value(self) -> float:
        """The main metric, a fraction in [0, 1]."""
        return float(self.result["value"])

    @property
    def density(self) -> float:
        """Kept fraction, in (0, 1]."""
        return float(self.result["density"])

    @property
    def labels(self) -> int | None:
        """How many labels the run could use: what it says it used, else what it was allowed; None is all of them."""
        details = self.result.get("details")
        if isinstance(details, dict) and "labels" in details:
            return details["labels"]
        return self.result["config"].get("data", {}).get("labels")

    @property
    def split_hash(self) -> str | None:
        """Hash of the data set's split."""
        data = self.result["data"]
        return data.get("split_hash") if isinstance(data, dict) else None

    @property
    def data(self) -> str:
        """Name of the data set."""
        data = self.result["data"]
        return str(data.get("name")) if isinstance(data, dict) else str(data)

    def alike(self, key: str) -> str:
        """Return the canonical text of something that runs must share."""
        return canonical_json(self.labels if key == "labels" else self.result.get(key))


@dataclass(frozen=True)
class Note:
    """What a reader must know of one run; `kind` is missing, failed, damaged or flagged."""

    kind: str
    job: str
    text: str


@dataclass(frozen=True)
class Results:
    """All that a plan's runs have left: results of transfers and floors, results of the searches' rounds, notes."""

    rows: tuple[Row, ...]
    rounds: tuple[Row, ...]
    notes: tuple[Note, ...]

    def of(self, entry: str) -> list[Row]:
        """Rows of one transfer or floor, or of one search's rounds."""
        return [row for row in (*self.rows, *self.rounds) if row.job.entry == entry]


def read_results(plan: Plan) -> Results:
    """Read every result of a plan.

    Raises:
        InputError: runs that the study would compare differ in protocol, data, split, labels or metric.
    """
    rows: list[Row] = []
    rounds: list[Row] = []
    notes: list[Note] = []
    for job in plan.jobs:
        if job.kind == "search":
            rounds += _rounds(plan, job, notes)
        else:
            rows += _read(job, job.run / "result.json", job.round, notes)
    for names in _compared(plan.study):
        _require_alike([row for row in (*rows, *rounds) if row.job.entry in names])
    notes += [
        Note("flagged", _name(row.job, row.round), flagged(str(flag))) for row in (*rows, *rounds) for flag in row.result["flags"]
    ]
    return Results(tuple(rows), tuple(rounds), tuple(notes))


def _compared(study: Study) -> list[set[str]]:
    """Return the entries whose results are averaged or compared with one another: a search, a floor, a task from any source."""
    alone: list[set[str]] = [{entry.name} for entry in (*study.searches, *study.floors)]
    return alone + [{transfer.name for transfer in transfers} for transfers in study.tasks.values()]


def _name(job: Job, number: int | None) -> str:
    """Name a result: a search has one per round."""
    return f"{job.id}/round_{number:02d}" if job.kind == "search" else job.id


def _rounds(plan: Plan, job: Job, notes: list[Note]) -> list[Row]:
    """Read a search's rounds; one that never began is one note, not one per round."""
    last = next(search.rounds for search in plan.study.searches if search.name == job.entry)
    if not any(job.run.glob("round_*/result.json")):
        notes.append(_absent(job, job.id))
        return []
    files = {number: job.run / f"round_{number:02d}" / "result.json" for number in range(last + 1)}
    return [row for number, file in files.items() for row in _read(job, file, number, notes)]


def _read(job: Job, file: Path, number: int | None, notes: list[Note]) -> list[Row]:
    name = _name(job, number)
    if not file.is_file():
        notes.append(_absent(job, name))
        return []
    try:
        result = read_json(file)
        _check(result, file, job)
        _check_ticket(result, file, job)
    except InputError as error:
        notes.append(Note("damaged", name, str(error)))
        return []
    return [Row(job, file, number, result)]


def _absent(job: Job, name: str) -> Note:
    """Say why a run has no result: what its own record says, or that it was not run."""
    try:
        record = read_json(job.run / "run.json")
    except InputError:
        return Note("missing", name, "not run")
    if record.get("status") == "failed":
        return Note("failed", name, " ".join(str(record.get("error") or "no reason was recorded").split()))
    return Note("missing", name, f"begun and not finished (status {record.get('status')})")


def check_result(result: Mapping[str, Any], file: Path) -> None:
    """Check that a result is whole and of format 1.

    Raises:
        InputError: another format, or a field that is missing or of another type.
    """
    if result.get("format") != FORMAT:
        raise InputError(f"{file}: result format {result.get('format')!r}; this version reads format {FORMAT}")
    for key in _WORDS:
        _field(result, key, file, lambda value: isinstance(value, str), "text")
    _field(result, "value", file, _is_fraction, "a fraction in [0, 1]")
    _field(result, "density", file, lambda value: _is_fraction(value) and value > 0, "a fraction in (0, 1]")
    _field(result, "seconds", file, lambda value: _is_number(value) and value >= 0, "a number >= 0")
    _field(result, "higher_is_better", file, lambda value: isinstance(value, bool), "true or false")
    _field(result, "flags", file, lambda value: isinstance(value, list), "a list")
    for key in ("config", "seed", "metrics", "versions"):
        _field(result, key, file, lambda value: isinstance(value, dict), "an object")
    _field(result, "unit", file, lambda value: value == "fraction", "fraction")


def _check(result: Mapping[str, Any], file: Path, job: Job) -> None:
    """Check a result of format 1 against the run that the plan asked for.

    Raises:
        InputError: as `check_result`, or a result of another run than the plan's.
    """
    check_result(result, file)
    asked = {"folder": job.folder, "control": job.control or result["control"]}
    for key, value in asked.items():
        _field(result, key, file, _equals(value), f"{value}, as the study asks")
    if job.source is not None and result.get("source") is not None:
        _field(result, "source", file, lambda value: value == job.source, f"{dict(job.source)}, as the study asks")
    which = "ticket" if job.kind == "search" else "task"
    _field(result, "seed", file, lambda value: value.get(which) == job.seed, f"{which} seed {job.seed}, as the study asks")


def _check_ticket(result: Mapping[str, Any], file: Path, job: Job) -> None:
    """Refuse a result that was made from another ticket than the one which lies there now.

    Raises:
        InputError: the two digests differ.
    """
    words = list(job.argv)
    path = next((Path(after) for word, after in pairwise(words) if word == "--ticket.file"), None)
    if path is None or not path.is_file():
        return
    try:
        there, used = read_header(path)["digest"], result.get("ticket")
    except InputError:
        return  # a damaged ticket is the search's note; what was made from it before still stands
    if used != there:
        raise InputError(f"{file}: made from ticket {str(used)[:12]}, {path} is now {there[:12]}; run the study again")


def _field(result: Mapping[str, Any], key: str, file: Path, holds: Callable[[Any], bool], expected: str) -> None:
    if key not in result or not holds(result[key]):
        got = f"is {result[key]!r:.90}" if key in result else "is missing"
        raise InputError(f"{file}: {key} {got}, expected {expected}")


def _equals(wanted: str) -> Callable[[Any], bool]:
    return lambda got: bool(got == wanted)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_fraction(value: Any) -> bool:
    return _is_number(value) and 0 <= value <= 1


def _require_alike(rows: Sequence[Row]) -> None:
    """Refuse to average or compare what was measured differently."""
    for row in rows[1:]:
        for key in _ALIKE:
            if row.alike(key) != rows[0].alike(key):
                raise InputError(
                    f"{row.file} has {key} {row.alike(key)}, but {rows[0].file} has {rows[0].alike(key)}: "
                    f"such values are never averaged; delete the older run and run the study again"
                )
