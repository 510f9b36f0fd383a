"""Wrapped layers, as AC/DC, WoodFisher and GMP save them (Iofinova et al. 2022, arXiv:2111.13445).

    layer1.0.conv1._layer.weight, ._layer.bias      the layer's own parameters, 0 where they are pruned
    layer1.0.conv1._weight_mask, ._bias_mask        0 or 1; the bias's may be absent

under `model_state_dict` or `state_dict`, often behind `module.`, with the network's names of any layout around them. AC/DC prunes
the stem and the classifier too. Native files hold the optimizer's objects: read them with --legacy-pickle.
"""

from __future__ import annotations

import re

from common.data.inputs import IMAGENET_INPUT
from common.exchange.importers.importer import Found, Importer
from common.exchange.importers.pairs import split_pairs
from common.exchange.source import Source

_VALUES, _MASK = re.compile(r"(.+)\._layer\.(weight|bias)"), re.compile(r"(.+)\._(weight|bias)_mask")


def _recognises(source: Source) -> bool:
    return any(_VALUES.fullmatch(name) for name in source.tensors)


def _read(source: Source) -> Found:
    weights, masks = split_pairs(
        source.tensors,
        lambda name: _joined(_VALUES, name),
        lambda name: _joined(_MASK, name),
        str(source.path),
        masks_may_lack=lambda name: name.endswith(".bias"),
    )
    return Found(weights, masks)


def _joined(pattern: re.Pattern[str], name: str) -> str | None:
    match = pattern.fullmatch(name)
    return f"{match[1]}.{match[2]}" if match else None


WRAPPED = Importer(
    "wrapped",
    "wrapped layers: AC/DC, WoodFisher, GMP",
    "*._layer.weight and *._weight_mask",
    _recognises,
    _read,
    IMAGENET_INPUT,
)
