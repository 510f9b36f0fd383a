"""Durations as text with a unit: `10ep` (epochs) or `500it` (optimizer steps)."""

from __future__ import annotations

import re

from common.errors import InputError

_PATTERN = re.compile(r"([0-9]{1,15})(ep|it)")


def steps(duration: str, steps_per_epoch: int) -> int:
    """Convert a duration to optimizer steps.

    Args:
        duration: for example "10ep" or "500it".
        steps_per_epoch: optimizer steps in one epoch, >= 1.

    Raises:
        InputError: the text has no unit or no whole number.
    """
    count, unit = _parse(duration)
    return count * steps_per_epoch if unit == "ep" else count


def canonical_duration(duration: str) -> str:
    """Return the one text of a duration: no needless zeros, and "0it" for none at all. Errors as `steps`."""
    count, unit = _parse(duration)
    return f"{count}{unit}" if count else "0it"


def _parse(duration: str) -> tuple[int, str]:
    match = _PATTERN.fullmatch(duration.strip())
    if match is None:
        raise InputError(f"expected a duration such as 10ep (epochs) or 500it (optimizer steps), got {duration!r}")
    return int(match.group(1)), match.group(2)
