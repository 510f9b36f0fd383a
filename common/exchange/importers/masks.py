"""Mask dictionaries: what is kept, by the name of the weight, with the weights in another file or beside them.

    layer1.0.conv1.weight_mask      as CV_LTH (Chen et al. 2021) takes them out of a checkpoint
    layer1.0.conv1.weight           0 and 1 under the weight's own name
    layer1.0.conv1                  or under its module's

at the top of the file, or under `masks` or `mask`. Weights come from `--weights FILE`, or lie in the same state dict as
`*.weight`, then 0 where the mask prunes; without either the ticket is a mask alone.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from common.errors import InputError
from common.exchange.importers.importer import Found, Importer
from common.exchange.importers.torch_prune import MASK, ORIG
from common.exchange.source import Source, without_module

_KEYS = ("masks", "mask")


def _recognises(source: Source) -> bool:
    if _part(source) or any(name.endswith("weight" + MASK) for name in source.tensors):
        return True
    return bool(source.tensors) and all(_is_binary(tensor) for tensor in source.tensors.values())


def _part(source: Source) -> Mapping[str, Tensor]:
    """Return the mask dictionary that a file holds beside other things."""
    for key in _KEYS:
        part = source.tree.get(key)
        if isinstance(part, Mapping) and part:
            return without_module(part, source.path)
    return {}


def _is_binary(tensor: Tensor) -> bool:
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_complex() or tensor.ndim < 2:
        return False
    return bool(((tensor == 0) | (tensor == 1)).all())


def _read(source: Source) -> Found:
    part = _part(source)
    suffixed = {name: tensor for name, tensor in source.tensors.items() if name.endswith(MASK)}
    if part:
        masks, others = part, dict(source.tensors)
    elif suffixed:
        masks, others = suffixed, {name: tensor for name, tensor in source.tensors.items() if name not in suffixed}
    elif _recognises(source):
        masks, others = dict(source.tensors), {}
    else:
        raise InputError(f"--format masks: {source.path} holds no masks: no name ends in {MASK}, and not all tensors are 0 and 1")
    named = {_weight_of(name): tensor for name, tensor in masks.items()}
    if len(named) != len(masks):
        raise InputError(f"{source.path} holds two masks of one weight; its names are {', '.join(sorted(masks)[:3])} ...")
    if source.weights is not None:
        return Found(source.weights.tensors, named, dense_weights=True)
    if any(name.endswith(ORIG) for name in others):
        return Found({}, named)  # of torch.nn.utils.prune, of which the masks alone are asked for
    return Found(others, named)


def _weight_of(name: str) -> str:
    name = name.removesuffix(MASK)
    return name if name.rpartition(".")[2] in ("weight", "bias") else f"{name}.weight"


MASKS = Importer(
    "masks",
    "a mask dictionary, with the weights in another file or beside it",
    "*.weight_mask, or tensors of 0 and 1",
    _recognises,
    _read,
    takes_weights=True,
    automatic=False,
)
