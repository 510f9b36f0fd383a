"""Which predictions learn which boxes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from common.data.annotated.batch import Targets
from common.errors import InputError
from Detection.yolo.boxes import Grid, shape_iou


@dataclass(frozen=True)
class Assignment:
    """The P predictions of a batch that hold a box.

    Attributes:
        targets: int64 (P,): which box of the batch.
        images: int64 (P,): which image.
        predictions: int64 (P,): which of an image's N predictions; (image, prediction) are unique and ascending.
        collisions: int64 scalar: how often a box lost a prediction to a later one.
    """

    targets: Tensor
    images: Tensor
    predictions: Tensor
    collisions: Tensor


def assign(targets: Targets, grid: Grid, anchors_LA2: Tensor, *, images: int, size: tuple[int, int], iou: float) -> Assignment:
    """Give boxes to predictions, as YOLOv4 does with several anchors for a box.

    At every level, the cell that a box's centre lies in learns it with every anchor whose shape has an IoU with the box above
    `iou`; if there is none at any level, with the best anchor of all (the finest of equals). Of several boxes that claim one
    prediction, the last has it.

    Args:
        targets: the T boxes of the batch.
        grid: where an image's N predictions are.
        anchors_LA2: widths and heights in pixels, of every level.
        images: of the batch.
        size: height and width of the images, pixels.
        iou: threshold, in (0, 1].

    Raises:
        InputError: a box without area or with its centre outside of the image; the data should have dropped it.
    """
    check_targets(targets, images, size)
    levels, per_cell = anchors_LA2.shape[:2]
    overlap_TA = shape_iou(targets.boxes[:, 2:] - targets.boxes[:, :2], anchors_LA2.reshape(-1, 2))
    best_TA = torch.zeros_like(overlap_TA, dtype=torch.bool)
    if len(targets.boxes):
        best_TA.scatter_(1, overlap_TA.argmax(1, keepdim=True), True)
    over_TA = overlap_TA > iou
    claims_TA = torch.where(over_TA.any(1, keepdim=True), over_TA, best_TA)
    places_TA = _cells(targets.boxes, grid).repeat_interleave(per_cell, 1)
    places_TA = places_TA + torch.arange(per_cell, device=places_TA.device).repeat(levels)
    boxes_C, anchors_C = claims_TA.nonzero(as_tuple=True)
    count = len(grid.cells)
    flat_C = targets.images[boxes_C] * count + places_TA[boxes_C, anchors_C]
    owners = torch.full((images * count,), -1, dtype=torch.int64, device=flat_C.device)
    owners.scatter_reduce_(0, flat_C, boxes_C, "amax")  # the last box of several, whatever the order on a GPU
    held_P = (owners >= 0).nonzero()[:, 0]
    collisions = torch.tensor(len(boxes_C) - len(held_P), device=flat_C.device)
    return Assignment(owners[held_P], held_P // count, held_P % count, collisions)


def check_targets(targets: Targets, images: int, size: tuple[int, int]) -> None:
    """Refuse boxes that no prediction can learn.

    Raises:
        InputError: names the box and its image.
    """
    left, top, right, bottom = targets.boxes.unbind(-1)
    column, row = (left + right) / 2, (top + bottom) / 2
    has_area = (right > left) & (bottom > top)
    inside = (column >= 0) & (column <= size[1]) & (row >= 0) & (row <= size[0])
    in_batch = (targets.images >= 0) & (targets.images < images)
    wrong = (~(has_area & inside & in_batch)).nonzero()[:, 0]
    if len(wrong):
        box = [round(float(side), 3) for side in targets.boxes[wrong[0]]]
        raise InputError(
            f"box {int(wrong[0])}, in image {int(targets.images[wrong[0]])} of {images}: got {box}, expected x1 < x2 "
            f"and y1 < y2 and its centre inside of {size[1]} x {size[0]} pixels; drop such boxes where data are read"
        )


def _cells(boxes_T4: Tensor, grid: Grid) -> Tensor:
    """Return the first prediction (T, L), at every level, of the cell that a box's centre lies in."""
    centres_T2 = (boxes_T4[:, :2] + boxes_T4[:, 2:]) / 2
    found = []
    for (rows, columns), stride, start in zip(grid.shapes, grid.strides, grid.starts, strict=True):
        column = (centres_T2[:, 0] / stride).long().clamp(max=columns - 1)
        row = (centres_T2[:, 1] / stride).long().clamp(max=rows - 1)
        found.append(start + (row * columns + column) * grid.per_cell)
    return torch.stack(found, 1)
