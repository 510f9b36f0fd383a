"""Boxes: overlap, complete IoU, and how a head's numbers become boxes. Boxes are x1, y1, x2, y2 in pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

LARGEST_LOG = math.log(1000 / 16)
"""Bound of the logarithm of a box's side over its anchor's, so that no exponential overflows (as in torchvision)."""

_TINY = 1e-7


@dataclass(frozen=True)
class Grid:
    """Where every prediction of an image is. N predictions: level by level, row by row, cell by cell, anchor by anchor.

    Attributes:
        cells: float32 (N, 2): column and row of the cell.
        steps: float32 (N,): stride of the level, pixels.
        sides: float32 (N, 2): width and height of the anchor, pixels.
        shapes: rows and columns of every level.
        strides: of every level.
        per_cell: anchors of a cell.
    """

    cells: Tensor
    steps: Tensor
    sides: Tensor
    shapes: tuple[tuple[int, int], ...]
    strides: tuple[int, ...]
    per_cell: int

    @property
    def starts(self) -> list[int]:
        """The first prediction of every level."""
        counts = [rows * columns * self.per_cell for rows, columns in self.shapes]
        return [sum(counts[:level]) for level in range(len(counts))]


def make_grid(shapes: Sequence[tuple[int, int]], strides: Sequence[int], anchors_LA2: Tensor) -> Grid:
    """Lay out the predictions of an image.

    Args:
        shapes: rows and columns of every level's map.
        strides: of every level, pixels.
        anchors_LA2: float32 widths and heights in pixels, of every level.
    """
    device, per_cell = anchors_LA2.device, anchors_LA2.shape[1]
    cells, steps, anchors = [], [], []
    for (rows, columns), stride, anchors_A2 in zip(shapes, strides, anchors_LA2, strict=True):
        row, column = torch.meshgrid(torch.arange(rows, device=device), torch.arange(columns, device=device), indexing="ij")
        cells.append(torch.stack([column, row], -1).reshape(-1, 1, 2).expand(-1, per_cell, 2).reshape(-1, 2).float())
        anchors.append(anchors_A2.expand(rows * columns, per_cell, 2).reshape(-1, 2))
        steps.append(torch.full((rows * columns * per_cell,), float(stride), device=device))
    return Grid(torch.cat(cells), torch.cat(steps), torch.cat(anchors), tuple(shapes), tuple(strides), per_cell)


def decode_boxes(raw: Tensor, grid: Grid, scale_xy: float, at: Tensor | slice = slice(None)) -> Tensor:
    """Turn a head's numbers into boxes: centre ((sigmoid - .5) * scale_xy + .5 + cell) * stride, sides exp * anchor.

    Args:
        raw: float32 (..., P, 4): x, y, width, height as the head gives them, of the predictions `at`.
        grid: where the N predictions are.
        scale_xy: 1: a centre stays in its cell; above 1 it may leave it by (scale_xy - 1) / 2 of a cell.
        at: which P of the N predictions; all of them if not given.

    Returns:
        float32 (..., P, 4), not clipped to the image.
    """
    offset = (raw[..., :2].sigmoid() - 0.5) * scale_xy + 0.5
    centre = (offset + grid.cells[at]) * grid.steps[at].unsqueeze(-1)
    half = raw[..., 2:4].clamp(-LARGEST_LOG, LARGEST_LOG).exp() * grid.sides[at] / 2
    return torch.cat([centre - half, centre + half], -1)


def encode_boxes(boxes_P4: Tensor, grid: Grid, scale_xy: float, at: Tensor) -> Tensor:
    """Return the numbers (P, 4) that `decode_boxes` turns into these boxes.

    A centre out of the cell's reach becomes the nearest within it; a side over 62.5 times its anchor's is bounded.
    """
    centre = (boxes_P4[:, :2] + boxes_P4[:, 2:]) / 2 / grid.steps[at].unsqueeze(-1) - grid.cells[at]
    share = ((centre - 0.5) / scale_xy + 0.5).clamp(1e-6, 1 - 1e-6)
    sides = ((boxes_P4[:, 2:] - boxes_P4[:, :2]) / grid.sides[at]).log().clamp(-LARGEST_LOG, LARGEST_LOG)
    return torch.cat([share.logit(), sides], -1)


def shape_iou(sides_T2: Tensor, anchors_A2: Tensor) -> Tensor:
    """Return the IoU (T, A) of boxes and anchors of given sides that share their centre."""
    shared_TA = torch.minimum(sides_T2[:, None], anchors_A2[None]).prod(-1)
    return shared_TA / (sides_T2.prod(-1)[:, None] + anchors_A2.prod(-1)[None] - shared_TA)


def complete_iou(boxes_P4: Tensor, others_P4: Tensor) -> Tensor:
    """Return the complete IoU (P,) of pairs of boxes, in [-1, 1] (Zheng et al. 2020, arXiv:1911.08287, equations 7 to 11).

    IoU less the squared distance of the centres over that of the corners of the box around both, less a measure of the difference
    of aspect ratios, whose weight alpha is no part of the gradient.
    """
    sides, other_sides = boxes_P4[:, 2:] - boxes_P4[:, :2], others_P4[:, 2:] - others_P4[:, :2]
    shared = (torch.minimum(boxes_P4[:, 2:], others_P4[:, 2:]) - torch.maximum(boxes_P4[:, :2], others_P4[:, :2])).clamp(min=0)
    inter = shared.prod(-1)
    iou = inter / (sides.prod(-1) + other_sides.prod(-1) - inter + _TINY)
    around = torch.maximum(boxes_P4[:, 2:], others_P4[:, 2:]) - torch.minimum(boxes_P4[:, :2], others_P4[:, :2])
    apart = (boxes_P4[:, :2] + boxes_P4[:, 2:] - others_P4[:, :2] - others_P4[:, 2:]) / 2
    distance = apart.square().sum(-1) / (around.square().sum(-1) + _TINY)
    angles = torch.atan(sides[:, 0] / sides[:, 1]) - torch.atan(other_sides[:, 0] / other_sides[:, 1])
    aspect = 4 / math.pi**2 * angles.square()
    with torch.no_grad():
        alpha = aspect / (1 - iou + aspect + _TINY)
    return iou - distance - alpha * aspect


def largest_iou(boxes_N4: Tensor, others_M4: Tensor) -> Tensor:
    """Return, of every box (N,), the largest IoU with any of the others; 0 where there are none."""
    if len(others_M4) == 0:
        return boxes_N4.new_zeros(len(boxes_N4))
    from torchvision.ops import box_iou

    return box_iou(boxes_N4, others_M4).amax(1)


def clip_boxes(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Return boxes (..., 4) cut at the borders of an image of this height and width."""
    bounds = boxes.new_tensor([size[1], size[0], size[1], size[0]])
    return torch.minimum(functional.relu(boxes), bounds)
