"""The loss against a loop over predictions in plain Python, its ignore band, mixup's weights, and batches without boxes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torchvision.ops import box_iou, complete_box_iou, sigmoid_focal_loss

from common.data.annotated.batch import Targets
from Detection.yolo.assign import assign
from Detection.yolo.boxes import Grid, encode_boxes
from Detection.yolo.config import YoloConfig
from Detection.yolo.loss import yolo_loss

Make = Callable[..., Targets]
SIZE = (32, 48)
ROWS = [[0, 2, 3, 4, 12, 14], [0, 0, 30, 10, 44, 30], [0, 1, 8, 8, 12, 12], [2, 1, 1, 2, 28, 30], [2, 0, 40, 20, 46, 31]]
WEIGHTS = [1.0, 0.25, 0.25, 0.6, 1.0]


def random_raw(images: int = 3, seed: int = 0) -> torch.Tensor:
    return torch.randn(images, 378, 8, generator=torch.Generator().manual_seed(seed))


def loss(raw: torch.Tensor, grid: Grid, anchors: torch.Tensor, targets: Targets, **options: object) -> dict[str, float]:
    config = YoloConfig(**options)  # type: ignore[arg-type]
    return {name: float(value) for name, value in yolo_loss(raw, grid, anchors, targets, SIZE, config).items()}


def decoded(row: list[float], place: int, grid: Grid, scale: float) -> list[float]:
    column, line = grid.cells[place].tolist()
    step, (width, height) = float(grid.steps[place]), grid.sides[place].tolist()
    middle = [
        ((1 / (1 + math.exp(-t)) - 0.5) * scale + 0.5 + cell) * step for t, cell in zip(row[:2], (column, line), strict=True)
    ]
    half = [math.exp(t) * side / 2 for t, side in zip(row[2:4], (width, height), strict=True)]
    return [middle[0] - half[0], middle[1] - half[1], middle[0] + half[0], middle[1] + half[1]]


def naive(raw: torch.Tensor, grid: Grid, anchors: torch.Tensor, targets: Targets, config: YoloConfig) -> dict[str, float]:
    """Add up the loss one prediction at a time; overlaps are torchvision's."""
    held = assign(targets, grid, anchors, images=len(raw), size=SIZE, iou=config.assign_iou)
    owners = {
        (image, place): box
        for box, image, place in zip(held.targets.tolist(), held.images.tolist(), held.predictions.tolist(), strict=True)
    }
    sums = {"box": 0.0, "objectness": 0.0, "classes": 0.0}
    for image, rows in enumerate(raw.tolist()):
        true = targets.boxes[targets.images == image]
        boxes = torch.tensor([decoded(row, place, grid, config.scale_xy) for place, row in enumerate(rows)])
        overlaps = box_iou(boxes, true).amax(1).tolist() if len(true) else [0.0] * len(rows)
        for place, row in enumerate(rows):
            box = boxes[place : place + 1]
            sure = 1 / (1 + math.exp(-row[4]))
            if (image, place) not in owners:
                if overlaps[place] >= config.ignore_iou:
                    continue
                sums["objectness"] += -math.log(1 - sure) * sure**config.focal_gamma
                continue
            owner = owners[image, place]
            weight, wanted = float(targets.weights[owner]), targets.boxes[owner]
            area = float((wanted[2] - wanted[0]) * (wanted[3] - wanted[1]))
            sums["box"] += weight * (1 - float(complete_box_iou(box, wanted[None]))) * (2 - area / (SIZE[0] * SIZE[1]))
            sums["objectness"] += weight * -math.log(sure) * (1 - sure) ** config.focal_gamma
            for label, logit in enumerate(row[5:]):
                is_it = float(label == int(targets.labels[owner]))
                smooth = is_it * (1 - config.label_smoothing) + config.label_smoothing / 3
                chance = 1 / (1 + math.exp(-logit))
                sums["classes"] -= weight * (smooth * math.log(chance) + (1 - smooth) * math.log(1 - chance))
    share = len(owners) if config.normalise == "positives" else len(raw)
    weights = {"box": config.box_weight, "objectness": config.objectness_weight, "classes": config.class_weight}
    return {name: value * weights[name] / share for name, value in sums.items()}


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"normalise": "batch", "scale_xy": 1.0, "label_smoothing": 0.1, "focal_gamma": 0.0},
        {"box_weight": 2.0, "objectness_weight": 0.5, "class_weight": 3.0, "ignore_iou": 0.2, "assign_iou": 0.6},
    ],
)
def test_a_loop_finds_the_same(make_targets: Make, grid: Grid, anchors: torch.Tensor, options: dict[str, object]) -> None:
    raw, targets, config = random_raw(), make_targets(ROWS, WEIGHTS), YoloConfig(**options)  # type: ignore[arg-type]
    ours, theirs = loss(raw, grid, anchors, targets, **options), naive(raw, grid, anchors, targets, config)
    for name, value in theirs.items():
        assert ours[name] == pytest.approx(value, rel=1e-4), name
    assert ours["total"] == pytest.approx(sum(theirs.values()), rel=1e-4)


def test_objectness_without_boxes_is_torchvisions_focal_loss(make_targets: Make, grid: Grid, anchors: torch.Tensor) -> None:
    raw = random_raw()
    found = loss(raw, grid, anchors, make_targets([]))
    expected = sigmoid_focal_loss(raw[..., 4], torch.zeros(3, 378), alpha=-1, gamma=2, reduction="sum")
    assert found == {
        "total": pytest.approx(float(expected), rel=1e-5),
        "box": 0,
        "objectness": pytest.approx(float(expected), rel=1e-5),
        "classes": 0,
        "collisions": 0,
    }


