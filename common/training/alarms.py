"""Alarms: a ruined round is seen before the next prune."""

from __future__ import annotations

from collections.abc import Mapping

from common.result_flags import FLAGS
from common.tickets.mask import Mask

ALARMS = ("layer_collapsed", "at_chance")
"""The flags of a round that say that it is ruined."""


def mask_alarms(mask: Mask) -> tuple[str, ...]:
    """Return ("layer_collapsed",) where a tensor of the mask keeps no weight, else ()."""
    return ("layer_collapsed",) if any(not kept.any() for _, kept in mask.items()) else ()


def alarm_text(round_: int, alarms: tuple[str, ...], density: Mapping[str, float]) -> str:
    """Say in one line what is wrong with a round, and where."""
    empty = [name for name, kept in density.items() if kept == 0]
    where = f" ({len(empty)} tensors, the first {empty[0]})" if empty else ""
    meanings = "; ".join(FLAGS[alarm] for alarm in alarms)
    return f"ALARM in round {round_}: {', '.join(alarms)}{where}: {meanings}"
