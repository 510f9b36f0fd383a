"""Results beside a ticket, read for its card: what it scored, and what its controls scored."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.errors import InputError
from common.files import read_json

FORMAT = 1
TASKS = {
    "classification": "image-classification",
    "detection": "object-detection",
    "segmentation": "image-segmentation",
    "keypoints": "keypoint-detection",
    "pretraining": "image-feature-extraction",
}
"""What the Hub calls the tasks of results."""


@dataclass(frozen=True)
class Score:
    """One result: its main metric, a fraction in [0, 1], and under what it was measured."""

    task: str
    data: str
    split: str
    metric: str
    value: float
    control: str
    protocol: str
    density: float
    seed: str
    flags: tuple[str, ...]


def read_score(path: Path | str, digests: Collection[str]) -> Score:
    """Read a result file of a ticket or of a control of it.

    Args:
        path: the result, format 1.
        digests: the ticket's identity, also before its weights were embedded.

    Raises:
        InputError: it is no result of format 1, or of another ticket.
    """
    result = read_json(path)
    if result.get("format") != FORMAT:
        raise InputError(f"{path}: result format {result.get('format')!r}; this version reads format {FORMAT}")
    if result.get("ticket") not in digests:
        expected = " or ".join(digest[:12] for digest in sorted(digests))
        raise InputError(f"{path} is a result of ticket {str(result.get('ticket'))[:12]}, expected {expected}")
    for key in ("split", "metric", "control", "protocol"):
        _require(isinstance(result.get(key), str), path, result, key, "text")
    _require(result.get("task") in TASKS, path, result, "task", f"one of {', '.join(TASKS)}")
    for key in ("value", "density"):
        _require(_is_fraction(result.get(key)), path, result, key, "a fraction in [0, 1]")
    for key in ("data", "seed"):
        _require(isinstance(result.get(key), dict), path, result, key, "an object")
    _require(isinstance(result.get("flags"), list), path, result, "flags", "a list")
    seed = ", ".join(f"{key} {value}" for key, value in sorted(result["seed"].items()))
    return Score(
        task=result["task"],
        data=str(result["data"].get("name")),
        seed=seed,
        flags=tuple(map(str, result["flags"])),
        **{key: result[key] for key in ("split", "metric", "value", "control", "protocol", "density")},
    )


def _require(holds: bool, path: Path | str, result: Mapping[str, Any], key: str, expected: str) -> None:
    if not holds:
        got = f"is {result[key]!r:.60}" if key in result else "is missing"
        raise InputError(f"{path}: {key} {got}, expected {expected}")


def _is_fraction(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and 0 <= value <= 1