@pytest.mark.parametrize("normalise", ["positives", "batch"])
def test_batches_without_boxes_or_images_have_finite_gradients(
    make_targets: Make, grid: Grid, anchors: torch.Tensor, normalise: str
) -> None:
    for images in (0, 2):
        raw = random_raw(images).requires_grad_()
        config = YoloConfig(normalise=normalise)  # type: ignore[arg-type]
        yolo_loss(raw, grid, anchors, make_targets([]), SIZE, config)["total"].backward()
        assert raw.grad is not None
        assert bool(raw.grad.isfinite().all())
        assert bool((raw.grad[..., 4] > 0).all())
        assert bool((raw.grad[..., :4] == 0).all())
        assert bool((raw.grad[..., 5:] == 0).all())


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
def test_the_slope_is_finite_where_a_probability_rounds_to_what_is_wanted(
    make_targets: Make, grid: Grid, anchors: torch.Tensor, gamma: float
) -> None:
    raw = torch.full((1, 378, 8), -200.0, requires_grad=True)
    yolo_loss(raw, grid, anchors, make_targets([]), SIZE, YoloConfig(focal_gamma=gamma))["total"].backward()
    assert raw.grad is not None
    assert bool(torch.isfinite(raw.grad).all())


def test_what_is_all_but_right_costs_all_but_nothing(make_targets: Make, grid: Grid, anchors: torch.Tensor) -> None:
    targets = make_targets(ROWS)
    held = assign(targets, grid, anchors, images=3, size=SIZE, iou=0.3)
    raw = torch.full((3, 378, 8), -20.0)
    wanted = encode_boxes(targets.boxes[held.targets], grid, 1.1, held.predictions)
    raw[held.images, held.predictions, :4] = wanted
    raw[held.images, held.predictions, 4] = 20
    raw[held.images, held.predictions, 5 + targets.labels[held.targets]] = 20
    right = loss(raw, grid, anchors, targets, label_smoothing=0.0)
    assert right["total"] < 1e-3
    raw[held.images[0], held.predictions[0], 2] += 1
    assert loss(raw, grid, anchors, targets, label_smoothing=0.0)["box"] > 0.02


def test_the_ignore_band(make_targets: Make, grid: Grid, anchors: torch.Tensor) -> None:
    """A prediction that holds nothing, on a box that another level holds: it counts below the band's IoU, not in it."""
    targets = make_targets([[0, 0, 16, 8, 24, 16]])
    raw = torch.full((1, 378, 8), -30.0)
    raw[..., :4] = 0
    place = torch.tensor([288 + (1 * 6 + 1) * 3])  # row 1, column 1 at stride 8: not the cell of the centre (20, 12)
    near = torch.tensor([[15.9, 8.0, 23.9, 16.0]])
    raw[0, place, :4] = encode_boxes(near, grid, 1.1, place)  # as near as the cell lets it come
    raw[0, place, 4] = 3.0
    overlap = (20.4 - 16) * 8 / (128 - (20.4 - 16) * 8)  # its centre reaches 8 * 2.05 = 16.4
    in_band = loss(raw, grid, anchors, targets, ignore_iou=overlap - 0.01)["objectness"]
    counted = loss(raw, grid, anchors, targets, ignore_iou=overlap + 0.01)["objectness"]
    sure = 1 / (1 + math.exp(-3.0))
    held = len(assign(targets, grid, anchors, images=1, size=SIZE, iou=0.3).targets)
    assert counted - in_band == pytest.approx(-math.log(1 - sure) * sure**2 / held, rel=1e-4)


def test_weights_of_a_mixup_multiply(make_targets: Make, grid: Grid, anchors: torch.Tensor) -> None:
    """Half the weight of every box is half the loss of boxes and classes; a weight of 0 takes a box out but not its place."""
    raw = random_raw()
    whole, half = (loss(raw, grid, anchors, make_targets(ROWS, [w] * 5)) for w in (1.0, 0.5))
    none = loss(raw, grid, anchors, make_targets(ROWS, [0.0] * 5))
    for name in ("box", "classes"):
        assert half[name] == pytest.approx(whole[name] / 2, rel=1e-5)
        assert none[name] == 0
    assert half["objectness"] == pytest.approx((whole["objectness"] + none["objectness"]) / 2, rel=1e-5)
    assert none["objectness"] < whole["objectness"]


def test_collisions_are_reported_without_gradient(make_targets: Make, grid: Grid, anchors: torch.Tensor) -> None:
    twice = make_targets([ROWS[0], ROWS[0]])
    raw = random_raw(1).requires_grad_()
    parts = yolo_loss(raw, grid, anchors, twice, SIZE, YoloConfig())
    once = assign(make_targets([ROWS[0]]), grid, anchors, images=1, size=SIZE, iou=0.3)
    assert float(parts["collisions"]) == len(once.targets)
    assert not parts["collisions"].requires_grad
    summed = parts["box"] + parts["objectness"] + parts["classes"]
    torch.testing.assert_close(parts["total"], summed)


def test_an_image_does_not_depend_on_its_neighbours(make_targets: Make, grid: Grid, anchors: torch.Tensor) -> None:
    raw, targets = random_raw(), make_targets(ROWS)
    together = loss(raw, grid, anchors, targets, normalise="batch")["total"] * 3
    alone = 0.0
    for image in range(3):
        own = targets.images == image
        part = replace(
            targets,
            boxes=targets.boxes[own],
            labels=targets.labels[own],
            images=targets.images[own] * 0,
            weights=targets.weights[own],
        )
        alone += loss(raw[image : image + 1], grid, anchors, part, normalise="batch")["total"]
    assert together == pytest.approx(alone, rel=1e-5)
