"""How a field of a configuration is declared, and how a value out of its range is refused."""

from __future__ import annotations

from dataclasses import field
from typing import Any

from common.errors import InputError


def option(default: Any, help: str, *, identity: bool = True) -> Any:
    """Declare a field: its default, one line of help (unit, range, source), and whether it enters the run's identity."""
    metadata = {"help": help, "identity": identity}
    if isinstance(default, type) or callable(default):
        return field(default_factory=default, metadata=metadata)
    return field(default=default, metadata=metadata)


def require(holds: bool, key: str, got: object, expected: str) -> None:
    """Raise the one-line error of a value out of its range.

    Raises:
        InputError: `holds` is false; names the key, the value and what is expected.
    """
    if not holds:
        raise InputError(f"{key}: got {got!r}, expected {expected}")
