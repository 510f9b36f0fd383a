"""Rewind: store a network's state and bring it back bit for bit."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from common.tickets.errors import TicketError
from common.tickets.hold import Hold
from common.tickets.mask import Mask


def capture(module: nn.Module) -> dict[str, Tensor]:
    """Copy a module's parameters and buffers (norm statistics and counters too) to the CPU.

    Returns:
        name -> contiguous CPU tensor that shares no memory with the module.
    """
    return {
        name: tensor.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
        for name, tensor in module.state_dict().items()
    }


@torch.no_grad()
def restore_(module: nn.Module, state: Mapping[str, Tensor], mask: Mask | None = None) -> None:
    """Copy a captured state back in place, then zero what the mask prunes. Parameters stay the same objects.

    Args:
        module: the network that the state came from, or an equal one.
        state: what `capture` returned; unchanged by this and by later training.
        mask: names relative to `module`; None restores densely.

    Raises:
        TicketError: the state lacks a tensor, has one too many, or one of another shape, or the mask does not fit. The
            network is unchanged.
    """
    own = module.state_dict()
    differing = sorted(set(own) ^ set(state)) or [name for name in own if own[name].shape != state[name].shape]
    if differing:
        raise TicketError(
            f"the stored state does not fit the network: {differing[0]!r} differs ({len(differing)} tensors in all)"
        )
    engine = None if mask is None else Hold(module.named_parameters(), mask)
    for name, tensor in own.items():
        tensor.copy_(state[name])
    if engine is not None:
        engine.weights_()
