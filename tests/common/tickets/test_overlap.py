"""Overlap from packed bits, without torch: a case worked by hand, a loop over weights one by one, ticket files."""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.tickets.compare import overlap
from common.tickets.container import read_bytes
from common.tickets.errors import TicketError
from common.tickets.header import parse_ticket
from common.tickets.overlap import PackedMask, packed_overlap
from common.tickets.ticket import load_ticket

ROOT = Path(__file__).parents[3]


def _packed(rows: dict[str, list[bool]]) -> PackedMask:
    """Pack as the page of the file format says: the first weight is the lowest bit."""
    bits = {name: sum(1 << place for place, kept in enumerate(row) if kept) for name, row in rows.items()}
    return PackedMask({name: (len(row),) for name, row in rows.items()}, bits)


def _naive(a: dict[str, list[bool]], b: dict[str, list[bool]]) -> tuple[float, float, float]:
    """Look at every weight by itself, in exact fractions."""
    both = sum(1 for name in a for x, y in zip(a[name], b[name], strict=True) if x and y)
    either = sum(1 for name in a for x, y in zip(a[name], b[name], strict=True) if x or y)
    size = sum(len(row) for row in a.values())
    d1, d2 = (Fraction(sum(sum(row) for row in mask.values()), size) for mask in (a, b))
    in_both = in_either = Fraction(0)
    for name, row in a.items():
        for _ in row:  # each weight is in a mask with its tensor's density, independently
            p, q = (Fraction(sum(mask[name]), len(row)) for mask in (a, b))
            in_both += p * q
            in_either += p + q - p * q
    exact = (Fraction(both, either), d1 * d2 / (d1 + d2 - d1 * d2), in_both / in_either)
    return tuple(float(value) for value in exact)  # type: ignore[return-value]


def test_by_hand() -> None:
    """x keeps {0, 1} and {1, 2} of 4, y keeps {0} and {0, 1} of 4, z keeps {2} and {2} of 8.

    Shared 1 + 1 + 1 = 3 of 3 + 2 + 1 = 6: 1/2. d1 = 4/16, d2 = 5/16: (20/256) / (9/16 - 20/256) = 20/124.
    By tensor: 2*2/4 + 1*2/4 + 1*1/8 = 13/8 are expected in both, 9 - 13/8 = 59/8 in either: 13/59.
    """
    x, y, z = [1, 1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0, 0, 0, 0, 0]
    a = _packed({"x": x, "y": y, "z": z})
    b = _packed({"x": [0, 1, 1, 0], "y": [1, 1, 0, 0], "z": z})
    measured = packed_overlap(a, b)
    assert measured.overlap == pytest.approx(1 / 2)
    assert measured.chance == pytest.approx(20 / 124)
    assert measured.chance_layerwise == pytest.approx(13 / 59)
    assert packed_overlap(b, a) == measured
    assert a.kept_per_tensor == {"x": 2, "y": 1, "z": 1}
    assert b.density == 5 / 16


masks = st.integers(1, 3).flatmap(
    lambda tensors: st.lists(
        st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=20), min_size=tensors, max_size=tensors
    )
)


@settings(max_examples=60)
@given(masks)
def test_every_weight_by_itself(tensors: list[list[tuple[bool, bool]]]) -> None:
    a, b = ({f"t{i}": [pair[side] for pair in rows] for i, rows in enumerate(tensors)} for side in (0, 1))
    measured = packed_overlap(_packed(a), _packed(b))
    if not any(kept for mask in (a, b) for row in mask.values() for kept in row):
        assert (measured.overlap, measured.chance, measured.chance_layerwise) == (0, 0, 0)
        return
    assert (measured.overlap, measured.chance, measured.chance_layerwise) == pytest.approx(_naive(a, b), abs=1e-12)


def test_files_give_what_loaded_masks_give(run: Any) -> None:
    tickets = [run.ticket(density=0.3, seed=1), run.ticket(density=0.1, seed=2, round_=3)]
    paths = [run.folder / f"round_{round_:02}" / "ticket.safetensors" for round_ in (2, 3)]
    packed = [PackedMask.of(parse_ticket(read_bytes(path), str(path))) for path in paths]
    assert [mask.kept_per_tensor for mask in packed] == [ticket.mask.kept_per_tensor for ticket in tickets]
    assert [mask.density for mask in packed] == [ticket.mask.density for ticket in tickets]
    arrays = [{name: tensor.numpy() for name, tensor in load_ticket(path).mask.items()} for path in paths]
    shared = sum(int(np.logical_and(array, arrays[1][name]).sum()) for name, array in arrays[0].items())
    either = sum(int(np.logical_or(array, arrays[1][name]).sum()) for name, array in arrays[0].items())
    assert packed_overlap(*packed).overlap == shared / either
    assert packed_overlap(*packed) == overlap(*(ticket.mask for ticket in tickets))


def test_masks_of_different_architectures() -> None:
    with pytest.raises(TicketError, match=r"different architectures: 'x' has \(2,\) here, \(3,\) there"):
        packed_overlap(_packed({"x": [True, True]}), _packed({"x": [True, True, True]}))


def test_no_torch_is_imported() -> None:
    program = "import sys; import common.tickets.overlap; print({'torch', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
