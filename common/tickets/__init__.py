"""Masks, tickets and what they are compared with. Needs torch and safetensors; names are loaded when they are first used.

`hold`, the function for any training loop, is imported from its file: `from common.tickets.hold import hold`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from common.tickets.controls import CONTROLS, control_mask
    from common.tickets.errors import TicketError
    from common.tickets.hold import Hold
    from common.tickets.mask import Mask
    from common.tickets.rewind import capture, restore_
    from common.tickets.scope import Scope, find_scope
    from common.tickets.ticket import Description, Ticket, load_ticket, save_ticket
    from common.tickets.weights_file import NetworkState

_HOME = {
    "CONTROLS": "controls",
    "Description": "ticket",
    "Hold": "hold",
    "Mask": "mask",
    "NetworkState": "weights_file",
    "Scope": "scope",
    "Ticket": "ticket",
    "TicketError": "errors",
    "capture": "rewind",
    "control_mask": "controls",
    "find_scope": "scope",
    "load_ticket": "ticket",
    "restore_": "rewind",
    "save_ticket": "ticket",
}

__all__ = [
    "CONTROLS",
    "Description",
    "Hold",
    "Mask",
    "NetworkState",
    "Scope",
    "Ticket",
    "TicketError",
    "capture",
    "control_mask",
    "find_scope",
    "load_ticket",
    "restore_",
    "save_ticket",
]


def __getattr__(name: str) -> Any:
    """Import a public name from its file on first use, so that reading a header does not load torch."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
