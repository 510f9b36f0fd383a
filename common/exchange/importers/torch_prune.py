"""torch.nn.utils.prune: every pruned weight is two tensors, the values and the mask that they are multiplied by.

    layer1.0.conv1.weight_orig      values; under the mask, what they were when they were cut
    layer1.0.conv1.weight_mask      0 or 1

as CV_LTH and LTH-T (Chen et al. 2021) save them, behind `module.` and under `state_dict`. What is trained under the mask leaves
`weight_orig` as it was where it is pruned, so kept values are those of the end of training; the product is what the network is.
"""

from __future__ import annotations

from common.errors import InputError
from common.exchange.importers.importer import Found, Importer
from common.exchange.source import Source

ORIG, MASK = "_orig", "_mask"


def _recognises(source: Source) -> bool:
    return any(name.endswith("weight" + ORIG) for name in source.tensors)


def _read(source: Source) -> Found:
    given = source.tensors
    values = {
        name.removesuffix(ORIG): tensor for name, tensor in given.items() if name.endswith(("weight" + ORIG, "bias" + ORIG))
    }
    masks = {name.removesuffix(MASK): tensor for name, tensor in given.items() if name.endswith(("weight" + MASK, "bias" + MASK))}
    alone = sorted(set(values) ^ set(masks))
    if alone:
        name = alone[0]
        there, absent = (ORIG, MASK) if name in values else (MASK, ORIG)
        raise InputError(
            f"{source.path} holds {name + there!r} without {name + absent!r} ({len(alone)} such tensors); expected both of each"
        )
    others = {name: tensor for name, tensor in given.items() if name.removesuffix(ORIG) not in values or not name.endswith(ORIG)}
    others = {name: tensor for name, tensor in others.items() if name.removesuffix(MASK) not in masks or not name.endswith(MASK)}
    twice = sorted(set(others) & set(values))
    if twice:
        raise InputError(f"{source.path} holds {twice[0]!r} beside {twice[0] + ORIG!r}; it is not clear which is meant")
    return Found({**others, **values}, masks, dense_weights=True)


TORCH_PRUNE = Importer(
    "torch-prune",
    "torch.nn.utils.prune (CV_LTH, LTH-T)",
    "*.weight_orig and *.weight_mask",
    _recognises,
    _read,
)
