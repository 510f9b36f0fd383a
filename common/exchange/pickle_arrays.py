"""numpy's arrays and scalars in pickles, rebuilt as torch tensors and Python numbers from checked bytes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor

from common.exchange.pickle_machine import Allowance, Inert, PickleError, Unfinished, are_counts

_DTYPES = {
    "f8": torch.float64,
    "f4": torch.float32,
    "f2": torch.float16,
    "i8": torch.int64,
    "i4": torch.int32,
    "i2": torch.int16,
    "i1": torch.int8,
    "u1": torch.uint8,
    "b1": torch.bool,
}
_LITTLE = ("<", "|", "=", b"<", b"|", b"=")


@dataclass(frozen=True)
class _Dtype:
    """A numpy dtype that can be read."""

    dtype: torch.dtype


def array_builders(allowance: Allowance) -> dict[str, Callable[[tuple[Any, ...]], Any]]:
    """Return the builders of numpy's names, whose arrays are taken off an allowance."""

    def encoded(arguments: tuple[Any, ...]) -> Any:
        """Return the bytes that protocol 2 writes as text."""
        if len(arguments) != 2 or arguments[1] not in ("latin1", "latin-1") or not isinstance(arguments[0], str):
            return Inert("_codecs.encode")
        allowance.spend_bytes(len(arguments[0]))
        return bytes_of(arguments, 0)

    def array(state: Any) -> Any:
        """Build an array from its state: (version, shape, dtype, whether columns come first, bytes)."""
        if not isinstance(state, tuple) or len(state) != 5:
            raise PickleError("its arrays are damaged (no state)")
        return _from_bytes(state, 4, state[2], state[1], bool(state[3]), allowance)

    def from_buffer(arguments: tuple[Any, ...]) -> Any:
        """Build an array of protocol 5: (buffer, dtype, shape, order)."""
        if len(arguments) != 4:
            raise PickleError("its arrays are damaged (no buffer)")
        return _from_bytes(arguments, 0, arguments[1], arguments[2], arguments[3] == "F", allowance)

    def scalar(arguments: tuple[Any, ...]) -> Any:
        """Build a number: (dtype, bytes)."""
        if len(arguments) != 2:
            raise PickleError("its numbers are damaged (no bytes)")
        found = _from_bytes(arguments, 1, arguments[0], (), False, allowance)
        return found.item() if isinstance(found, Tensor) else found

    found: dict[str, Callable[[tuple[Any, ...]], Any]] = {
        "_codecs.encode": encoded,
        "numpy.dtype": _dtype,
        "numpy.ndarray": lambda arguments: Inert("numpy.ndarray"),
    }
    for package in ("numpy.core", "numpy._core"):
        found[f"{package}.multiarray._reconstruct"] = lambda arguments: Unfinished("numpy.ndarray", array)
        found[f"{package}.multiarray.scalar"] = scalar
        found[f"{package}.numeric._frombuffer"] = from_buffer
    return found


def bytes_of(arguments: tuple[Any, ...], place: int) -> bytes:
    """Return one of the arguments as bytes; text is what Python 2 called them.

    Raises:
        PickleError: it is neither.
    """
    value = arguments[place] if place < len(arguments) else None
    if isinstance(value, str):
        return value.encode("latin-1")
    if isinstance(value, (bytes, bytearray)):
        return bytes(value)
    raise PickleError("its arrays are damaged (no bytes)")


def _dtype(arguments: tuple[Any, ...]) -> Any:
    code = arguments[0] if arguments else None
    dtype = _DTYPES.get(code.lstrip("<|=")) if isinstance(code, str) else None
    if dtype is None:
        return Inert(f"numpy.dtype {str(code)[:20]}")
    return Unfinished(f"numpy.dtype {code}", lambda state: _little(state, dtype))


def _little(state: Any, dtype: torch.dtype) -> _Dtype:
    if not isinstance(state, tuple) or len(state) < 2 or state[1] not in _LITTLE:
        raise PickleError("its arrays are not little-endian")
    return _Dtype(dtype)


def _from_bytes(
    parts: tuple[Any, ...], place: int, dtype: Any, shape: Any, columns_first: bool, allowance: Allowance
) -> Tensor | Inert:
    if not isinstance(dtype, _Dtype):
        return Inert("numpy.ndarray of objects")
    content = bytes_of(parts, place)
    allowance.spend_bytes(len(content))
    if not are_counts(shape) or len(shape) > 16 or prod(shape) * dtype.dtype.itemsize != len(content):
        raise PickleError(f"its arrays are damaged ({len(content)} bytes do not fill the shape)")
    if not content:
        return torch.empty(tuple(shape), dtype=dtype.dtype)
    flat = torch.frombuffer(bytearray(content), dtype=dtype.dtype)
    if not columns_first:
        return flat.reshape(tuple(shape))
    return flat.reshape(tuple(shape)[::-1]).permute(*reversed(range(len(shape)))).contiguous()
