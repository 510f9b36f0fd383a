"""Detections against suppression by hand, one box at a time."""

from __future__ import annotations

import pytest
import torch
from torchvision.ops import box_iou

from Detection.detector import Detections
from Detection.yolo.boxes import Grid, decode_boxes, encode_boxes
from Detection.yolo.config import YoloConfig
from Detection.yolo.decode import decode

SIZE = (32, 48)


def random_raw(images: int, seed: int) -> torch.Tensor:
    return 2 * torch.randn(images, 378, 8, generator=torch.Generator().manual_seed(seed))


def naive(raw: torch.Tensor, grid: Grid, config: YoloConfig) -> list[tuple[float, int, list[float]]]:
    """Take the surest that overlaps no taken one of its class too much, until enough are taken."""
    boxes = decode_boxes(raw[:, :4], grid, config.scale_xy)
    bound = torch.tensor([48.0, 32, 48, 32])
    boxes = torch.minimum(boxes.clamp(min=0), bound)
    scores = raw[:, 4:5].sigmoid() * raw[:, 5:].sigmoid()
    rows = []
    for place in range(len(raw)):
        for label in range(3):
            if config.one_class_per_box and label != int(scores[place].argmax()):
                continue
            if float(scores[place, label]) > config.confidence and bool((boxes[place, 2:] > boxes[place, :2]).all()):
                rows.append((float(scores[place, label]), label, boxes[place].tolist()))
    rows.sort(key=lambda row: -row[0])
    taken: list[tuple[float, int, list[float]]] = []
    for row in rows[: config.candidates]:
        others = [other[2] for other in taken if other[1] == row[1]]
        if not others or float(box_iou(torch.tensor([row[2]]), torch.tensor(others)).max()) <= config.nms_iou:
            taken.append(row)
    return taken[: config.max_detections]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"one_class_per_box": True, "nms_iou": 0.2},
        {"confidence": 0.4, "nms_iou": 0.7},
        {"candidates": 60, "max_detections": 20},
    ],
)
def test_a_loop_finds_the_same(grid: Grid, options: dict[str, object]) -> None:
    raw, config = random_raw(2, 1), YoloConfig(**options)  # type: ignore[arg-type]
    for rows, found in zip(raw, decode(raw, grid, SIZE, config), strict=True):
        expected = naive(rows, grid, config)
        assert found.labels.tolist() == [row[1] for row in expected]
        torch.testing.assert_close(found.scores, torch.tensor([row[0] for row in expected]))
        torch.testing.assert_close(found.boxes, torch.tensor([row[2] for row in expected]))
        assert bool((found.scores.diff() <= 0).all())


def place_box(raw: torch.Tensor, grid: Grid, place: int, box: list[float], label: int, sure: float) -> None:
    at = torch.tensor([place])
    raw[0, place, :4] = encode_boxes(torch.tensor([box]), grid, 1.1, at)[0]
    raw[0, place, 4], raw[0, place, 5 + label] = sure, 10.0


def single(raw: torch.Tensor, grid: Grid, **options: object) -> Detections:
    (found,) = decode(raw, grid, SIZE, YoloConfig(**options))  # type: ignore[arg-type]
    return found


def test_equal_boxes_of_two_classes_both_stay(grid: Grid) -> None:
    """One level above the other at one centre: of one class the surer stays, of two classes both do."""
    for labels, expected in [((0, 0), [0]), ((0, 2), [0, 2])]:
        raw = torch.full((1, 378, 8), -12.0)
        place_box(raw, grid, (2 * 12 + 5) * 3 + 2, [18, 6, 26, 14], labels[0], 3.0)
        place_box(raw, grid, 288 + (1 * 6 + 2) * 3, [18, 6, 26, 14], labels[1], 2.0)
        found = single(raw, grid)
        assert found.labels.tolist() == expected
        torch.testing.assert_close(found.boxes[0], torch.tensor([18.0, 6, 26, 14]), rtol=1e-3, atol=1e-2)


def test_boxes_are_clipped_and_what_is_outside_is_dropped(grid: Grid) -> None:
    raw = torch.full((1, 378, 8), -12.0)
    place_box(raw, grid, 288 + 2, [-4, -6, 8, 10], 1, 5.0)
    raw[0, 0, :5] = torch.tensor([-30.0, -30, -4.0, -4.0, 5.0])  # a centre .05 cells before the border, sides of .07 px
    raw[0, 0, 5] = 10.0
    found = single(raw, grid)
    torch.testing.assert_close(found.boxes, torch.tensor([[0.0, 0, 8, 10]]), rtol=1e-3, atol=1e-2)


def test_nothing_is_found(grid: Grid) -> None:
    found = single(torch.full((1, 378, 8), -12.0), grid)
    assert (found.boxes.shape, found.scores.shape, found.labels.dtype) == ((0, 4), (0,), torch.int64)
    assert decode(torch.zeros(0, 378, 8), grid, SIZE, YoloConfig()) == []


def test_equal_scores_come_in_one_order(grid: Grid) -> None:
    raw = torch.zeros(1, 378, 8)
    raw[..., 2:4] = -2
    first, again = single(raw, grid), single(raw, grid)
    assert len(first.scores) == 100
    assert torch.equal(first.boxes, again.boxes)
    assert first.labels[:3].tolist() == [0, 1, 2]
