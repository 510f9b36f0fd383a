"""Checks of what a PyTorch file claims, which torch does not make: checksums of its archive, and tensors within their memory."""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from common.errors import InputError

_ZIP = b"PK\x03\x04"
_FOLDER = 0x10
_DEPTH = 6
DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    RuntimeError,
    EOFError,
    ValueError,
    KeyError,
    IndexError,
    OverflowError,
    OSError,
)
"""What the standard library raises on damaged zip archives."""


def is_archive(path: Path) -> bool:
    """Say whether a file begins as a zip archive, which is what torch goes by.

    Raises:
        OSError: the file cannot be read.
    """
    with open(path, "rb") as file:
        return file.read(len(_ZIP)) == _ZIP


def check_archive(path: Path, what: str) -> None:
    """Check the checksum of every entry of a zip archive; other files pass. torch.load ignores checksums.

    Raises:
        InputError: a checksum or the archive itself is wrong, an entry is compressed (which torch never does) or comes twice.
        OSError: the file cannot be read.
    """
    if not is_archive(path):
        return
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            if any(entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size for entry in entries):
                raise InputError(f"{what} is a compressed zip archive, which is none of torch's")
            if any(entry.is_dir() or entry.external_attr & _FOLDER for entry in entries):  # torch reads nothing from those
                raise InputError(f"{what} is a zip archive with folders in it, which is none of torch's")
            if sum(entry.file_size for entry in entries) > path.stat().st_size:
                raise InputError(f"{what} is a zip archive whose entries claim more than it holds")
            if len({entry.filename for entry in entries}) != len(entries):
                raise InputError(f"{what} is a zip archive with two entries of one name")
            damaged = archive.testzip()
    except InputError:
        raise
    except DAMAGED as error:
        why = " ".join(str(error).split())[:100]
        raise InputError(f"{what} is truncated, or no PyTorch checkpoint (its zip archive is damaged: {why})") from error
    if damaged is not None:
        raise InputError(f"{what} is damaged: the checksum of its entry {damaged!r} is wrong")


def span_of(size: Sequence[int], stride: Sequence[int]) -> int | None:
    """Return how many places of memory a strided tensor spans; None where two of its elements may share a place."""
    span = 1
    for step, length in sorted((step, length) for step, length in zip(stride, size, strict=True) if length != 1):
        if length and step < span:
            return None
        span += (length - 1) * step
    return span if all(size) else 0


def check_memory(content: Any, what: str) -> None:
    """Check every tensor of what was loaded: no two elements in one place, booleans that are 0 or 1.

    A constant, all of whose elements are one (as `expand` makes of a scalar), passes.

    Raises:
        InputError: a tensor repeats its elements, so that few bytes claim to be many, or holds bytes that are no booleans.
    """
    for tensor in _tensors(content, _DEPTH):
        if tensor.layout != torch.strided or tensor.is_quantized:
            continue
        if any(tensor.stride()) and span_of(tensor.shape, tensor.stride()) is None:
            raise InputError(
                f"{what} holds a tensor of shape {tuple(tensor.shape)[:6]} and strides {tensor.stride()[:6]}, whose elements "
                f"share memory; the file is damaged, or save a clone of it"
            )
        if tensor.dtype == torch.bool and tensor.numel() and int(tensor.view(torch.uint8).max()) > 1:
            raise InputError(f"{what} holds a tensor of booleans that are neither 0 nor 1; the file is damaged")


def _tensors(content: Any, depth: int) -> Iterator[Tensor]:
    if isinstance(content, Tensor):
        yield content
    elif depth and isinstance(content, (Mapping, list, tuple)):
        for value in content.values() if isinstance(content, Mapping) else content:
            yield from _tensors(value, depth - 1)
