"""What torch does not check of its own files; damage that it lets pass is shown to pass there."""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from common.errors import InputError
from common.models.layouts.checkpoint import load_tree
from common.models.layouts.tensor_memory import check_archive, check_memory, span_of


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 12)), max_size=4))
def test_span_by_counting_places(dims: list[tuple[int, int]]) -> None:
    """The oracle lists the place of every element. Where it finds two in one place there is no span; else it may be None too."""
    size, stride = [length for length, _ in dims], [step for _, step in dims]
    places = [0]
    for length, step in dims:
        places = [place + step * number for place in places for number in range(length)]
    span = span_of(size, stride)
    if len(set(places)) != len(places):
        assert span is None
    elif span is not None:
        assert span == (max(places) + 1 if places else 0)


@pytest.mark.parametrize(
    "tensor",
    [
        torch.randn(2, 3, 4, 5),
        torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
        torch.randn(3, 4).T,
        torch.randn(4, 6)[:, :3],
        torch.randn(()),
        torch.randn(0, 3),
        torch.randn(1, 1, 3).expand(1, 1, 3),
    ],
)
def test_tensors_as_they_are_saved_have_a_span(tensor: torch.Tensor) -> None:
    check_memory({"state_dict": {"w": tensor}}, "f.pt")


def test_a_tensor_of_one_row_that_claims_to_be_many(tmp_path: Path) -> None:
    torch.save({"nested": [{"w": torch.ones(1000).expand(1000, 1000)}]}, tmp_path / "f.pt")
    assert (tmp_path / "f.pt").stat().st_size < 10_000
    with pytest.raises(InputError, match=r"shape \(1000, 1000\) and strides \(0, 1\), whose elements share memory"):
        load_tree(tmp_path / "f.pt", "f.pt")


def test_a_constant_is_one_number(tmp_path: Path) -> None:
    torch.save({"w": torch.ones(()).expand(10, 10)}, tmp_path / "f.pt")
    assert torch.equal(load_tree(tmp_path / "f.pt", "f.pt")["w"], torch.ones(10, 10))


def _rewritten(path: Path, names: Callable[[str], list[str]], compression: int) -> None:
    with zipfile.ZipFile(path) as archive:
        entries = [(entry.filename, archive.read(entry)) for entry in archive.infolist()]
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in entries:
            for other in names(name):
                archive.writestr(other, content)


def test_archives(tmp_path: Path) -> None:
    path = tmp_path / "f.pt"
    torch.save({"w": torch.full((4,), 1.5)}, path)
    check_archive(path, "f.pt")
    whole = path.read_bytes()
    path.write_bytes(whole.replace(struct.pack("<f", 1.5), struct.pack("<f", 1.25), 1))
    assert torch.load(path, weights_only=True)["w"][0] == 1.25
    with pytest.raises(InputError, match="the checksum of its entry 'f/data/0' is wrong"):
        load_tree(path, "f.pt")
    path.write_bytes(whole[:-30])
    with pytest.raises(InputError, match="zip archive is damaged"):
        load_tree(path, "f.pt")
    path.write_bytes(whole)
    _rewritten(path, lambda name: [name], zipfile.ZIP_DEFLATED)
    with pytest.raises(InputError, match="compressed zip archive"):
        load_tree(path, "f.pt")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_an_archive_with_two_entries_of_one_name(tmp_path: Path) -> None:
    path = tmp_path / "f.pt"
    torch.save({"w": torch.full((4,), 1.5)}, path)
    _rewritten(path, lambda name: [name, name], zipfile.ZIP_STORED)
    with pytest.raises(InputError, match="two entries of one name"):
        load_tree(path, "f.pt")


def test_booleans_that_are_none(tmp_path: Path) -> None:
    torch.save({"m": torch.tensor([True, False])}, tmp_path / "f.pt", _use_new_zipfile_serialization=False)
    content = (tmp_path / "f.pt").read_bytes()
    (tmp_path / "f.pt").write_bytes(content[:-2] + b"\x02\x00")
    with pytest.raises(InputError, match="booleans that are neither 0 nor 1"):
        load_tree(tmp_path / "f.pt", "f.pt")
