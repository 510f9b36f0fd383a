"""Checkpoints without masks: the zeros among the weights are the mask, or all is kept.

Girish et al. 2021, M-FAC, SparseML and others leave nothing but zeros. A weight that is exactly 0 was pruned: training does not
arrive there, but for a few by chance. A file with more zeros than chance gives is in the format `zeros`; one with fewer is
`plain`, of which only the user can say that it is dense.
"""

from __future__ import annotations

import torch
from torch import Tensor

from common.errors import InputError
from common.exchange.importers import masks
from common.exchange.importers.importer import Found, Importer
from common.exchange.mask_rules import FEW, zero_fraction
from common.exchange.source import Source


def _weights(source: Source) -> dict[str, Tensor]:
    return {
        name: tensor
        for name, tensor in source.tensors.items()
        if tensor.ndim >= 2 and tensor.is_floating_point() and tensor.layout == torch.strided
    }


def _is_pruned(source: Source) -> bool:
    weights = _weights(source)
    return zero_fraction(weights, weights) >= FEW


def _recognises_zeros(source: Source) -> bool:
    return not masks.MASKS.recognises(source) and _is_pruned(source)


def _recognises_plain(source: Source) -> bool:
    return bool(source.tensors) and not masks.MASKS.recognises(source) and not _is_pruned(source)


def _require_tensors(source: Source) -> None:
    if not source.tensors:
        raise InputError(f"{source.path} holds no tensors")


def _read_zeros(source: Source) -> Found:
    _require_tensors(source)
    return Found(source.tensors, rule="zeros")


def _read_plain(source: Source) -> Found:
    _require_tensors(source)
    return Found(source.tensors, rule="dense", dense_weights=True)


ZEROS = Importer(
    "zeros",
    "any pruned checkpoint whose pruned weights are 0",
    f"{FEW:.0%} of the weights or more that are exactly 0",
    _recognises_zeros,
    _read_zeros,
    automatic=False,
)
PLAIN = Importer(
    "plain",
    "weights without a mask, taken as dense with --dense",
    "weights that are not 0",
    _recognises_plain,
    _read_plain,
    automatic=False,
)
