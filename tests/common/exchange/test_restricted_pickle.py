"""The restricted reader: what torch and pickle themselves would load, without running anything, within bounds."""

from __future__ import annotations

import collections
import io
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from common.errors import InputError
from common.exchange.pickle_machine import Inert
from common.exchange.restricted_pickle import read_restricted

DTYPES = (torch.float16, torch.bfloat16, torch.int8, torch.float64)


class Pruner:
    """A foreign object, with a model and masks in it, as Girish et al. pickle theirs."""

    def __init__(self) -> None:
        self.model = nn.Conv2d(2, 3, 1)


def _content() -> dict[str, Any]:
    parameter = nn.Parameter(torch.randn(3, 2, 1, 1))
    view = torch.arange(12.0)
    optimizer = torch.optim.SGD([parameter], 0.1, momentum=0.9)
    return {
        "state_dict": collections.OrderedDict(
            {
                "module.conv.weight": parameter,
                "last": torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
                "half": view[6:].reshape(2, 3),
                "other half": view[:6],
                "t": torch.randn(3, 4).T,
                "empty": torch.empty(0, 3),
                "scalar": torch.tensor(7),
                "flags": torch.tensor([True, False]),
                **{
                    str(dtype): torch.ones(3, dtype=dtype) for dtype in (torch.float16, torch.bfloat16, torch.int8, torch.float64)
                },
            }
        ),
        "optimizer": optimizer,
        "lth_pruner": Pruner(),
        "best": np.float64(76.5),
        "array": np.arange(6, dtype=np.float32).reshape(2, 3),
        "columns": np.asfortranarray(np.arange(6).reshape(2, 3)),
        "size": torch.Size([1, 2]),
        "epoch": 90,
        "rates": (0.1, [1e-5, -3, 2**70]),
        "names": {"a", "b"},
        "more": collections.defaultdict(list, {"k": [1]}),
    }


def _same(found: Any, expected: Any) -> bool:
    if isinstance(expected, (Tensor, np.ndarray)):
        return torch.equal(found, torch.as_tensor(expected)) and found.dtype == torch.as_tensor(expected).dtype
    if isinstance(expected, dict):
        return list(found) == list(expected) and all(_same(found[key], expected[key]) for key in expected)
    return bool(found == expected)


WRITERS: dict[str, Callable[[Any, Path], object]] = {
    "zip": lambda content, path: torch.save(content, path),
    "stream": lambda content, path: torch.save(content, path, _use_new_zipfile_serialization=False),
    "stream of protocol 4": lambda content, path: torch.save(
        content, path, pickle_protocol=4, _use_new_zipfile_serialization=False
    ),
    **{
        f"pickle {protocol}": lambda content, path, protocol=protocol: path.write_bytes(pickle.dumps(content, protocol))
        for protocol in range(6)
    },
}


@pytest.mark.parametrize("kind", WRITERS)
def test_everything_but_foreign_objects_is_read(kind: str, tmp_path: Path) -> None:
    content = _content()
    WRITERS[kind](content, tmp_path / "f.pth.tar")
    found = read_restricted(tmp_path / "f.pth.tar")
    for name in ("optimizer", "lth_pruner"):
        assert isinstance(found[name], Inert)
    assert "Pruner, not loaded" in repr(found["lth_pruner"])
    plain = {name: value for name, value in content.items() if name not in ("optimizer", "lth_pruner")}
    assert _same({name: found[name] for name in plain}, plain)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner) | st.tuples(inner, inner),
    max_leaves=20,
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(value=VALUES, protocol=st.integers(0, 5))
def test_plain_pickles_are_what_pickle_reads(value: Any, protocol: int, tmp_path: Path) -> None:
    (tmp_path / "v.pkl").write_bytes(pickle.dumps(value, protocol))
    found = read_restricted(tmp_path / "v.pkl")
    assert found == value
    assert repr(found) == repr(value)


def _patched(path: Path, change: Callable[[bytes], bytes], *, zipped: bool = False) -> Path:
    """Write a torch file, change the pickle in it, and keep the archive's checksums right."""
    torch.save({"w": torch.arange(6.0).reshape(2, 3)}, path, _use_new_zipfile_serialization=zipped)
    if not zipped:
        path.write_bytes(change(path.read_bytes()))
        return path
    with zipfile.ZipFile(path) as old:
        entries = {entry.filename: old.read(entry) for entry in old.infolist()}
    with zipfile.ZipFile(path, "w") as new:
        for name, content in entries.items():
            new.writestr(name, change(content) if name.endswith("data.pkl") else content)
    return path


SIZE, STRIDE = b"K\x02K\x03\x86", b"K\x03K\x01\x86"


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.replace(SIZE, b"K\x03K\x03\x86"), "claims more than its storage holds"),
        (lambda c: c.replace(SIZE, b"J\xff\xff\xff\x7fK\x03\x86").replace(STRIDE, b"K\x00K\x01\x86"), "shares places"),
        (lambda c: c.replace(STRIDE, b"K\x01K\x01\x86"), "shares places"),
        (lambda c: c.replace(STRIDE, b"K\x04K\x01\x86"), "claims more than its storage holds"),
        (lambda c: c.replace(SIZE, b"J\xff\xff\xff\xffK\x03\x86"), "sizes that are no numbers"),
        (lambda c: c.replace(b"K\x06", b"J\xff\xff\xff\x7f"), "claims 2147483647 elements"),
        (lambda c: c.replace(b"FloatStorage", b"QuintStorage"), "of a kind that is not read"),
        (lambda c: c.replace(b"FloatStorage", b"BoolStorage\n#"), "damaged|not read"),
    ],
)
def test_claims_are_checked_against_the_file(
    zipped: bool, change: Callable[[bytes], bytes], message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message) as error:
        read_restricted(_patched(tmp_path / "f.pt", change, zipped=zipped))
    assert "\n" not in str(error.value)


