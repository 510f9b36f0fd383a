"""Our own ticket with its weights inside, to be taken out of its run directory."""

from __future__ import annotations

from common.exchange.embed import embedded
from common.exchange.exporters.container import SAFETENSORS
from common.exchange.exporters.exporter import Export, Exporter, Options
from common.tickets.ticket import Ticket


def write_ticket(ticket: Ticket, options: Options) -> Export:
    """Write the ticket with its rewind point embedded.

    Raises:
        InputError: the ticket has no weights, or their file is absent or was changed.
    """
    del options
    return Export(embedded(ticket), ("a ticket with its weights inside; the round-0 weights stay behind",))


EXPORTER = Exporter("ticket", "our own ticket with its weights inside", (SAFETENSORS,), (), write_ticket)
