"""The parts of a network that a search may take over from round to round instead of rewinding them (`rewind.keep`)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from common.errors import InputError
from common.models.heads import Network
from common.tickets.scope import stem_name

_NORMS = (_BatchNorm, nn.GroupNorm, nn.LayerNorm)


def names_of_parts(network: Network, parts: Sequence[str]) -> frozenset[str]:
    """Return the names, in the network's state, of the tensors of some parts.

    Args:
        network: backbone and head.
        parts: of "neck" (what stands under "head.neck."), "head" (the rest of the head), "norms" (the backbone's norm layers,
            their statistics too) and "stem" (the backbone's first convolution).

    Raises:
        InputError: the network has no such part.
    """
    found: set[str] = set()
    for part in parts:
        names = _names(network, part)
        if not names:
            raise InputError(f"rewind.keep: got {part}, but this network has no {part}; leave it out")
        found |= names
    return frozenset(found)


def _names(network: Network, part: str) -> set[str]:
    state = set(network.state_dict())
    neck = {name for name in state if name.startswith("head.neck.")}
    if part == "neck":
        return neck
    if part == "head":
        return {name for name in state if name.startswith("head.")} - neck
    if part == "stem":
        stem = stem_name(network.backbone)
        return set() if stem is None else {name for name in state if name.startswith(f"backbone.{stem}.")}
    norms = [name for name, module in network.backbone.named_modules() if isinstance(module, _NORMS)]
    return {name for name in state if any(name.startswith(f"backbone.{norm}.") for norm in norms)}
