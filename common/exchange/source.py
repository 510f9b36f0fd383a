"""Read another system's file without running anything in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from common.errors import InputError
from common.exchange.plain_arrays import read_arrays
from common.exchange.restricted_pickle import read_restricted
from common.models.layouts.checkpoint import UnsafePickleError, load_tree, state_dict_in, tensors_in, without_prefixes
from common.tickets.container import read_bytes
from common.tickets.weights_file import load_tensors


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
        path: the file.
        weights: the file of its weights.
        legacy_pickle: read PyTorch checkpoints and pickles by the restricted reader, which puts placeholders for foreign objects.

    Raises:
        InputError: a file is absent, damaged, of a kind that is not read, would run code, or holds several state dicts.
    """
    tree = READERS.get(path.suffix.lower(), read_restricted if legacy_pickle else _torch_tree)(path)
    tensors = without_prefixes(state_dict_in(tree, str(path)), str(path))
    return Source(path, tree, tensors, None if weights is None else read_source(weights, legacy_pickle=legacy_pickle))


def without_module(named: Mapping[Any, Any], path: Path) -> dict[str, Tensor]:
    """Return the tensors of a part of a file's tree, without prefixes that wrappers give to every name; errors as above."""
    return without_prefixes(tensors_in(named), str(path))


def _torch_tree(path: Path) -> Any:
    try:
        return load_tree(path, str(path))
    except UnsafePickleError as error:
        raise InputError(f"{error}; or give --legacy-pickle, which reads its tensors and runs nothing") from error


def _safetensors_tree(path: Path) -> Mapping[str, Tensor]:
    return load_tensors(read_bytes(path), str(path))


READERS: dict[str, Callable[[Path], Any]] = {".safetensors": _safetensors_tree, ".npz": read_arrays}
"""By suffix; every other file is read as a PyTorch checkpoint."""
