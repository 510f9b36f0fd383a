"""Distiller (Zmora et al. 2019, arXiv:1910.12232): a state dict, and the scheduler's masks by name.

    {"state_dict" or "model": {...}, "compression_sched" or "compression_scheduler": {"masks_dict": {name: tensor or None}}}

None means that the schedule never pruned the tensor, so it is outside the scope. The prefix `module.` may stand before the masks'
names and not before the weights'. Its CIFAR networks (arch `*_cifar`) expect mean and standard deviation .5.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from common.data.inputs import NORMALISATIONS, InputSpec
from common.errors import InputError
from common.exchange.importers.importer import Found, Importer
from common.exchange.source import Source, without_module

_SCHEDULERS, _MASKS = ("compression_sched", "compression_scheduler"), "masks_dict"
_CIFAR_INPUT = InputSpec(32, 3, (0.0, 1.0), *NORMALISATIONS["half"], None)


def _masks_dict(source: Source) -> Mapping[str, Any]:
    """Return the masks that are not None; empty where there are none."""
    for key in _SCHEDULERS:
        scheduler = source.tree.get(key)
        masks = scheduler.get(_MASKS) if isinstance(scheduler, Mapping) else None
        if isinstance(masks, Mapping):
            return {str(name): mask for name, mask in masks.items() if mask is not None}
    return {}


def _recognises(source: Source) -> bool:
    return bool(_masks_dict(source))


def _read(source: Source) -> Found:
    masks = _masks_dict(source)
    named = without_module(masks, source.path)
    if len(named) != len(masks):
        odd = next(name for name, mask in masks.items() if not hasattr(mask, "shape"))
        raise InputError(f"{source.path}: {_MASKS} holds a {type(masks[odd]).__name__} under {odd!r}, expected a tensor or None")
    if not source.tensors:
        raise InputError(f"{source.path} holds Distiller's masks and no state dict beside them")
    cifar = str(source.tree.get("arch")).endswith("_cifar")
    return Found(source.tensors, named, input=_CIFAR_INPUT if cifar else None)


DISTILLER = Importer(
    "distiller",
    "Distiller: compression_sched.masks_dict beside a state dict",
    f"{_SCHEDULERS[0]}.{_MASKS} with a mask in it",
    _recognises,
    _read,
)
