"""STR's own checkpoints (Kusupati et al. 2020, arXiv:2002.03231, eq. 5): weights, and a threshold for each layer.

    layer1.0.conv1.weight              w
    layer1.0.conv1.sparseThreshold     s, one number (1, 1)

The network computes with sign(w) relu(|w| - sigmoid(s)), so a weight is kept where it is greater than the threshold, and smaller
by it than in the file. The classifier is a 1x1 convolution without bias, with a threshold too.
"""

from __future__ import annotations

import torch
from torch import Tensor

from common.data.inputs import IMAGENET_INPUT
from common.errors import InputError
from common.exchange.importers.importer import Found, Importer
from common.exchange.importers.pairs import split_pairs
from common.exchange.source import Source

_THRESHOLD = ".sparseThreshold"


def _recognises(source: Source) -> bool:
    return any(name.endswith(_THRESHOLD) for name in source.tensors)


def _read(source: Source) -> Found:
    what = str(source.path)
    weights, thresholds = split_pairs(
        source.tensors,
        lambda _: None,
        lambda name: name.removesuffix(_THRESHOLD) + ".weight" if name.endswith(_THRESHOLD) else None,
        what,
    )
    sparse = {name: _sparse(name, weights[name], threshold, what) for name, threshold in thresholds.items()}
    return Found({**weights, **sparse}, {name: weight != 0 for name, weight in sparse.items()})


def _sparse(name: str, weight: Tensor, threshold: Tensor, what: str) -> Tensor:
    """Return the weight that the network computes with."""
    if threshold.numel() != 1 or not threshold.is_floating_point() or not bool(torch.isfinite(threshold).all()):
        raise InputError(f"{what}: the threshold of {name!r} has shape {tuple(threshold.shape)}, expected one finite number")
    if not weight.is_floating_point():
        raise InputError(f"{what}: {name!r} is of {weight.dtype}, expected floating point")
    return torch.sign(weight) * torch.relu(weight.abs() - torch.sigmoid(threshold.reshape(())))


STR_THRESHOLD = Importer(
    "str-threshold",
    "STR's own checkpoints: weights and thresholds",
    f"*{_THRESHOLD}",
    _recognises,
    _read,
    IMAGENET_INPUT,
)
