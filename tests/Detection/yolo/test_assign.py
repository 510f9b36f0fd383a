"""Which predictions learn which boxes: by hand, and against a loop."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from common.data.annotated.batch import Targets
from common.errors import InputError
from Detection.yolo.assign import Assignment, assign
from Detection.yolo.boxes import Grid

Make = Callable[..., Targets]


def found(targets: Targets, grid: Grid, anchors: torch.Tensor, *, iou: float, images: int = 2) -> tuple[Assignment, set]:
    held = assign(targets, grid, anchors, images=images, size=(32, 48), iou=iou)
    return held, set(zip(held.targets.tolist(), held.images.tolist(), held.predictions.tolist(), strict=True))


def test_a_box_at_each_scale(make_targets: Make, grid: Grid, anchors: torch.Tensor) -> None:
    """The squares 4, 11 and 27 are anchors themselves; above IoU .7 they have that one, and 27 (22/27)^2 = .66 not the next."""
    targets = make_targets([[0, 0, 0, 0, 4, 4], [0, 0, 18.5, 10.5, 29.5, 21.5], [1, 0, 10, 2, 37, 29]])
    _, pairs = found(targets, grid, anchors, iou=0.7)
    fine = 0
    middle = 288 + (2 * 6 + 3) * 3 + 1  # centre (24, 16): row 2, column 3 at stride 8; the second anchor
    coarse = 288 + 72 + (0 * 3 + 1) * 3 + 2  # centre (23.5, 15.5): row 0, column 1 at stride 16; the third anchor
    assert pairs == {(0, 0, fine), (1, 0, middle), (1, 0, middle + 1), (2, 1, coarse)}  # (11/13)^2 = .716 is above .7


def test_every_anchor_above_the_threshold_at_every_level(make_targets: Make, grid: Grid, anchors: torch.Tensor) -> None:
    """The square 9 overlaps 6 by .44, 11 by .67, 13 by .48 and 5 by .31: five anchors at two levels."""
    _, pairs = found(make_targets([[1, 0, 1, 1, 10, 10]]), grid, anchors, iou=0.3)
    centre = 5.5
    fine, middle = (int(centre // 4) * 12 + int(centre // 4)) * 3, 288
    assert pairs == {(0, 1, place) for place in (fine + 1, fine + 2, middle, middle + 1, middle + 2)}


def test_an_overlap_at_the_threshold_is_not_above_it(make_targets: Make, grid: Grid, anchors: torch.Tensor) -> None:
    """9 x 18 overlaps the squares 9 and 18 by exactly .5, and 11 (99/184) and 13 (117/214) by more."""
    _, pairs = found(make_targets([[0, 0, 1, 1, 10, 19]]), grid, anchors, iou=0.5)
    assert pairs == {(0, 0, 288 + (1 * 6 + 0) * 3 + anchor) for anchor in (1, 2)}


def test_a_box_that_fits_no_anchor_has_the_best_of_all(make_targets: Make, grid: Grid, anchors: torch.Tensor) -> None:
    targets = make_targets([[0, 0, 20, 10, 21, 11], [0, 0, 0, 15, 48, 17]])
    _, pairs = found(targets, grid, anchors, iou=0.9)
    # 1 x 1: the smallest anchor. 48 x 2: anchor a shares 2a of a^2 + 96 - 2a: 9 (18/159) before 11 (22/195) and 6 (12/120).
    assert pairs == {(0, 0, (2 * 12 + 5) * 3), (1, 0, 288 + (2 * 6 + 3) * 3)}


def test_the_last_box_has_a_prediction_that_two_claim(make_targets: Make, grid: Grid, anchors: torch.Tensor) -> None:
    rows = [[0, 0, 8, 8, 12, 12], [0, 1, 8.2, 8.2, 11.8, 11.8], [1, 0, 8, 8, 12, 12]]
    held, pairs = found(make_targets(rows), grid, anchors, iou=0.7)
    place = (2 * 12 + 2) * 3
    assert pairs == {(1, 0, place), (2, 1, place)}
    assert int(held.collisions) == 1


def test_no_boxes(make_targets: Make, grid: Grid, anchors: torch.Tensor) -> None:
    held, pairs = found(make_targets([]), grid, anchors, iou=0.3)
    assert not pairs
    assert int(held.collisions) == 0
    assert not found(make_targets([]), grid, anchors, iou=0.3, images=0)[1]


@pytest.mark.parametrize(
    "row",
    [
        [0, 0, 4, 4, 4, 9],
        [0, 0, 4, 4, 3, 9],
        [0, 0, 50, 4, 60, 9],
        [1, 0, 4, -20, 9, 4],
        [0, 0, float("nan"), 4, 9, 9],
        [2, 0, 4, 4, 9, 9],
    ],
)
def test_boxes_that_nothing_can_learn_are_refused(
    make_targets: Make, grid: Grid, anchors: torch.Tensor, row: list[float]
) -> None:
    good = [0, 0, 4, 4, 9, 9]
    rows = [good, row] if row[0] < 2 else [good, good, row]
    with pytest.raises(
        InputError, match=rf"^box {len(rows) - 1}, in image {row[0]} of 2: got \[.*\], expected x1 < x2 and y1 < y2"
    ):
        found(make_targets(rows), grid, anchors, iou=0.3)


def test_a_box_over_the_border_and_one_at_the_last_pixel_are_learnt(
    make_targets: Make, grid: Grid, anchors: torch.Tensor
) -> None:
    _, pairs = found(make_targets([[0, 0, 46, 30, 50, 34], [1, 0, 44, -1, 49, 4]]), grid, anchors, iou=0.9)
    assert pairs == {(0, 0, (7 * 12 + 11) * 3), (1, 1, (0 * 12 + 11) * 3 + 1)}


def naive(targets: Targets, anchors: torch.Tensor, iou: float) -> tuple[dict[tuple[int, int], int], int]:
    """Walk through boxes, levels and anchors one by one; later boxes overwrite earlier ones."""
    owners: dict[tuple[int, int], int] = {}
    claims = 0
    for number, box in enumerate(targets.boxes.tolist()):
        width, height = box[2] - box[0], box[3] - box[1]
        overlaps = []
        for side in anchors.reshape(9, 2)[:, 0].tolist():
            shared = min(width, side) * min(height, side)
            overlaps.append(shared / (width * height + side * side - shared))
        chosen = [at for at, overlap in enumerate(overlaps) if overlap > iou] or [overlaps.index(max(overlaps))]
        for at in chosen:
            level, anchor = divmod(at, 3)
            stride, columns = (4, 8, 16)[level], (12, 6, 3)[level]
            row, column = int((box[1] + box[3]) / 2 // stride), int((box[0] + box[2]) / 2 // stride)
            place = (0, 288, 360)[level] + (row * columns + column) * 3 + anchor
            owners[int(targets.images[number]), place] = number
            claims += 1
    return owners, claims - len(owners)


@pytest.mark.parametrize("iou", [0.2, 0.3, 0.6, 1.0])
def test_a_loop_finds_the_same(make_targets: Make, grid: Grid, anchors: torch.Tensor, iou: float) -> None:
    draws = torch.Generator().manual_seed(int(100 * iou))
    corners = torch.rand(60, 2, generator=draws) * torch.tensor([36.0, 24])
    sides = 1 + torch.rand(60, 2, generator=draws) * 11
    images = torch.arange(60) // 20
    rows = torch.cat([images[:, None], torch.zeros(60, 1), corners, corners + sides], 1)
    targets = make_targets(rows.tolist())
    held, pairs = found(targets, grid, anchors, iou=iou, images=3)
    owners, collisions = naive(targets, anchors, iou)
    assert pairs == {(number, image, place) for (image, place), number in owners.items()}
    assert int(held.collisions) == collisions
    assert collisions > 0
