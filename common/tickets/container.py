"""The safetensors layout, read strictly and without torch: a file either is exactly what a writer wrote, or is refused.

The library accepts files whose header was edited; a ticket must not. So the header has to be in the writer's own compact form,
the tensors have to fill the file without gap or overlap, and every name, type and size is checked before a byte is interpreted.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from common.tickets.errors import TicketError

_ITEM_BYTES = {"BOOL": 1, "U8": 1, "I8": 1, "F16": 2, "BF16": 2, "I16": 2, "F32": 4, "I32": 4, "F64": 8, "I64": 8}
MAX_HEADER_BYTES = 100_000_000
_MAX_ITEMS = 2**48


@dataclass(frozen=True)
class StoredTensor:
    """One tensor of a file: its type as safetensors spells it, its shape, and its bytes (C order, little-endian)."""

    dtype: str
    shape: tuple[int, ...]
    content: memoryview


@dataclass(frozen=True)
class Container:
    """A whole file: its metadata strings and its tensors."""

    metadata: Mapping[str, str]
    tensors: Mapping[str, StoredTensor]


def read_bytes(path: Path | str) -> bytes:
    """Read a file whole.

    Raises:
        TicketError: the file is absent or cannot be read.
    """
    try:
        return Path(path).read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a name that no file system takes
        raise TicketError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error


def parse_container(content: bytes, what: str) -> Container:
    """Take a safetensors file apart.

    Args:
        content: the file's bytes.
        what: the file's name, for messages.

    Raises:
        TicketError: anything that a writer of safetensors would not have written.
    """
    header_bytes, data = _split(content, what)
    header = _parse_header(header_bytes, what)
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise TicketError(f"{what}: the metadata are not strings; the file is damaged or was edited")
    return Container(metadata, _cut(header, data, what))


def _split(content: bytes, what: str) -> tuple[bytes, memoryview]:
    size = int.from_bytes(content[:8], "little")
    if len(content) < 8 or size > min(len(content) - 8, MAX_HEADER_BYTES):
        raise TicketError(f"{what}: {len(content)} bytes are no whole safetensors file; it is truncated or not a ticket")
    return content[8 : 8 + size], memoryview(content)[8 + size :]


def _parse_header(raw: bytes, what: str) -> dict[str, Any]:
    """Parse the JSON header and insist on the compact form that the format's writers produce."""
    try:
        text = raw.decode("utf-8").rstrip(" ")
        header = json.loads(text)
        canonical = json.dumps(header, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    except (ValueError, RecursionError) as error:
        raise TicketError(f"{what}: the header is not JSON; the file is damaged or not a ticket") from error
    padding = -len(text.encode("utf-8")) % 8
    if not isinstance(header, dict) or canonical != text or len(raw) != len(text.encode("utf-8")) + padding:
        raise TicketError(f"{what}: the header is not in the form it was written in; the file is damaged or was edited")
    return header


def _cut(header: Mapping[str, Any], data: memoryview, what: str) -> dict[str, StoredTensor]:
    """Cut the data into tensors; they must follow one another and fill the file."""
    tensors: dict[str, StoredTensor] = {}
    position = 0
    for name, entry in header.items():
        dtype, shape, end = _entry(entry, position, what, name)
        if end > len(data):
            raise TicketError(f"{what}: tensor {name!r} ends beyond the file; it is truncated")
        tensors[name] = StoredTensor(dtype, shape, data[position:end])
        position = end
    if position != len(data):
        raise TicketError(f"{what}: {len(data) - position} bytes belong to no tensor; the file is damaged or was edited")
    return tensors


def _entry(entry: Any, position: int, what: str, name: str) -> tuple[str, tuple[int, ...], int]:
    """Check one tensor's header entry, which must begin at `position`; return type, shape and end."""
    if isinstance(entry, dict) and list(entry) == ["dtype", "shape", "data_offsets"] and "\0" not in name:
        dtype, shape, offsets = entry.values()
        whole = isinstance(shape, list) and all(type(n) is int and n >= 0 for n in shape) and len(shape) <= 16
        if type(dtype) is str and dtype in _ITEM_BYTES and whole and prod(max(n, 1) for n in shape) < _MAX_ITEMS:
            end = position + prod(shape) * _ITEM_BYTES[dtype]
            if offsets == [position, end] and all(type(n) is int for n in offsets):
                return dtype, tuple(shape), end
    raise TicketError(f"{what}: the header's entry of tensor {name!r} is wrong; the file is damaged or was edited")
