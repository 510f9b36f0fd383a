"""PyTorch checkpoints: the tensors in them, under the file's own names less what wrappers put before all of them."""

from __future__ import annotations

import argparse
import errno
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from common.errors import InputError

WRAPPERS = ("state_dict", "model", "state_dict_ema", "model_ema", "model_state_dict")
TWO_PARTS = ("resnet", "head")
_PREFIXES = ("module.", "_orig_mod.")  # of DataParallel and DistributedDataParallel, and of torch.compile
_GLOBAL = re.compile(r"GLOBAL ([\w.]+)")


class UnsafePickleError(InputError):
    """A checkpoint that holds more than tensors and plain values, which were not unpickled."""


def read_checkpoint(path: Path, what: str) -> dict[str, Tensor]:
    """Read the tensors of a PyTorch checkpoint; nothing else in it is unpickled.

    They are looked for in the file itself, under `state_dict` or `model`, or in two parts `resnet` and `head`, which then stand
    before the names. Of prefixes that wrappers give to every name, none is left.

    Args:
        path: the file.
        what: what the file is for and its name, for messages.

    Raises:
        InputError: the file is absent, truncated, no checkpoint, would run code, holds no tensors or several state dicts, or
            only some of its names have a wrapper's prefix.
    """
    content = load_tree(path, what)
    tensors = state_dict_in(content, what)
    if not tensors:
        raise InputError(f"{what} holds no tensors{_beside(content)}")
    return without_prefixes(tensors, what)


def load_tree(path: Path, what: str) -> Any:
    """Return all that a PyTorch checkpoint holds, as far as it is tensors and plain values (`weights_only`).

    Raises:
        InputError: the file is absent, truncated or no checkpoint.
        UnsafePickleError: it holds other objects.
    """
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):  # a training's options, which many checkpoints carry
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises many kinds for a file that is no checkpoint
        if isinstance(error, OSError) and error.errno != errno.EINVAL:  # which it raises for a file of a few bytes
            role, _, _ = what.rpartition(str(path))
            raise InputError(f"{role}cannot read {path}: {error.strerror}") from error
        unsafe = _GLOBAL.search(str(error))
        if unsafe is not None:
            raise UnsafePickleError(
                f"{what} holds more than tensors (a pickled {unsafe[1]}), which could run code and is not loaded; "
                f"save its state dict alone, where it comes from: torch.save(model.state_dict(), FILE)"
            ) from error
        raise InputError(
            f"{what} is truncated, or no PyTorch checkpoint ({type(error).__name__}); expected a state dict"
        ) from error


def state_dict_in(content: Any, what: str) -> dict[str, Tensor]:
    """Return the one state dict of what a checkpoint holds, under the file's names; empty where there is none.

    Raises:
        InputError: it holds nothing by name, or several state dicts.
    """
    if not isinstance(content, Mapping):
        raise InputError(f"{what} holds no tensors by name (it is a {type(content).__name__})")
    found = {name: tensors_in(content[name]) for name in WRAPPERS if isinstance(content.get(name), Mapping)}
    if isinstance(content.get(TWO_PARTS[0]), Mapping):
        parts = {part: tensors_in(content[part]) for part in TWO_PARTS if isinstance(content.get(part), Mapping)}
        found[TWO_PARTS[0]] = {f"{part}.{name}": tensor for part, tensors in parts.items() for name, tensor in tensors.items()}
    found["the file itself"] = tensors_in(content)
    found = {name: tensors for name, tensors in found.items() if tensors}
    if len(found) > 1:
        raise InputError(f"{what} holds several state dicts ({', '.join(found)}); save the one that is meant by itself")
    return next(iter(found.values()), {})


def tensors_in(content: Mapping[Any, Any]) -> dict[str, Tensor]:
    """Return the values of a mapping that are tensors, by name."""
    return {str(name): value for name, value in content.items() if isinstance(value, Tensor)}


def _beside(content: Mapping[Any, Any]) -> str:
    names = [str(name) for name in content][:6]
    return f" under {', '.join(WRAPPERS[:2])} or of its own; it has {', '.join(names)}" if names else ""


def without_prefixes(tensors: Mapping[str, Tensor], what: str) -> dict[str, Tensor]:
    """Take wrappers' prefixes off, where every name has them.

    Raises:
        InputError: some names have a prefix and others have not.
    """
    found = dict(tensors)
    while True:
        prefix = next((prefix for prefix in _PREFIXES if any(name.startswith(prefix) for name in found)), None)
        if prefix is None:
            return found
        bare = next((name for name in found if not name.startswith(prefix)), None)
        if bare is not None:
            wrapped = next(name for name in found if name.startswith(prefix))
            raise InputError(
                f"{what}: some names begin with {prefix!r} ({wrapped!r}) and others do not ({bare!r}); "
                f"it is not clear which belong together"
            )
        found = {name[len(prefix) :]: tensor for name, tensor in found.items()}
