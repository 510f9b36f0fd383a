"""Read another system's file without running anything in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from common.errors import InputError
from common.exchange.pickle_machine import Inert
from common.exchange.plain_arrays import read_arrays
from common.exchange.restricted_pickle import read_restricted
from common.models.layouts.checkpoint import UnsafePickleError, load_tree, state_dict_in, tensors_in, without_prefixes
from common.models.layouts.tensor_memory import check_memory, is_archive
from common.tickets.container import read_bytes
from common.tickets.header import WEIGHT, is_ticket
from common.tickets.ticket import load_ticket
from common.tickets.weights_file import load_tensors, load_weights

_WHOLE = (torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
_TYPES = (*_WHOLE, torch.float16, torch.bfloat16, torch.float32, torch.float64)
_MAX_ITEMS = 2**28  # more than a layer of weights has; a file of a few bytes can announce any number


@dataclass(frozen=True)
class Source:
    """A file that was read.

    Attributes:
        path: the file.
        tree: all that it holds: a mapping, of tensors and plain values, nested as in the file.
        tensors: the state dict in it by the file's names, without prefixes that wrappers give to every name; empty where the
            file has none.
        weights: the file that `--weights` names, read likewise.
    """

    path: Path
    tree: Mapping[str, Any]
    tensors: Mapping[str, Tensor]
    weights: Source | None = field(default=None)


def read_source(path: Path, weights: Path | None = None, *, legacy_pickle: bool = False) -> Source:
    """Read a file, and the one of its weights.

    Args:
        path: the file; no ticket, of which there is nothing to import.
        weights: the file of the weights; of a ticket it is the rewind point.
        legacy_pickle: read PyTorch files and pickles by the restricted reader, which puts placeholders for foreign objects.

    Raises:
        InputError: a file is absent, damaged, of a kind that is not read, would run code, or holds several state dicts.
    """
    if is_ticket(path):
        raise InputError(
            f"{path} is a ticket already, which every folder takes as it is (ticket.file); "
            f"`python -m common.tickets inspect {path}` says what it holds"
        )
    source = _source(path, legacy_pickle)
    return source if weights is None else replace(source, weights=_source(weights, legacy_pickle))


def _source(path: Path, legacy_pickle: bool) -> Source:
    tree = READERS.get(path.suffix.lower(), read_restricted if legacy_pickle else _torch_tree)(path)
    if isinstance(tree, Inert):
        raise InputError(f"{path} is a pickled {tree.name}, which only its own code could use; save its state dict there")
    return Source(path, tree, _usable(state_dict_in(tree, str(path)), path))


def without_module(named: Mapping[Any, Any], path: Path) -> dict[str, Tensor]:
    """Return the tensors of a part of a file's tree, without prefixes that wrappers give to every name; errors as above."""
    return _usable(tensors_in(named), path)


def _usable(tensors: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Refuse tensors that are none of a network: importers compute with them before names and shapes are known."""
    for name, tensor in tensors.items():
        plain = tensor.layout == torch.strided and tensor.dtype in _TYPES and tensor.device.type == "cpu"
        if not plain or tensor.is_nested or tensor.numel() > _MAX_ITEMS:
            size = "x".join(map(str, tensor.shape)) if not tensor.is_nested else "nested"
            raise InputError(
                f"{path}: {name!r} is a {tensor.layout} tensor of {tensor.dtype} ({size}, {tensor.device.type}), expected a "
                f"dense one of at most {_MAX_ITEMS:,} real numbers"
            )
    return without_prefixes({name: tensor.detach() for name, tensor in tensors.items()}, str(path))


def _torch_tree(path: Path) -> Any:
    """Read a PyTorch file by torch; one that is no zip archive, and so has no checksums, by the restricted reader too.

    That one refuses what torch lets pass: a name that comes twice, of which one tensor would be lost, and bytes left over.
    """
    try:
        tree = load_tree(path, str(path))
    except UnsafePickleError as error:
        raise InputError(f"{error}; or give --legacy-pickle, which reads its tensors and runs nothing") from error
    if not is_archive(path):
        read_restricted(path)
    return tree


def _safetensors_tree(path: Path) -> Mapping[str, Tensor]:
    """Read a state dict, or a file of our own as the state dict of a network with a backbone and a head."""
    if is_ticket(path):
        return load_ticket(path).rewind_point().joined()
    tensors = load_tensors(read_bytes(path), str(path))
    check_memory(tensors, str(path))
    return load_weights(path).joined() if any(name.startswith(WEIGHT) for name in tensors) else tensors


READERS: dict[str, Callable[[Path], Any]] = {".safetensors": _safetensors_tree, ".npz": read_arrays}
"""By suffix; every other file is read as a PyTorch checkpoint."""
