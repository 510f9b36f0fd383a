"""Boxes: torchvision's complete IoU, decoding and its inverse, overlaps by hand."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.ops import complete_box_iou, complete_box_iou_loss, generalized_box_iou

from Detection.yolo.boxes import clip_boxes, complete_iou, decode_boxes, encode_boxes, largest_iou, make_grid, shape_iou

ANCHORS = torch.tensor([[[3.0, 4], [6, 5], [8, 8]], [[10.0, 12], [14, 9], [16, 16]], [[20.0, 30], [30, 20], [40, 40]]])
SHAPES, STRIDES = [(8, 6), (4, 3), (2, 2)], (4, 8, 16)


def random_boxes(count: int, seed: int) -> torch.Tensor:
    draws = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=draws, dtype=torch.float64) * 20
    return torch.cat([corner, corner + 0.5 + torch.rand(count, 2, generator=draws, dtype=torch.float64) * 30], 1)


def test_complete_iou_is_torchvisions_in_value_and_gradient() -> None:
    first, second = random_boxes(200, 0).requires_grad_(), random_boxes(200, 1)
    ours = 1 - complete_iou(first, second)
    theirs = complete_box_iou_loss(first, second)
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)
    (gradient,) = torch.autograd.grad(ours.sum(), first)
    (expected,) = torch.autograd.grad(theirs.sum(), first)
    torch.testing.assert_close(gradient, expected, rtol=1e-9, atol=1e-9)
    table = complete_box_iou(first.detach(), second).diagonal()
    torch.testing.assert_close(1 - ours.detach(), table, rtol=1e-5, atol=1e-6)
    assert not torch.allclose(generalized_box_iou(first.detach(), second).diagonal(), 1 - ours.detach())


def test_complete_iou_by_hand() -> None:
    """Two 2x2 squares one beside the other: no overlap, centres 2 apart, corners of the box around them (4, 2) apart."""
    found = complete_iou(torch.tensor([[0.0, 0, 2, 2]]), torch.tensor([[2.0, 0, 4, 2]]))
    assert found.item() == pytest.approx(-4 / 20)
    assert complete_iou(torch.tensor([[1.0, 2, 5, 9]]), torch.tensor([[1.0, 2, 5, 9]])).item() == pytest.approx(1, abs=1e-6)


def test_a_gradient_without_overlap_is_finite() -> None:
    boxes = torch.tensor([[0.0, 0, 1e-4, 1e-4], [5.0, 5, 6, 6]]).requires_grad_()
    complete_iou(boxes, torch.tensor([[50.0, 50, 60, 60], [5.0, 5, 6, 6]])).sum().backward()
    assert boxes.grad is not None
    assert bool(boxes.grad.isfinite().all())


def test_the_grid_by_hand() -> None:
    grid = make_grid(SHAPES, STRIDES, ANCHORS)
    assert len(grid.cells) == 3 * (48 + 12 + 4)
    assert grid.starts == [0, 144, 180]
    place = 144 + (2 * 3 + 1) * 3 + 2  # level 1, row 2, column 1, anchor 2
    assert (grid.cells[place].tolist(), float(grid.steps[place]), grid.sides[place].tolist()) == ([1, 2], 8, [16, 16])


def test_decoding_by_hand() -> None:
    """A zero is the middle of the cell and the anchor itself; log 2 doubles a side."""
    grid = make_grid(SHAPES, STRIDES, ANCHORS)
    raw = torch.zeros(len(grid.cells), 4)
    raw[165, 2] = math.log(2)
    box = decode_boxes(raw, grid, 1.0)[165]  # level 1, row 2, column 1, anchor 0 (10 x 12)
    torch.testing.assert_close(box, torch.tensor([12.0 - 10, 20.0 - 6, 12 + 10, 20 + 6]))
    raw[165, :2] = torch.tensor([50.0, -50])
    for scale, beyond in [(1.0, 0.0), (1.2, 0.1)]:
        box = decode_boxes(raw, grid, scale)[165]
        torch.testing.assert_close((box[:2] + box[2:]) / 2, torch.tensor([8 * (2 + beyond), 8 * (2 - beyond)]))


@settings(max_examples=60, deadline=None)
@given(
    place=st.integers(0, 191),
    share=st.tuples(st.floats(0.01, 0.99), st.floats(0.01, 0.99)),
    ratio=st.tuples(st.floats(1 / 60, 60), st.floats(1 / 60, 60)),
    scale=st.floats(1, 2),
)
def test_decode_undoes_encode(place: int, share: tuple[float, float], ratio: tuple[float, float], scale: float) -> None:
    grid = make_grid(SHAPES, STRIDES, ANCHORS)
    at = torch.tensor([place])
    centre = (grid.cells[at] + torch.tensor([share])) * grid.steps[at]
    half = grid.sides[at] * torch.tensor([ratio]) / 2
    box = torch.cat([centre - half, centre + half], 1)
    torch.testing.assert_close(decode_boxes(encode_boxes(box, grid, scale, at), grid, scale, at), box, rtol=1e-3, atol=1e-2)


def test_no_number_overflows() -> None:
    grid = make_grid(SHAPES, STRIDES, ANCHORS)
    for value in (-1e6, 1e6):
        assert bool(decode_boxes(torch.full((192, 4), value), grid, 1.1).isfinite().all())


def test_overlaps_by_hand() -> None:
    assert shape_iou(torch.tensor([[4.0, 2]]), torch.tensor([[2.0, 4], [4, 4]])).tolist() == [[pytest.approx(1 / 3), 0.5]]
    boxes = torch.tensor([[0.0, 0, 4, 4], [10, 10, 12, 12]])
    assert largest_iou(boxes, torch.tensor([[0.0, 0, 4, 2], [0, 0, 1, 1]])).tolist() == [0.5, 0.0]
    assert largest_iou(boxes, torch.zeros(0, 4)).tolist() == [0.0, 0.0]
    assert clip_boxes(torch.tensor([[-3.0, 2, 50, 70]]), (60, 40)).tolist() == [[0, 2, 40, 60]]
