"""Match what an importer found to a backbone: canonical names, shapes, values, the classifier; nothing may be left over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from common.errors import InputError
from common.exchange.importers.importer import Found
from common.models.layouts.layout import Layout, Parts
from common.models.layouts.table import find_layout
from common.models.resnet_form import resnet_form
from common.models.start import check_values

COUNTER = "num_batches_tracked"
_BESIDE = (COUNTER, "total_ops", "total_params")  # the last two are left in a network by thop, which counts its operations
_HEAD = "head."


@dataclass(frozen=True)
class Named:
    """What was found, under canonical names.

    Attributes:
        layout: the layout that the file's names were in.
        weights: the weights' parts; None where the file holds masks alone.
        masks: by canonical name; those of a head under the names that it has in `weights`.
        masks_left_out: names of masks of what is no part of backbone or classifier, such as a detector's heads.
    """

    layout: Layout
    weights: Parts | None
    masks: Mapping[str, Tensor]
    masks_left_out: tuple[str, ...]


@dataclass(frozen=True)
class Matched:
    """Weights that fit a backbone, whole.

    Attributes:
        state: every tensor of the backbone by canonical name, in the backbone's types.
        head: a head's tensors by the names of `common.models.heads`; empty where the file has none.
        classifier: the layer that the head is in the file, such as "fc"; None where it is a projection or absent.
        counters: how many counters of norms the file lacks (old ones do); they are 0 in `state`.
        left_out: names in the file that belong to neither.
    """

    state: Mapping[str, Tensor]
    head: Mapping[str, Tensor]
    classifier: str | None
    counters: int
    left_out: tuple[str, ...]


def canonical(found: Found, what: str) -> Named:
    """Give weights and masks their canonical names, by the table of layouts.

    Raises:
        InputError: the names are in a layout that says no to them.
    """
    layout = find_layout(found.weights or found.masks, "auto", what)
    parts = layout.read(found.weights, what) if found.weights else None
    of_masks = layout if set(found.masks) <= set(found.weights) or not found.masks else find_layout(found.masks, "auto", what)
    masks = of_masks.read(found.masks, what) if found.masks else Parts({})
    heads = {_HEAD + name: tensor for name, tensor in masks.head.items()}
    return Named(layout, parts, {**masks.state, **heads}, masks.left_out)


def match(parts: Parts, backbone: nn.Module, left_out: tuple[str, ...], what: str) -> Matched:
    """Match weights to a backbone: every tensor of it must be there, and nothing else but a head.

    Args:
        parts: by canonical name.
        backbone: tells names, shapes and types.
        left_out: names of the file that are known to be neither.
        what: the file's name, for messages.

    Raises:
        InputError: nothing matches; a tensor is missing, left over, of another shape or kind, or not finite; two classifiers fit.
    """
    own = backbone.state_dict()
    matched = [name for name in own if name in parts.state]
    _check_names(own, parts, matched, backbone, what)
    layer, head, names = _head(parts, own, int(getattr(backbone, "num_features", 0)), what)
    left_over = sorted(set(parts.state) - set(own) - names)
    beside = tuple(name for name in left_over if name.rpartition(".")[2] in _BESIDE)
    left_over = [name for name in left_over if name not in beside]
    if left_over:
        raise InputError(
            f"{what} holds {left_over[0]!r} ({len(left_over)} such tensors), which is part of neither the backbone "
            f"{_name(backbone)} nor a classifier of it; is it another architecture? Else leave it out of the file"
        )
    state = {
        name: _as(parts.state[name], own[name].dtype, name, what) if name in parts.state else _counter(own[name]) for name in own
    }
    head = {name: _as(tensor, torch.float32, _HEAD + name, what) for name, tensor in head.items()}
    return Matched(state, head, layer, len(own) - len(matched), (*parts.left_out, *left_out, *beside))


def _as(given: Tensor, dtype: torch.dtype, name: str, what: str) -> Tensor:
    """Return a tensor of a file in the network's type, in which it must be finite too."""
    own = torch.empty(0, dtype=dtype)
    check_values(name, given, own, what)
    if given.dtype != dtype:
        check_values(name, given.to(dtype), own, what)
    return given.detach().to(dtype)


def _counter(own: Tensor) -> Tensor:
    return torch.zeros(own.shape, dtype=own.dtype)


def _check_names(own: Mapping[str, Tensor], parts: Parts, matched: list[str], backbone: nn.Module, what: str) -> None:
    form = resnet_form(parts.state)
    holds = f"{what} does not fit {_name(backbone)}{f' (it holds a {form})' if form else ''}: "
    if not matched:
        first = ", ".join(sorted(parts.state)[:3])
        raise InputError(f"{holds}none of its tensors is one of the backbone's; its names are {first} ...")
    missing = [name for name in own if name not in parts.state and not name.endswith(COUNTER)]
    if missing:
        raise InputError(f"{holds}{len(missing)} tensors are missing, the first is {missing[0]!r}; is --arch what it holds?")
    for name in matched:
        check_shape(name, tuple(parts.state[name].shape), tuple(own[name].shape), holds)


def check_shape(name: str, got: tuple[int, ...], expected: tuple[int, ...], holds: str) -> None:
    """Raise unless a tensor has the backbone's shape."""
    if got != expected:
        raise InputError(f"{holds}{name!r} has shape {got}, the backbone's has {expected}; see --arch, --stem and --input")


def _head(
    parts: Parts, own: Mapping[str, Tensor], num_features: int, what: str
) -> tuple[str | None, dict[str, Tensor], set[str]]:
    """Find the head; return the layer that a classifier is in the file, its tensors, and the names that they have in the file."""
    if parts.head and set(parts.head) != {"weight", "bias"}:
        return None, dict(parts.head), {_HEAD + name for name in parts.head}
    others = {name: tensor for name, tensor in parts.state.items() if name not in own}
    layers = {
        name.removesuffix(".weight"): tensor.shape[0]
        for name, tensor in others.items()
        if name.endswith(".weight") and tensor.ndim == 2 and tensor.shape[1] == num_features
    }
    if len(layers) > 1:
        raise InputError(f"{what} holds several classifiers ({', '.join(sorted(layers))}); leave all but one out of the file")
    for layer, classes in layers.items():
        bias = others.get(f"{layer}.bias", torch.zeros(classes))
        check_shape(f"{layer}.bias", tuple(bias.shape), (classes,), f"{what}: ")
        return layer, {"weight": others[f"{layer}.weight"], "bias": bias}, {f"{layer}.weight", f"{layer}.bias"}
    return None, {}, set()


def _name(backbone: nn.Module) -> str:
    return str(getattr(backbone, "arch", {}).get("name", "the backbone"))
