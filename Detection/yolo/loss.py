"""What a YOLO-style head learns from: boxes by complete IoU, objectness with an ignore band, classes by cross-entropy."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from common.data.annotated.batch import Targets
from Detection.yolo.assign import Assignment, assign
from Detection.yolo.boxes import Grid, complete_iou, decode_boxes, largest_iou
from Detection.yolo.config import YoloConfig


def yolo_loss(
    raw_BNC: Tensor, grid: Grid, anchors_LA2: Tensor, targets: Targets, size: tuple[int, int], config: YoloConfig
) -> dict[str, Tensor]:
    """Return what a batch costs.

    boxes: (1 - CIoU) * (2 - box area / image area); objectness: focal cross-entropy over all predictions but those of the ignore
    band; classes: binary cross-entropy with smoothed labels, summed over the classes. The first and the last are of the
    predictions that hold a box (see `assign`); what these add to the three is multiplied by the box's weight, its image's share
    in a mixup. Sums are divided by the number of predictions that hold a box, at least 1, or by that of images (`normalise`).

    Args:
        raw_BNC: float32: x, y, width, height, objectness and K classes of every prediction, as the head gives them.
        grid: where the N predictions are.
        anchors_LA2: widths and heights in pixels, of every level.
        targets: the boxes of the batch; there may be none.
        size: height and width of the images, pixels.
        config: thresholds and weights.

    Returns:
        "total", the sum of "box", "objectness" and "classes", each multiplied by its weight; and "collisions", no part of it: how
        many predictions a box lost to another (float32, without gradient).

    Raises:
        InputError: see `assign`.
    """
    images = len(raw_BNC)
    held = assign(targets, grid, anchors_LA2, images=images, size=size, iou=config.assign_iou)
    weights_P = targets.weights[held.targets]
    raw_PC, boxes_P4 = raw_BNC[held.images, held.predictions], targets.boxes[held.targets]
    share = max(1, len(weights_P)) if config.normalise == "positives" else max(1, images)
    ciou_P = complete_iou(decode_boxes(raw_PC[:, :4], grid, config.scale_xy, held.predictions), boxes_P4)
    size_P = 2 - (boxes_P4[:, 2:] - boxes_P4[:, :2]).prod(-1) / (size[0] * size[1])
    box = ((1 - ciou_P) * size_P * weights_P).sum()
    classes = (_class_loss(raw_PC[:, 5:], targets.labels[held.targets], config.label_smoothing) * weights_P).sum()
    wanted_BN, counts_BN = _objectness_targets(raw_BNC, grid, targets, held, config)
    objectness = (_focal(raw_BNC[..., 4], wanted_BN, config.focal_gamma) * counts_BN).sum()
    parts = {
        "box": box * (config.box_weight / share),
        "objectness": objectness * (config.objectness_weight / share),
        "classes": classes * (config.class_weight / share),
    }
    return {"total": torch.stack(list(parts.values())).sum(), **parts, "collisions": held.collisions.float()}


def _class_loss(logits_PK: Tensor, labels_P: Tensor, smoothing: float) -> Tensor:
    """Return the binary cross-entropy (P,), summed over the classes."""
    wanted = functional.one_hot(labels_P, logits_PK.shape[1]).to(logits_PK.dtype)
    wanted = wanted * (1 - smoothing) + smoothing / max(1, logits_PK.shape[1])
    return functional.binary_cross_entropy_with_logits(logits_PK, wanted, reduction="none").sum(1)


def _objectness_targets(
    raw_BNC: Tensor, grid: Grid, targets: Targets, held: Assignment, config: YoloConfig
) -> tuple[Tensor, Tensor]:
    """Return which predictions hold a box, and how much each counts: 1, its box's weight, or 0 in the band; (B, N) each."""
    with torch.no_grad():
        boxes_BN4 = decode_boxes(raw_BNC[..., :4], grid, config.scale_xy)
        counts = torch.bincount(targets.images, minlength=len(raw_BNC)).tolist()
        close = [largest_iou(boxes_N4, true) for boxes_N4, true in zip(boxes_BN4, targets.boxes.split(counts), strict=True)]
        counts_BN = (torch.stack(close) < config.ignore_iou).to(raw_BNC.dtype) if close else raw_BNC.new_zeros(raw_BNC.shape[:2])
        wanted_BN = torch.zeros_like(counts_BN)
        wanted_BN[held.images, held.predictions] = 1
        counts_BN[held.images, held.predictions] = targets.weights[held.targets]
    return wanted_BN, counts_BN


def _focal(logits: Tensor, wanted: Tensor, gamma: float) -> Tensor:
    """Return |wanted - p|^gamma times the cross-entropy, of every logit (Lin et al. 2017, arXiv:1708.02002, alpha 1)."""
    entropy = functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    if gamma == 0:
        return entropy
    # No lower than the least float: where p rounds to what is wanted, a root of 0 would have an infinite slope.
    return entropy * (wanted - logits.sigmoid()).abs().clamp(min=torch.finfo(logits.dtype).tiny).pow(gamma)
