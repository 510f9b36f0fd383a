"""What pickles of checkpoints may build: containers, torch's tensors and numpy's arrays, each rebuilt here from checked numbers.

The names are those that torch (`torch._utils`, `torch.storage`) and numpy (`numpy.core.multiarray`, `numpy._core`) write into
their pickles. None of their functions is called: a tensor is a view of bytes that lie in the file, after its size, strides and
offset were checked against them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor

from common.exchange.pickle_arrays import array_builders, bytes_of
from common.exchange.pickle_machine import Allowance, Inert, Known, PickleError, are_counts, checked_key, fill
from common.models.layouts.tensor_memory import span_of

Builder = Callable[[tuple[Any, ...]], Any]

STORAGE_DTYPES = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}


@dataclass(frozen=True)
class Storage:
    """The bytes that tensors of a file are views of.

    Attributes:
        key: the file's name of it.
        dtype: of its elements.
        content: its bytes, little-endian; filled before anyone reads a tensor.
    """

    key: str
    dtype: torch.dtype
    content: bytearray

    @property
    def numel(self) -> int:
        """Number of elements."""
        return len(self.content) // self.dtype.itemsize


class Builders:
    """The table of builders for one file.

    Args:
        allowance: what the file may cost.
    """

    def __init__(self, allowance: Allowance) -> None:
        self._allowance = allowance

    def table(self, nested: Callable[[bytes], Any]) -> dict[str, Builder]:
        """Return the builders by the names in pickles.

        Args:
            nested: reads a torch file that lies as bytes in a pickle.
        """
        return {
            "collections.OrderedDict": self._ordered,
            "collections.defaultdict": lambda arguments: self._ordered(arguments[1:]),
            "builtins.set": self._set,
            "__builtin__.set": self._set,
            "builtins.bytes": _no_bytes,
            "__builtin__.bytes": _no_bytes,
            "torch.Size": self._size,
            **{f"torch.{name}": _storage_class for name in STORAGE_DTYPES},
            "torch._utils._rebuild_tensor": self._tensor,
            "torch._utils._rebuild_tensor_v2": self._tensor,
            "torch._utils._rebuild_parameter": _parameter,
            "torch._utils._rebuild_parameter_with_state": _parameter,
            "copyreg._reconstructor": _foreign,
            "copy_reg._reconstructor": _foreign,
            "torch.storage._load_from_bytes": lambda arguments: nested(bytes_of(arguments, 0)),
            **array_builders(self._allowance),
        }

    def _tensor(self, arguments: tuple[Any, ...]) -> Tensor:
        """Build the view of a storage: (storage, offset, size, stride, ...).

        Every element must have a place of its own: else a few bytes could claim to be many.
        """
        storage, offset, size, stride = arguments[:4] if len(arguments) >= 4 else (None,) * 4
        if not isinstance(storage, Storage) or not are_counts(size) or not are_counts(stride) or not are_counts((offset,)):
            raise PickleError("its tensors are damaged (no storage, or sizes that are no numbers)")
        span = span_of(size, stride) if len(size) == len(stride) <= 16 else None
        if span is None:
            raise PickleError(f"a tensor of size {size[:6]} and strides {stride[:6]} shares places among its elements")
        if offset + span > storage.numel:
            raise PickleError(f"a tensor of size {size[:6]} claims more than its storage holds")
        self._allowance.spend_bytes(prod(size) * storage.dtype.itemsize)
        if not span:
            return torch.empty(size, dtype=storage.dtype)
        return torch.frombuffer(storage.content, dtype=storage.dtype).as_strided(size, stride, offset)

    def _ordered(self, arguments: tuple[Any, ...]) -> dict[Any, Any]:
        """Build a dict from nothing, from pairs (OrderedDict of Python 2), or from another dict."""
        content = arguments[0] if arguments else ()
        if not isinstance(content, (dict, list, tuple)):
            raise PickleError("its pickle makes a dict from something else than pairs")
        self._allowance.spend_items(len(content))
        if isinstance(content, dict):
            return dict(content)
        found: dict[Any, Any] = {}
        for pair in content:
            if not isinstance(pair, (list, tuple)) or len(pair) != 2:
                raise PickleError("its pickle makes a dict from something else than pairs")
            fill(found, list(pair))
        return found

    def _set(self, arguments: tuple[Any, ...]) -> set[Any]:
        items = arguments[0] if arguments and isinstance(arguments[0], (list, tuple, set)) else ()
        self._allowance.spend_items(len(items))
        return {checked_key(item) for item in items}

    def _size(self, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        items = arguments[0] if arguments and isinstance(arguments[0], (list, tuple)) else ()
        self._allowance.spend_items(len(items))
        return tuple(items)


def dtype_of(kind: Any) -> torch.dtype:
    """Return the element type that a storage's class in a pickle stands for.

    Raises:
        PickleError: it is none of torch's.
    """
    if isinstance(kind, Known) and kind.name.removeprefix("torch.") in STORAGE_DTYPES:
        return STORAGE_DTYPES[kind.name.removeprefix("torch.")]
    raise PickleError(f"its tensors are of a kind that is not read ({kind.name if isinstance(kind, Inert) else 'no class'})")


def _storage_class(arguments: tuple[Any, ...]) -> Any:
    raise PickleError("its pickle makes a storage by itself")


def _no_bytes(arguments: tuple[Any, ...]) -> bytes | Inert:
    """Return b"", which protocols 0 to 2 write as a call."""
    return Inert("bytes") if arguments else b""


def _foreign(arguments: tuple[Any, ...]) -> Inert:
    """Name the class of an object that protocols 0 and 1 write."""
    return Inert(arguments[0].name if arguments and isinstance(arguments[0], Inert) else "object")


def _parameter(arguments: tuple[Any, ...]) -> Any:
    if not arguments or not isinstance(arguments[0], (Tensor, Inert)):
        raise PickleError("its parameters are damaged (a parameter without a tensor)")
    return arguments[0]
