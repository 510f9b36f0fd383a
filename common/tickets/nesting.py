"""Nesting: a ticket's mask lies within those of the tickets that it was made from."""

from __future__ import annotations

import re
from pathlib import Path

from common.tickets.errors import TicketError
from common.tickets.ticket import Ticket, load_ticket

_CONTROL = "control:"
_RUN_KEYS = ("run", "folder", "config", "seed")


def nested_in(ticket: Ticket, other: Ticket) -> str:
    """Check a ticket against the ticket that it names as its parent, or against an earlier round of its run.

    The architecture must be the same, and everything that the ticket keeps must be kept there; only a control of its parent
    (a random mask, for example) need not be nested.

    Returns:
        What was found, in words.

    Raises:
        TicketError: the other ticket is neither, is of another architecture, or prunes a weight that the ticket keeps.
    """
    relation = _relation(ticket, other)
    mine, theirs = ticket.header["arch"], other.header["arch"]
    for key in ("name", "variant"):
        if mine[key] != theirs[key]:
            raise TicketError(f"{ticket.path} is of {key} {mine[key]}, {other.path} ({relation}) of {key} {theirs[key]}")
    ticket.mask.check_same_tensors(other.mask)
    importer = ticket.header["origin"]["importer"] or ""
    if importer.startswith(_CONTROL):
        return f"a control ({importer.removeprefix(_CONTROL)}) of {relation}, so not nested in it"
    if not ticket.mask.is_within(other.mask):
        more = {name: int((kept & ~other.mask[name]).sum()) for name, kept in ticket.mask.items()}
        first = next(name for name, count in more.items() if count)
        raise TicketError(
            f"{ticket.path} is not nested in {other.path} ({relation}): it keeps {sum(more.values()):,} weights that are pruned "
            f"there, the first in {first!r}"
        )
    return f"nested in {relation}"


def nested_beside(ticket: Ticket) -> str:
    """Check a ticket in its place in a run directory against the round before it; say so where there is none.

    Raises:
        TicketError: as `nested_in`.
    """
    before = _round_before(ticket.path)
    if before is not None and before.is_file():
        return nested_in(ticket, load_ticket(before))
    if ticket.header["parent"] is not None:
        return "nesting not checked (--parent FILE does, with the parent that it names)"
    if ticket.round == 0:
        return "names no parent"
    return "nesting not checked (no earlier round beside it; --parent FILE does, with one)"


def _relation(ticket: Ticket, other: Ticket) -> str:
    parent, mine, theirs = ticket.header["parent"], ticket.header["origin"], other.header["origin"]
    if parent is not None and parent == other.digest:
        return "its parent"
    searched = mine["run"] is not None and mine["importer"] is None and theirs["importer"] is None
    if searched and all(mine[key] == theirs[key] for key in _RUN_KEYS) and other.round < ticket.round:
        return f"round {other.round} of its run"
    named = "names no parent" if parent is None else f"names the parent {parent[:12]}"
    raise TicketError(
        f"{ticket.path} {named} and is round {ticket.round} of {mine['run']}, seed {mine['seed']}; {other.path} is "
        f"{other.digest[:12]}, round {other.round} of {theirs['run']}, seed {theirs['seed']}: no parent or earlier round of it"
    )


def _round_before(path: Path) -> Path | None:
    """Return where a run keeps the ticket of the round before, for a ticket in its place in a run."""
    folder = re.fullmatch(r"round_(\d+)", path.absolute().parent.name)
    if path.name != "ticket.safetensors" or folder is None or int(folder[1]) == 0:
        return None
    return path.absolute().parent.parent / f"round_{int(folder[1]) - 1:02}" / path.name
