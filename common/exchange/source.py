"""Read another system's file without running anything in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from common.errors import InputError
from common.models.layouts.checkpoint import load_tree, state_dict_in, tensors_in, without_prefixes
from common.tickets.container import read_bytes
from common.tickets.header import WEIGHT, is_ticket
from common.tickets.ticket import load_ticket
from common.tickets.weights_file import load_tensors, load_weights


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


def read_source(path: Path, weights: Path | None = None) -> Source:
    """Read a file, and the one of its weights.

    Args:
        path: the file; no ticket, of which there is nothing to import.
        weights: the file of the weights; of a ticket it is the rewind point.

    Raises:
        InputError: a file is absent, damaged, of a kind that is not read, would run code, or holds several state dicts.
    """
    if is_ticket(path):
        raise InputError(
            f"{path} is a ticket already, which every folder takes as it is (ticket.file); "
            f"`python -m common.tickets inspect {path}` says what it holds"
        )
    return _source(path, None if weights is None else _source(weights))


def _source(path: Path, weights: Source | None = None) -> Source:
    tree = READERS.get(path.suffix.lower(), _torch_tree)(path)
    tensors = without_prefixes(state_dict_in(tree, str(path)), str(path))
    return Source(path, tree, tensors, weights)


def without_module(named: Mapping[Any, Any], path: Path) -> dict[str, Tensor]:
    """Return the tensors of a part of a file's tree, without prefixes that wrappers give to every name; errors as above."""
    return without_prefixes(tensors_in(named), str(path))


def _torch_tree(path: Path) -> Any:
    return load_tree(path, str(path))


def _safetensors_tree(path: Path) -> Mapping[str, Tensor]:
    """Read a state dict, or a file of our own as the state dict of a network with a backbone and a head."""
    if is_ticket(path):
        return load_ticket(path).rewind_point().joined()
    tensors = load_tensors(read_bytes(path), str(path))
    return load_weights(path).joined() if any(name.startswith(WEIGHT) for name in tensors) else tensors


READERS: dict[str, Callable[[Path], Any]] = {".safetensors": _safetensors_tree}
"""By suffix; every other file is read as a PyTorch checkpoint."""
