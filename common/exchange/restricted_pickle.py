"""Old checkpoints that hold more than tensors, read without running anything in them.

`torch.load(weights_only=True)` refuses files whose pickles name other classes (an optimizer, a config object, a pruner). This
reader takes three containers apart by itself: torch's zip archives (since 1.6), torch's older stream of pickles and storages,
and plain pickles. Foreign objects become inert placeholders (`common.exchange.pickle_machine`), tensors are views of the bytes.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from common.errors import InputError
from common.exchange.pickle_builders import Builders, Storage, dtype_of
from common.exchange.pickle_machine import Allowance, Inert, Machine, PickleError
from common.models.layouts.tensor_memory import DAMAGED
from common.tickets.container import read_bytes

_MAGIC = 0x1950A86A20F9469CFC6C  # torch's, of the stream format
_PROTOCOL = 1001
_ZIP, _NPY, _TAR = b"PK\x03\x04", b"\x93NUMPY", b"ustar"
_DATA = "data.pkl"
_MAX_ENTRIES = 100_000


def read_restricted(path: Path | str) -> Any:
    """Read a checkpoint whose pickle holds foreign objects.

    Args:
        path: a torch file (zip archive or stream), or a plain pickle; what a name ends in plays no part.

    Returns:
        What was saved: plain objects, torch tensors on the CPU, and `Inert` placeholders.

    Raises:
        InputError: the file cannot be read, is damaged or of another kind, or claims more than it holds. One line.
    """
    content = read_bytes(path)
    try:
        return _read(content, Allowance(len(content)), nested=False)
    except PickleError as error:
        raise InputError(f"{path} cannot be read without running it: {error}") from error


def _read(content: bytes, allowance: Allowance, *, nested: bool) -> Any:
    builders = Builders(allowance)

    def load_nested(inner: bytes) -> Any:
        if nested:
            raise PickleError("its pickle holds torch files in torch files")
        return _read(inner, allowance, nested=True)

    table = builders.table(load_nested)
    if content.startswith(_ZIP):
        return _read_archive(content, table, allowance)
    if content.startswith(_NPY):
        raise PickleError("it is a numpy array; only archives of plain arrays (.npz) are imported, and not by this reader")
    if content[257:262] == _TAR:
        raise PickleError("it is a tar archive, as torch wrote before version 0.2; save it again with a later torch")
    return _read_stream(content, table, allowance)


def _read_archive(content: bytes, table: dict[str, Callable[[tuple[Any, ...]], Any]], allowance: Allowance) -> Any:
    """Read a zip archive: ROOT/data.pkl and ROOT/data/KEY, stored without compression."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return _read_entries(archive, table, allowance)
    except (InputError, PickleError):
        raise
    except DAMAGED as error:
        raise PickleError(f"its zip archive is damaged ({' '.join(str(error).split())[:100]})") from error


def _read_entries(archive: zipfile.ZipFile, table: dict[str, Callable[[tuple[Any, ...]], Any]], allowance: Allowance) -> Any:
    names = [entry.filename for entry in archive.infolist()]
    roots = [name[: -len(_DATA)] for name in names if name.endswith(f"/{_DATA}") and name.count("/") == 1]
    if len(roots) != 1 or len(names) > _MAX_ENTRIES or len(set(names)) != len(names):
        raise PickleError(f"it is a zip archive, but none of torch's (it has {len(roots)} {_DATA} and {len(names)} entries)")
    root = roots[0]
    if f"{root}constants.pkl" in names:
        raise PickleError("it is a TorchScript archive, which is a program; save the model's state dict instead")
    if f"{root}byteorder" in names and _entry(archive, f"{root}byteorder", allowance) != b"little":
        raise PickleError("its tensors are not little-endian")
    loaded: dict[str, bytearray] = {}

    def persistent(reference: Any) -> Any:
        kind, key, numel = _storage_reference(reference)
        dtype = dtype_of(kind)
        if key not in loaded:
            loaded[key] = bytearray(_entry(archive, f"{root}data/{key}", allowance))
        if len(loaded[key]) != numel * dtype.itemsize:
            raise PickleError(f"its storage {key[:20]!r} has {len(loaded[key])} bytes and claims {numel} elements")
        return _whole(Storage(key, dtype, loaded[key]))

    return Machine(table, allowance, persistent).read(io.BytesIO(_entry(archive, f"{root}{_DATA}", allowance)))


