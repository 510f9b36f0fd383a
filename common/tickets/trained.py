"""Trained weights: what a ticket's network was at the end of its round, in a file beside the ticket that belongs to it alone.

The ticket was written before them and cannot name them; so the file names the ticket, and the round's result names the file.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from common.files import read_json
from common.tickets.errors import TicketError
from common.tickets.weights_file import NetworkState, read_weights, save_weights

if TYPE_CHECKING:
    from common.tickets.ticket import Ticket

TRAINED = "trained.safetensors"


def save_trained_weights(ticket: Ticket, state: NetworkState) -> dict[str, str]:
    """Write the weights at the end of a ticket's round beside it.

    Returns:
        {"file", "sha256"}, which the round's result records as details.trained; write that result afterwards.

    Raises:
        TicketError: the weights do not fit the mask, or are not zero where it prunes.
        InputError: the folder cannot be written.
    """
    file = ticket.path.parent / TRAINED
    _check_pruned(ticket, state, file)
    return {"file": TRAINED, "sha256": save_weights(file, state, _name(ticket))}


def load_trained_weights(ticket: Ticket) -> NetworkState:
    """Read the weights at the end of a ticket's round; those of round 0 are the ones that its scores come from.

    Raises:
        TicketError: they were not kept; or the file is damaged, belongs to another ticket (another run, seed, round or mask), is
            not the one that the round's result names (where that lies beside it), or holds weights where the mask prunes.
    """
    importer = ticket.header["origin"]["importer"]
    if importer is not None:
        raise TicketError(f"{ticket.path} was not written by a search ({importer}); it has no trained weights")
    if ticket.round == 0:
        return ticket.round0_weights()
    file = ticket.path.parent / TRAINED
    if not file.exists():
        raise TicketError(
            f"{file} is missing: the run did not keep the trained weights of round {ticket.round}; run it with keep.trained all"
        )
    result = ticket.path.parent / "result.json"
    stored = read_weights(file, recorded_sha256(result, file) if result.exists() else None, named_by=str(result))
    _check_owner(ticket, stored.ticket, file)
    _check_pruned(ticket, stored.state, file)
    return stored.state


def recorded_sha256(result: Path, file: Path) -> str:
    """Return the SHA-256 of a file of trained weights as the result beside it records it (details.trained).

    Raises:
        InputError: the result cannot be read.
        TicketError: it names no trained weights.
    """
    details = read_json(result).get("details")
    trained = details.get("trained") if isinstance(details, dict) else None
    sha256 = trained.get("sha256") if isinstance(trained, dict) else None
    if not isinstance(sha256, str):
        raise TicketError(f"{result} names no trained weights, so {file} does not belong to it; run it again with keep.trained")
    return sha256


def _name(ticket: Ticket) -> dict[str, str]:
    run = f"{ticket.header['origin']['run']}@{ticket.round}"
    return {"run": run, "mask_digest": str(ticket.header["mask_digest"]), "digest": ticket.digest}


def _check_owner(ticket: Ticket, owner: object, file: Path) -> None:
    own = _name(ticket)
    if owner == own:
        return
    if not isinstance(owner, dict) or set(owner) != set(own):
        raise TicketError(f"{file} does not say which ticket its weights belong to, expected {ticket.path}; run the search again")
    key = next(key for key in own if owner[key] != own[key])
    raise TicketError(f"{file} belongs to another ticket than {ticket.path}: its {key} is {owner[key]}, expected {own[key]}")


def _check_pruned(ticket: Ticket, state: NetworkState, file: Path) -> None:
    for name, kept in ticket.mask.items():
        weight = state.backbone.get(name)
        if weight is None or weight.shape != kept.shape:
            got = "no such tensor" if weight is None else f"shape {tuple(weight.shape)}"
            raise TicketError(f"{file}: expected {name!r} of shape {tuple(kept.shape)}, as the ticket's mask, got {got}")
        alive = int((weight[~kept] != 0).sum())
        if alive:
            raise TicketError(f"{file}: {name!r} is not zero at {alive:,} weights that the ticket prunes; it is of another mask")
