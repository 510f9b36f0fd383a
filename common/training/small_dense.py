"""Control `small_dense`: a narrower dense network of no more weights, or multiply-accumulates, than a ticket keeps.

What a sparse network must beat to be worth its irregular form: the dense network that costs as much. It is trained on the task
from random weights, or from `start.weights` of a network of this very width (`python -m SimCLR --model.width W` with
`--prune.rounds 0`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from common.config import ModelConfig
from common.data.inputs import InputSpec
from common.errors import InputError
from common.models.backbones import build_backbone
from common.models.features import evaluating
from common.tickets.errors import TicketError
from common.tickets.scope import find_scope
from common.tickets.ticket import Ticket

STEPS = 10_000
"""Widths are tried in ten-thousandths."""

Cost = Callable[[nn.Module], int]


@dataclass(frozen=True)
class Narrower:
    """The narrower network of a ticket.

    Attributes:
        width: multiple of the channels, in (0, 1], four decimals.
        equal: what it has no more of than the ticket: parameters or macs.
        cost: its own prunable weights or MACs.
        limit: those that the ticket keeps.
        density: its prunable weights as a fraction of the ticket's scope, in (0, 1].
    """

    width: float
    equal: str
    cost: int
    limit: int
    density: float

    def to_json(self) -> dict[str, Any]:
        """Return what a result records."""
        return {"width": self.width, "equal": self.equal, "cost": self.cost, "limit": self.limit}


def narrower(ticket: Ticket, model: ModelConfig, input: InputSpec, equal: Literal["parameters", "macs"]) -> Narrower:
    """Find the widest network that is not dearer than a ticket.

    Counted are the tensors that the ticket's scope patterns match, in either network; what is never pruned (stem, norms) counts
    for neither. Costs rise with the width, so bisection over ten-thousandths finds the last one that fits.

    Args:
        ticket: whose kept weights, or MACs at the target's image size, are the limit.
        model: the backbone, at its greatest width.
        input: of the target.
        equal: parameters or macs.

    Raises:
        InputError: the backbone is another than the ticket's or has no widths, or images of several sizes have no MACs.
        TicketError: the ticket does not say which tensors its scope has, or keeps less than the narrowest network has.
    """
    scope = ticket.header["scope"]
    if ticket.header["arch"]["name"] != model.name:
        raise TicketError(f"{ticket.path} is a ticket of {ticket.header['arch']['name']}, the model is {model.name}")
    if not scope["include"]:
        raise TicketError(f"{ticket.path} does not record the patterns of its scope, so control small_dense cannot be made of it")

    def build(step: int) -> nn.Module:
        return _without_memory(model, input, step / STEPS)

    def weights(network: nn.Module) -> dict[str, Tensor]:
        return dict(find_scope(network, scope["include"], scope["exclude"]).parameters(network))

    def parameters(network: nn.Module) -> int:
        return sum(weight.numel() for weight in weights(network).values())

    def macs(network: nn.Module) -> int:
        places = positions(network, input)
        return sum(weight.numel() * places[name] for name, weight in weights(network).items())

    most = round(model.width * STEPS)
    kept = ticket.mask.kept_per_tensor
    if equal == "macs":
        places = positions(build(most), input)
        cost, limit = macs, sum(count * places[name] for name, count in kept.items())
    else:
        cost, limit = parameters, ticket.mask.kept
    step = _last_within(lambda step: cost(build(step)), limit, most, ticket)
    found = build(step)
    return Narrower(step / STEPS, equal, cost(found), limit, parameters(found) / ticket.mask.size)


def _last_within(cost: Callable[[int], int], limit: int, most: int, ticket: Ticket) -> int:
    """Return the greatest width, in steps, whose cost is within the limit."""
    if cost(most) <= limit:
        return most
    fits, dear = 0, most
    while dear - fits > 1:
        middle = (fits + dear) // 2
        if cost(middle) <= limit:
            fits = middle
        else:
            dear = middle
    if fits == 0:
        raise TicketError(f"control small_dense: the narrowest network costs {cost(1):,}, {ticket.path} keeps {limit:,}")
    return fits


def _without_memory(model: ModelConfig, input: InputSpec, width: float) -> nn.Module:
    """Build a backbone of shapes alone."""
    with torch.device("meta"):
        return build_backbone(
            model.name, stem=model.stem, in_chans=input.channels, size=input.size, patch=model.patch, width=width
        )


def positions(network: nn.Module, input: InputSpec) -> dict[str, int]:
    """Return how often each weight of a convolution or linear layer is used for one image, by parameter name.

    MACs of a layer are its weights times this number.

    Args:
        network: on the meta device.
        input: says channels and side of the images.

    Raises:
        InputError: images of several sizes.
    """
    if input.size is None:
        raise InputError("ticket.equal macs: the target's images have several sizes; set data.size, or use parameters")
    found: dict[str, int] = {}

    def count(name: str) -> Callable[[nn.Module, Any, Tensor], None]:
        def hook(module: nn.Module, _: Any, output: Tensor) -> None:
            weight: Any = module.weight
            found[f"{name}.weight"] = found.get(f"{name}.weight", 0) + output.numel() // len(weight)

        return hook

    layers = {name: module for name, module in network.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)}
    handles = [module.register_forward_hook(count(name)) for name, module in layers.items()]
    try:
        with evaluating(network):
            network(torch.empty(1, input.channels, input.size, input.size, device="meta"))
    finally:
        for handle in handles:
            handle.remove()
    return found


def width_of(details: Mapping[str, Any]) -> float | None:
    """Return the width that a result's details record; None where the network was not narrowed."""
    return details.get("small_dense", {}).get("width")
