"""TurboPrune's state dicts: layers with a buffer `mask` beside their weight, which the forward pass multiplies.

    model.layer1.0.conv1.weight     values; where they are pruned, what they were
    model.layer1.0.conv1.mask       float 0 or 1, of the weight's shape

Linear layers are 1-d convolutions there, (K, D, 1). The stem and the classifier have masks too.
"""

from __future__ import annotations

from common.exchange.importers.importer import Found, Importer
from common.exchange.importers.pairs import split_pairs
from common.exchange.source import Source

_MASK = ".mask"


def _recognises(source: Source) -> bool:
    if source.path.suffix.lower() == ".npz":  # where RigL's masks have such names
        return False
    return any(_weight(name) in source.tensors for name in source.tensors if name.endswith(_MASK))


def _read(source: Source) -> Found:
    weights, masks = split_pairs(
        source.tensors, lambda _: None, lambda name: _weight(name) if name.endswith(_MASK) else None, str(source.path)
    )
    return Found(weights, masks, dense_weights=True)


def _weight(name: str) -> str:
    return name.removesuffix(_MASK) + ".weight"


TURBOPRUNE = Importer("turboprune", "TurboPrune: a mask beside each weight", "*.weight and *.mask", _recognises, _read)
