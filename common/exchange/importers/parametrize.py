"""torch.nn.utils.parametrize with one parametrization that multiplies by its buffer `mask`.

    layer1.0.conv1.parametrizations.weight.original     values
    layer1.0.conv1.parametrizations.weight.0.mask       0 or 1

as sparsifiers that register masks that way save them (torch.ao.pruning's FakeSparsity among them).
"""

from __future__ import annotations

import re

from common.errors import InputError
from common.exchange.importers.importer import Found, Importer
from common.exchange.importers.pairs import split_pairs
from common.exchange.source import Source

_ANY = re.compile(r"(?:.+\.)?parametrizations\..+")
_VALUES = re.compile(r"((?:.+\.)?)parametrizations\.(weight|bias)\.original")
_MASK = re.compile(r"((?:.+\.)?)parametrizations\.(weight|bias)\.0\.mask")


def _recognises(source: Source) -> bool:
    return any(_MASK.fullmatch(name) for name in source.tensors)


def _read(source: Source) -> Found:
    what = str(source.path)
    for name in source.tensors:
        if _ANY.fullmatch(name) and not _VALUES.fullmatch(name) and not _MASK.fullmatch(name):
            raise InputError(
                f"{what}: {name!r} is of another parametrization than one mask, so the weight is no product of values and mask; "
                f"remove it first (torch.nn.utils.parametrize.remove_parametrizations)"
            )
    weights, masks = split_pairs(source.tensors, lambda name: _joined(_VALUES, name), lambda name: _joined(_MASK, name), what)
    return Found(weights, masks, dense_weights=True)


def _joined(pattern: re.Pattern[str], name: str) -> str | None:
    match = pattern.fullmatch(name)
    return match[1] + match[2] if match else None


PARAMETRIZE = Importer(
    "parametrize",
    "torch.nn.utils.parametrize with a mask",
    "*.parametrizations.weight.0.mask",
    _recognises,
    _read,
)
