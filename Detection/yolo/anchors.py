"""Anchors: from the recipe, or clustered from the training boxes. Widths and heights in pixels of the network's input."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from common.errors import InputError
from common.randomness import generator
from Detection.yolo.boxes import shape_iou
from Detection.yolo.config import ANCHORS_PER_LEVEL, LEVELS, YoloConfig

MOST_BOXES = 20_000
"""More boxes than that are thinned out evenly, in order of area: clusters of a sample are as good."""


def anchors_of(config: YoloConfig, strides: Sequence[int], sides_T2: Tensor, *, seed: int) -> Tensor:
    """Return the nine anchors, float32 (9, 2), three of every level, the finest first.

    Args:
        config: `anchors` and their unit; none: they are clustered.
        strides: of the three levels, pixels.
        sides_T2: widths and heights of the training boxes, as the network will see them; read only where they are clustered.
        seed: of the clustering's start, >= 0.

    Raises:
        InputError: see `cluster_anchors`.
    """
    if not config.anchors:
        return cluster_anchors(sides_T2, LEVELS * ANCHORS_PER_LEVEL, seed=seed)
    anchors = torch.tensor(config.anchors, dtype=torch.float32).reshape(-1, 2)
    if config.anchor_unit == "stride":
        anchors = anchors * torch.tensor(strides, dtype=torch.float32).repeat_interleave(ANCHORS_PER_LEVEL)[:, None]
    return anchors


def cluster_anchors(sides_T2: Tensor, count: int, *, seed: int, rounds: int = 100) -> Tensor:
    """Cluster boxes by shape with distance 1 - IoU (Redmon and Farhadi 2017, section 2), the mean sides being a cluster's centre.

    Starts from boxes drawn with probabilities that grow with the squared distance to those drawn before (k-means++), seeded. A
    round whose mean IoU is not better than the best so far ends it: means are not the centres that minimise this distance.

    Args:
        sides_T2: widths and heights > 0, in pixels.
        count: of clusters, >= 1.
        seed: of the start, >= 0.
        rounds: at most.

    Returns:
        float32 (count, 2), by ascending area.

    Raises:
        InputError: fewer different shapes than clusters, or a side that is not above 0.
    """
    if not bool((sides_T2 > 0).all()):
        raise InputError("anchors: got a training box without area, expected widths and heights > 0; drop such boxes")
    different = len(torch.unique(sides_T2, dim=0))
    if different < count:
        raise InputError(
            f"anchors: got {different} different shapes of training boxes, expected {count} at least; give yolo.anchors"
        )
    sides_T2 = _thinned(sides_T2.double())
    centres_A2 = _start(sides_T2, count, seed)
    best_A2, best = centres_A2, mean_best_iou(sides_T2, centres_A2)
    for _ in range(rounds):
        nearest_T = shape_iou(sides_T2, centres_A2).argmax(1)
        held = torch.bincount(nearest_T, minlength=count)
        sums_A2 = torch.zeros_like(centres_A2).index_add_(0, nearest_T, sides_T2)
        centres_A2 = torch.where((held > 0)[:, None], sums_A2 / held.clamp(min=1)[:, None], centres_A2)
        found = mean_best_iou(sides_T2, centres_A2)
        if found <= best:
            break
        best_A2, best = centres_A2, found
    return best_A2[best_A2.prod(1).argsort(stable=True)].float()


def mean_best_iou(sides_T2: Tensor, anchors_A2: Tensor) -> float:
    """Return the mean, over boxes, of the IoU with the anchor of the likest shape."""
    return float(shape_iou(sides_T2, anchors_A2).amax(1).mean())


def _thinned(sides_T2: Tensor) -> Tensor:
    if len(sides_T2) <= MOST_BOXES:
        return sides_T2
    order = sides_T2.prod(1).argsort(stable=True)
    return sides_T2[order[torch.linspace(0, len(order) - 1, MOST_BOXES).round().long()]]


def _start(sides_T2: Tensor, count: int, seed: int) -> Tensor:
    draws = generator(seed, "anchors")
    chosen = [int(torch.randint(len(sides_T2), (1,), generator=draws))]
    while len(chosen) < count:
        distance = 1 - shape_iou(sides_T2, sides_T2[chosen]).amax(1)
        chosen.append(int(torch.multinomial(distance.clamp(min=0).square() + 1e-12, 1, generator=draws)))
    return sides_T2[chosen].clone()
