"""Project a ticket to 2:4 semi-structured sparsity: of every 4 weights along the input dimension, at most 2 are kept.

The pattern is that of NVIDIA's sparse tensor cores (Mishra et al. 2021, arXiv:2104.08378, section 3).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from common.exchange.ticket_network import Weights, read_state
from common.tickets.errors import TicketError
from common.tickets.mask import Mask
from common.tickets.ticket import Description, Ticket, save_ticket

GROUP, KEPT = 4, 2


@dataclass(frozen=True)
class Projection:
    """A projected mask and what it cost.

    Attributes:
        mask: within the ticket's own.
        magnitude: for every tensor, the sum of |weight| that its mask keeps before and after.
    """

    mask: Mask
    magnitude: Mapping[str, tuple[float, float]]

    @property
    def kept_magnitude(self) -> float:
        """The fraction of the kept weights' summed magnitude that is still kept, in [0, 1]; 1 if there was none."""
        before, after = (sum(values) for values in zip(*self.magnitude.values(), strict=True))
        return after / before if before else 1.0


def project(mask: Mask, weights: Mapping[str, Tensor]) -> Projection:
    """Keep the 2 largest magnitudes of every 4 weights in turn along the input dimension (1) of each tensor.

    Groups start at input channel 0 of every output channel, kernel position, and convolution group. Where the number of inputs is
    no multiple of 4, the last group is short and counts as if zeros filled it: 2 of its 1 to 3 weights may stay. So a depthwise
    convolution (1 input) keeps what it has. Among equal magnitudes the earlier weight is kept. What is pruned stays pruned.

    Args:
        mask: what is kept now; tensors of at least 2 dimensions.
        weights: name -> the weights whose magnitudes decide, of the mask's shapes.

    Raises:
        TicketError: a weight is missing, of another shape, or not finite.
    """
    projected, magnitude = {}, {}
    for name, kept in mask.items():
        weight = weights.get(name)
        if weight is None or weight.shape != kept.shape or not bool(torch.isfinite(weight).all()):
            got = "none" if weight is None else f"shape {tuple(weight.shape)}, some perhaps not finite"
            raise TicketError(f"weights of {name!r}: got {got}, expected finite ones of shape {tuple(kept.shape)}")
        size = weight.detach().to(torch.float64).abs()
        projected[name] = _largest(size, kept)
        magnitude[name] = (float(size[kept].sum()), float(size[projected[name]].sum()))
    return Projection(Mask(projected), magnitude)


def _largest(size: Tensor, kept: Tensor) -> Tensor:
    """Return bool of the same shape: the 2 largest of each group of 4 along dimension 1, among the kept."""
    scores = torch.where(kept, size, -1.0).movedim(1, -1)
    inputs = scores.shape[-1]
    grouped = functional.pad(scores, (0, -inputs % GROUP), value=-1.0).unflatten(-1, (-1, GROUP))
    first = grouped.sort(dim=-1, descending=True, stable=True).indices[..., :KEPT]
    chosen = torch.zeros_like(grouped, dtype=torch.bool).scatter_(-1, first, True)
    return chosen.flatten(-2)[..., :inputs].movedim(-1, 1) & kept


def project_ticket(ticket: Ticket, path: Path | str, weights: Weights) -> tuple[Ticket, Projection]:
    """Write the 2:4 projection of a ticket as a ticket of its own, weights embedded, whose parent is the ticket.

    Args:
        ticket: what is projected.
        path: the file to write.
        weights: whose magnitudes decide; the new ticket starts from the same rewind point in either case.

    Raises:
        TicketError: the ticket has no such weights.
        InputError: the file cannot be written.
    """
    projection = project(ticket.mask, read_state(ticket, weights).backbone)
    header = ticket.header
    description = Description(
        arch=header["arch"],
        scope=header["scope"],
        origin={**header["origin"], "importer": f"compact:2:4:{weights}"},
        rewind=header["rewind"],
        input=header["input"],
        parent=ticket.digest,
    )
    return save_ticket(path, projection.mask, description, weights=ticket.rewind_point()), projection
