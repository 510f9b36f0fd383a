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
    match = _PATTERN.fullmatch(duration.strip())
    if match is None:
        raise InputError(f"expected a duration such as 10ep (epochs) or 500it (optimizer steps), got {duration!r}")
    count = int(match.group(1))
    return count * steps_per_epoch if match.group(2) == "ep" else count
