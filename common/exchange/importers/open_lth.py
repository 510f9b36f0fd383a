"""open_lth (Frankle et al. 2020): `mask.pth` holds masks, a file of its own beside it the weights (--weights).

    mask.pth                {"blocks.0.conv1.weight": int32 0 or 1, ...}, the stem and the classifier too
    model_ep0_it0.pth ...   a state dict, or a training checkpoint with `model_state_dict`

The weights may be of any step: those of the start, which were never pruned, or trained ones, which are 0 where the mask is.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from common.errors import InputError
from common.exchange.importers.importer import Found, Importer
from common.exchange.source import Source


def _recognises(source: Source) -> bool:
    tensors = source.tensors
    return bool(tensors) and all(name.endswith("weight") and tensor.dtype == torch.int32 for name, tensor in tensors.items())


def _read(source: Source) -> Found:
    what, masks = str(source.path), dict(source.tensors)
    if source.weights is None:
        return Found({}, masks)
    weights = source.weights.tensors
    alone = sorted(set(masks) - set(weights))
    if alone:
        raise InputError(
            f"{what} has a mask of {alone[0]!r} ({len(alone)} such), which {source.weights.path} has not; are they of one run?"
        )
    return Found(dict(weights), masks, dense_weights=not _are_pruned(weights, masks))


def _are_pruned(weights: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> bool:
    """Say whether every weight that a mask of its shape prunes is 0; masks of other shapes are refused where they are matched."""
    return all(not bool(torch.any(weights[name][mask == 0])) for name, mask in masks.items() if mask.shape == weights[name].shape)


OPEN_LTH = Importer(
    "open_lth",
    "open_lth: mask.pth, and --weights of a model beside it",
    "int32 tensors *.weight alone",
    _recognises,
    _read,
    takes_weights=True,
)
