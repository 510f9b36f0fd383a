"""The cost of a ticket's network."""

from __future__ import annotations

from dataclasses import dataclass

from common.exchange.cost import Cost, cost
from common.exchange.ticket_network import classifier_shape, image_size
from common.models.backbones import rebuild_backbone
from common.models.heads import Network, linear_head
from common.tickets.mask import Mask
from common.tickets.ticket import Ticket


@dataclass(frozen=True)
class TicketCost:
    """A ticket's cost.

    Attributes:
        digest: the ticket's.
        network: in words, what was counted.
        cost: the count.
    """

    digest: str
    network: str
    cost: Cost


def ticket_cost(ticket: Ticket, size: int | None) -> TicketCost:
    """Count what a ticket's network costs under its mask; weights are not needed.

    The network is the backbone, with the linear classifier where the ticket's weights hold one. If their file is missing, the
    backbone alone is counted, and `network` says so.

    Args:
        ticket: the ticket.
        size: side of the image in pixels; None: what the ticket records.

    Raises:
        InputError: no size is known, or the backbone cannot be built for it.
    """
    side = image_size(ticket, size)
    arch = ticket.header["arch"]
    backbone = rebuild_backbone(arch, seed=0, stream="init", size=side)
    name = f"{arch['name']}, stem {arch['stem']}"
    classifier, why = _classifier(ticket)
    if classifier is None:
        return TicketCost(ticket.digest, f"{name}, without a head{why}", cost(backbone, ticket.mask, side))
    network = Network(backbone, linear_head(classifier[1], classifier[0], seed=0))
    mask = Mask({f"backbone.{name}": kept for name, kept in ticket.mask.items()})
    return TicketCost(ticket.digest, f"{name}, head of {classifier[0]} classes", cost(network, mask, side))


def _classifier(ticket: Ticket) -> tuple[tuple[int, int] | None, str]:
    """Return (classes, features) of a ticket's classifier; or None, and words for where it is not known whether there is one."""
    weights = ticket.header["weights"]
    if weights["file"] is not None and not (ticket.path.parent / weights["file"]).exists():
        return None, f" (its weights, {weights['file']}, are missing)"
    return (classifier_shape(ticket.rewind_point()) if weights["embedded"] or weights["file"] else None), ""
