"""State dicts under the backbone's own names, and those of a network that has the backbone as a part."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from common.data.inputs import UNIT_INPUT
from common.errors import InputError
from common.models.layouts.layout import Layout, Parts

_BACKBONE, _HEAD = "backbone.", "head."


def _has_backbone(tensors: Mapping[str, Tensor]) -> bool:
    return any(name.startswith(_BACKBONE) for name in tensors)


def _read_network(tensors: Mapping[str, Tensor], what: str) -> Parts:
    backbone = {name[len(_BACKBONE) :]: tensor for name, tensor in tensors.items() if name.startswith(_BACKBONE)}
    others = {name: tensor for name, tensor in tensors.items() if not name.startswith(_BACKBONE)}
    twice = sorted(set(backbone) & set(others))
    if twice:
        raise InputError(
            f"{what} holds {twice[0]!r} and {_BACKBONE + twice[0]!r} ({len(twice)} such pairs); "
            f"it is not clear which backbone is meant"
        )
    head = {name[len(_HEAD) :]: tensor for name, tensor in others.items() if name.startswith(_HEAD)}
    return Parts({**backbone, **others}, head)


def _read_plain(tensors: Mapping[str, Tensor], what: str) -> Parts:
    del what
    return Parts(tensors)


NETWORK = Layout(
    "network", "a network with a backbone and a head, as here", f"{_BACKBONE}*, {_HEAD}*", _has_backbone, _read_network
)
PLAIN = Layout("plain", "the backbone's own names: torchvision, timm", "the backbone's names", bool, _read_plain)
SIMCLR_V1 = Layout(
    "simclr_v1",
    "SimCLR's ResNets, converted from TensorFlow to torchvision's names",
    "the backbone's names",
    bool,
    _read_plain,
    UNIT_INPUT,
    automatic=False,
)