def _entry(archive: zipfile.ZipFile, name: str, allowance: Allowance) -> bytes:
    entry = archive.getinfo(name)
    if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
        raise PickleError(f"its entry {name[:60]!r} is compressed, which torch never does")
    allowance.spend_bytes(entry.file_size)
    return archive.read(entry)  # checks the CRC


def _read_stream(content: bytes, table: dict[str, Callable[[tuple[Any, ...]], Any]], allowance: Allowance) -> Any:
    """Read a plain pickle, or torch's stream: magic, protocol, system, the object, its storages' keys, and the storages."""
    file = io.BytesIO(content)
    first = Machine(table, allowance).read(file)
    if type(first) is not int or first != _MAGIC:
        if file.tell() != len(content):
            raise PickleError("it goes on after its pickle, and is none of torch's files")
        return first
    protocol, system = Machine({}, allowance).read(file), Machine({}, allowance).read(file)
    if protocol != _PROTOCOL or not isinstance(system, dict) or system.get("little_endian") is not True:
        raise PickleError("it is no torch file of protocol 1001 from a little-endian machine")
    storages: dict[str, Storage] = {}

    def persistent(reference: Any) -> Any:
        if isinstance(reference, tuple) and len(reference) == 4 and reference[0] == "module":
            return reference[1] if isinstance(reference[1], Inert) else Inert("module")
        kind, key, numel = _storage_reference(reference)
        dtype = dtype_of(kind)
        if key not in storages:
            if numel * dtype.itemsize > len(content):
                raise PickleError(f"its storage {key[:20]!r} claims {numel} elements, more than the file has")
            allowance.spend_bytes(numel * dtype.itemsize)
            storages[key] = Storage(key, dtype, bytearray(numel * dtype.itemsize))
        if storages[key].dtype != dtype or storages[key].numel != numel:
            raise PickleError(f"its storage {key[:20]!r} is named twice with different sizes")
        return storages[key]

    found = Machine(table, allowance, persistent).read(file)
    _fill_storages(file, Machine({}, allowance).read(file), storages)
    if file.tell() != len(content):
        raise PickleError("it goes on after its storages")
    return found


def _storage_reference(reference: Any) -> tuple[Any, str, int]:
    """Take ("storage", class, key, device, number of elements[, view]) apart."""
    if isinstance(reference, tuple) and len(reference) in (5, 6) and reference[0] == "storage":
        kind, key, _, numel = reference[1:5]
        if isinstance(key, str) and type(numel) is int and 0 <= numel < 2**48 and (len(reference) == 5 or reference[5] is None):
            return kind, key, numel
    raise PickleError("its pickle refers to a storage in a way that is not read")


def _fill_storages(file: io.BytesIO, keys: Any, storages: dict[str, Storage]) -> None:
    if not isinstance(keys, list) or sorted(map(str, keys)) != sorted(storages):
        raise PickleError("its storages are not those that its tensors name")
    for key in keys:
        storage = storages[key]
        numel, content = int.from_bytes(file.read(8), "little"), file.read(len(storage.content))
        if numel != storage.numel or len(content) != len(storage.content):
            raise PickleError(f"its storage {key[:20]!r} is truncated or damaged")
        storage.content[:] = content
        _whole(storage)


def _whole(storage: Storage) -> Storage:
    if storage.dtype != torch.bool or max(storage.content, default=0) <= 1:
        return storage
    raise PickleError(f"its storage {storage.key[:20]!r} of bool holds bytes other than 0 and 1")
