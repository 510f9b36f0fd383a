"""Write a control as a ticket file of its own, weights embedded."""

from __future__ import annotations

from pathlib import Path

from common.tickets.controls import FRESH, START, control_mask, find_control
from common.tickets.errors import TicketError
from common.tickets.ticket import Description, Ticket, load_ticket, save_ticket
from common.tickets.weights_file import NetworkState


def write_control(source: Path | str, name: str, seed: int, path: Path | str) -> Ticket:
    """Make a control of a ticket and write it.

    Args:
        source: the ticket's file.
        name: a name of `CONTROLS` but mask_only, whose weights belong to the target's recipe, and small_dense and dense_long,
            whose network and length belong to the target's run.
        seed: seed of the draws, >= 0.
        path: the file to write.

    Raises:
        TicketError: the control cannot be made; see `control_mask`.
        InputError: the file cannot be written.
    """
    ticket = load_ticket(source)
    if name == "dense_long":
        raise TicketError("control dense_long is how long a task is trained; set ticket.control dense_long there")
    mask = control_mask(ticket, name, seed)
    kind = find_control(name).weights
    if kind == START:
        raise TicketError(
            f"control {name} takes its weights from the target recipe's start.weights; set ticket.control {name} there"
        )
    weights = _fresh(ticket, seed) if kind == FRESH else ticket.rewind_point() if name == "ticket" else ticket.dense_weights()
    header = ticket.header
    description = Description(
        arch=header["arch"],
        scope=header["scope"],
        origin={**header["origin"], "importer": f"control:{name}:{seed}"},
        rewind=header["rewind"],
        input=header["input"],
        parent=ticket.digest,
    )
    return save_ticket(path, mask, description, weights=weights)


def _fresh(ticket: Ticket, seed: int) -> NetworkState:
    """Initialise the ticket's backbone anew, as a task with this seed would: not from the stream of the search's own start."""
    from common.models.backbones import rebuild_backbone
    from common.tickets.rewind import capture

    backbone = rebuild_backbone(ticket.header["arch"], seed=seed, stream="fresh", size=ticket.header["input"]["size"])
    return NetworkState(capture(backbone), {})
