"""Archives of numpy arrays (.npz), read without pickle and without trusting a size that they claim."""

from __future__ import annotations

import io
import struct
import tokenize
import zipfile
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from common.errors import InputError
from common.models.layouts.tensor_memory import DAMAGED
from common.tickets.container import read_bytes

_MAX_GROWTH = 200
_SLACK = 2**26


def read_arrays(path: Path) -> dict[str, Tensor]:
    """Read an .npz file of plain little-endian arrays.

    Args:
        path: what numpy.savez or savez_compressed wrote; checksums are checked.

    Returns:
        Name -> tensor of the array's type and shape, C order.

    Raises:
        InputError: the file is absent, damaged or no such archive; an array holds Python objects, which would be pickles; or the
            arrays claim to be more than 200 times the file.
    """
    content = read_bytes(path)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = archive.infolist()
            if sum(entry.file_size for entry in entries) > _MAX_GROWTH * len(content) + _SLACK:
                raise InputError(f"{path}: its arrays claim to be more than {_MAX_GROWTH} times the file, which no weights are")
            names = [entry.filename.removesuffix(".npy") for entry in entries]
            if len(set(names)) != len(names):
                raise InputError(f"{path} holds two arrays of one name")
            return {name: _array(archive.read(entry), f"{path}: {name!r}") for name, entry in zip(names, entries, strict=True)}
    except InputError:
        raise
    except DAMAGED as error:
        raise InputError(f"{path} is no whole archive of arrays (.npz): {' '.join(str(error).split())[:100]}") from error


def _array(content: bytes, what: str) -> Tensor:
    file = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(file)
        read: Any = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
        shape, columns_first, dtype = read(file)
    except (ValueError, TypeError, KeyError, SyntaxError, EOFError, struct.error, tokenize.TokenError, RecursionError) as error:
        raise InputError(f"{what} is no array ({' '.join(str(error).split())[:80]})") from error
    if dtype.hasobject:
        raise InputError(f"{what} is an array of Python objects, which are pickles and could run code; they are not loaded")
    if dtype.kind not in "fiub" or dtype.byteorder == ">" or any(side < 0 for side in shape):
        raise InputError(f"{what} is an array of {dtype} of shape {shape}, expected little-endian numbers")
    body = content[file.tell() :]
    if prod(shape) * dtype.itemsize != len(body):
        raise InputError(f"{what} has shape {shape} of {dtype} and {len(body)} bytes; the file is damaged")
    array = np.frombuffer(body, dtype=dtype).reshape(shape, order="F" if columns_first else "C")
    if dtype.kind == "b" and body and max(body) > 1:
        raise InputError(f"{what} holds booleans that are neither 0 nor 1; the file is damaged")
    try:
        return torch.from_numpy(np.ascontiguousarray(array).reshape(shape).copy())
    except TypeError as error:
        raise InputError(f"{what} is an array of {dtype}, which torch has not") from error
