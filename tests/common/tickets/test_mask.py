"""Masks: bits against numpy, digests by hand, sets of kept weights."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from common.tickets.errors import TicketError
from common.tickets.mask import Mask, pack_bits, unpack_bits

shapes = hnp.array_shapes(min_dims=1, max_dims=4, min_side=1, max_side=7)
arrays = hnp.arrays(np.bool_, shapes)
names = st.text("ab.é漢0", min_size=1, max_size=5)
mappings = st.dictionaries(names, arrays, min_size=1, max_size=4)


def _mask(mapping: dict[str, Any]) -> Mask:
    return Mask({name: torch.from_numpy(np.array(array)) for name, array in mapping.items()})


@given(arrays)
def test_bits_are_packed_as_numpy_packs_them(array: Any) -> None:
    packed = pack_bits(torch.from_numpy(array))
    assert packed.dtype == torch.uint8
    assert packed.numpy().tobytes() == np.packbits(array.reshape(-1), bitorder="little").tobytes()
    assert (unpack_bits(packed, array.shape).numpy() == array).all()
    assert unpack_bits(packed, array.shape).dtype == torch.bool


@given(arrays)
def test_packing_follows_c_order_whatever_the_memory_format(array: Any) -> None:
    transposed = torch.from_numpy(np.asfortranarray(array))
    assert pack_bits(transposed).numpy().tobytes() == np.packbits(array.reshape(-1), bitorder="little").tobytes()


@settings(max_examples=50)
@given(mappings)
def test_digest_by_its_definition(mapping: dict[str, Any]) -> None:
    sha = hashlib.sha256()
    for name in sorted(mapping):
        array = mapping[name]
        sha.update(name.encode("utf-8"))
        sha.update(b"\x00")
        sha.update(",".join(str(n) for n in array.shape).encode())
        sha.update(b"\x00")
        sha.update(np.packbits(array.reshape(-1), bitorder="little").tobytes())
    assert _mask(mapping).digest() == sha.hexdigest()


@settings(max_examples=50)
@given(mappings)
def test_counts_and_order(mapping: dict[str, Any]) -> None:
    mask = _mask(mapping)
    assert list(mask) == sorted(mapping)
    assert mask.size == sum(a.size for a in mapping.values())
    assert mask.kept == sum(int(a.sum()) for a in mapping.values())
    assert mask.kept_per_tensor == {n: int(mapping[n].sum()) for n in sorted(mapping)}
    assert mask.density == mask.kept / mask.size
    assert mask.shapes == {n: a.shape for n, a in mapping.items()}
    flat = np.concatenate([mapping[n].reshape(-1) for n in sorted(mapping)])
    assert (mask.flat().numpy() == flat).all()
    assert Mask.from_flat(torch.from_numpy(flat), mask.shapes) == mask
    assert (mask.complement().flat().numpy() == ~flat).all()
    assert hash(mask) == hash(_mask(dict(reversed(mapping.items()))))


@settings(max_examples=50)
@given(st.data())
def test_is_within_is_the_subset_relation(data: st.DataObject) -> None:
    shape = data.draw(shapes)
    a, b = (data.draw(hnp.arrays(np.bool_, shape)) for _ in range(2))
    first, second = _mask({"x": a}), _mask({"x": b})
    assert first.is_within(second) == set(np.flatnonzero(a)).issubset(np.flatnonzero(b))
    assert _mask({"x": a & b}).is_within(first)
    assert first.is_within(Mask.dense(first.shapes))


def test_a_mask_does_not_change_with_its_source() -> None:
    source = torch.tensor([True, False, True])
    mapping = {"a": source}
    mask = Mask(mapping)
    digest = mask.digest()
    source.fill_(False)
    mapping["b"] = source
    assert mask["a"].tolist() == [True, False, True]
    assert list(mask) == ["a"]
    with pytest.raises(TypeError):
        mask["a"] = source  # type: ignore[index]
    with pytest.raises(TypeError):
        del mask["a"]  # type: ignore[attr-defined]
    mask["a"].fill_(False)
    next(iter(mask.values())).fill_(False)
    dict(mask)["a"].logical_not_()
    mask.flat().fill_(False)
    mask.complement()["a"].fill_(True)
    mask.kept_per_tensor["a"] = 9
    assert mask["a"].tolist() == [True, False, True]
    assert mask.digest() == digest


def test_equality_is_of_content() -> None:
    a = Mask({"x": torch.tensor([True, False])})
    assert a == Mask({"x": torch.tensor([True, False])})
    assert a != Mask({"x": torch.tensor([True, True])})
    assert a != Mask({"y": torch.tensor([True, False])})
    assert a != Mask({"x": torch.tensor([[True, False]])})
    assert a != {"x": torch.tensor([True, False])}


def test_digest_tells_shapes_and_names_apart() -> None:
    bits = torch.tensor([True, False, True, True, False, True])
    masks = [Mask({"x": bits}), Mask({"x": bits.reshape(2, 3)}), Mask({"x": bits.reshape(3, 2)}), Mask({"y": bits})]
    masks += [Mask({"x": torch.cat([bits, torch.tensor([False])])})]
    assert len({mask.digest() for mask in masks}) == len(masks)


@pytest.mark.parametrize(
    "bad", [{}, {"a": torch.ones(3)}, {"a": torch.ones(3, dtype=torch.uint8)}, {"a": torch.zeros(0, 2).bool()}]
)
def test_what_is_no_mask(bad: dict[str, torch.Tensor]) -> None:
    with pytest.raises(TicketError):
        Mask(bad)


def test_masks_of_different_architectures() -> None:
    a, b = Mask.dense({"x": (2, 3)}), Mask.dense({"x": (3, 2)})
    for other in (b, Mask.dense({"x": (2, 3), "y": (1,)})):
        with pytest.raises(TicketError, match="different architectures"):
            a.is_within(other)
