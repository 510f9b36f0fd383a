"""A ticket with its weights inside: the form in which it leaves its run directory."""

from __future__ import annotations

import tempfile
from pathlib import Path

from common.tickets.container import read_bytes
from common.tickets.header import parse_ticket
from common.tickets.ticket import Description, Ticket, save_ticket


def embedded(ticket: Ticket) -> bytes:
    """Return the bytes of a ticket file with the rewind point inside and without references to other files.

    Mask, origin, rewind point and parent are the ticket's own, so it is the same round of the same run; its digest is another,
    since that covers the weights. One that stands by itself already is returned byte for byte. The parameters at the end of
    round 0 stay behind: controls that are cut from them (`one_shot`, `reversed_matched`) need the run directory.

    Raises:
        TicketError: the ticket is a mask without weights, or their file is absent or was changed.
    """
    header = ticket.header
    if header["weights"]["embedded"] and header["scores"] is None:
        content = read_bytes(ticket.path)
        parse_ticket(content, str(ticket.path))
        return content
    description = Description(
        arch=header["arch"],
        scope=header["scope"],
        origin=header["origin"],
        rewind=header["rewind"],
        input=header["input"],
        parent=header["parent"],
        scores=None,
    )
    with tempfile.TemporaryDirectory() as folder:
        return read_bytes(
            save_ticket(Path(folder) / ticket.path.name, ticket.mask, description, weights=ticket.rewind_point()).path
        )