def test_a_storage_of_booleans_holds_booleans(tmp_path: Path) -> None:
    torch.save({"m": torch.tensor([True, False, True])}, tmp_path / "b.pt", _use_new_zipfile_serialization=False)
    content = (tmp_path / "b.pt").read_bytes()
    (tmp_path / "b.pt").write_bytes(content[:-1] + b"\x02")
    with pytest.raises(InputError, match="bool holds bytes other than 0 and 1"):
        read_restricted(tmp_path / "b.pt")


def test_the_number_of_opcodes_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every one may cost an object of a hundred bytes and more."""
    monkeypatch.setattr("common.exchange.pickle_machine.MAX_OPCODES", 1000)
    (tmp_path / "f.pkl").write_bytes(b"\x80\x02" + b"]0" * 600 + b"N.")
    with pytest.raises(InputError, match="more than 1,000 pickle opcodes"):
        read_restricted(tmp_path / "f.pkl")


def _copies() -> bytes:
    """Copy one long list twenty thousand times: a small file that asks for gigabytes."""
    items = b"]q\x00(" + b"K\x01" * 10_000 + b"e0"
    return b"\x80\x02" + items + b"ctorch\nSize\nh\x00\x85R0" * 20_000 + b"N."


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (_copies(), "takes more than 8 times the file's size"),
        (b"\x80\x04\x8e" + struct.pack("<Q", 2**40) + b"a.", "damaged"),
        (b"\x80\x02r\xff\xff\xff\xff.", "damaged"),
        (b"\x80\x02" + b"(" * 1000 + b".", "ends with several objects|damaged"),
        (b"\x80\x02}q\x00(X\x01\x00\x00\x00aK\x01X\x01\x00\x00\x00aK\x02u.", "holds the key 'a' twice"),
        (b"\x80\x02}((K\x01K\x02\x86K\x03\x86K\x01u.", "damaged|as a key"),
        (b"\x80\x02}]K\x01s.", "uses a list as a key"),
        (b"\x80\x02K\x01K\x02b.", "gives state to a int"),
        (b"\x80\x02K\x01)R.", "calls a int"),
        (b"\x80\x05\x97.", "opcode NEXT_BUFFER, which no checkpoint needs"),
        (b"Pname\n.", "opcode PERSID"),
        (b"\x80\x02K\x01Q.", "refers to objects outside of it"),
        (b"\x80\x02K\x01.more", "goes on after its pickle"),
        (b"\x80\x02K\x01", "damaged"),
        (b"", "damaged"),
        (b"\x93NUMPY\x01\x00", "numpy array"),
        (b"PK\x03\x04nothing", "zip archive is damaged"),
        (b"\x04\x00\x00\x00\x01\x00\x00\x00torch.FloatTensor", "damaged"),  # Lua's .t7
        (b"I" + b"9" * 5000 + b"\n.", "damaged"),
    ],
)
def test_hostile_pickles_end_in_one_line(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "f.t7").write_bytes(content)
    with pytest.raises(InputError, match=message) as error:
        read_restricted(tmp_path / "f.t7")
    assert "\n" not in str(error.value)


def test_nested_tuples_are_not_hashed(tmp_path: Path) -> None:
    """A tuple of twice itself, sixty times over, has 2^60 leaves: hashing it as a key would never end."""
    doubled = b"K\x01" + b"".join(b"2\x86" for _ in range(60))
    (tmp_path / "f.pkl").write_bytes(b"\x80\x02}" + doubled + b"K\x01s.")
    with pytest.raises(InputError, match="uses a tuple as a key"):
        read_restricted(tmp_path / "f.pkl")


def _archive(path: Path, entries: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return path


@pytest.mark.parametrize(
    ("entries", "compression", "message"),
    [
        ({"a/data.pkl": b"N.", "a/constants.pkl": b"N."}, zipfile.ZIP_STORED, "TorchScript"),
        ({"a/data.pkl": b"N."}, zipfile.ZIP_DEFLATED, "compressed, which torch never does"),
        ({"a/data.pkl": b"N.", "a/byteorder": b"big"}, zipfile.ZIP_STORED, "not little-endian"),
        ({"a/data.pkl": b"N.", "b/data.pkl": b"N."}, zipfile.ZIP_STORED, "none of torch's"),
        ({"x.npy": b"N."}, zipfile.ZIP_STORED, "none of torch's"),
    ],
)
def test_archives_that_are_none_of_torchs(entries: dict[str, bytes], compression: int, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        read_restricted(_archive(tmp_path / "f.pt", entries, compression))


def test_a_tar_archive_of_the_first_torch_is_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "f.tar", "w") as archive:
        entry = tarfile.TarInfo("storages")
        entry.size = 3
        archive.addfile(entry, io.BytesIO(b"abc"))
    with pytest.raises(InputError, match="tar archive"):
        read_restricted(tmp_path / "f.tar")


def test_checksums_are_checked(tmp_path: Path) -> None:
    torch.save({"w": torch.full((4,), 1.5)}, tmp_path / "f.pt")
    content = (tmp_path / "f.pt").read_bytes()
    (tmp_path / "f.pt").write_bytes(content.replace(struct.pack("<f", 1.5), struct.pack("<f", 1.25), 1))
    assert torch.load(tmp_path / "f.pt", weights_only=True)["w"][0] == 1.25  # torch does not look
    with pytest.raises(InputError, match="Bad CRC"):
        read_restricted(tmp_path / "f.pt")
