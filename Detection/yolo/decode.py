"""From a head's numbers to detections."""

from __future__ import annotations

import torch
from torch import Tensor

from Detection.detector import Detections
from Detection.yolo.boxes import Grid, clip_boxes, decode_boxes
from Detection.yolo.config import YoloConfig


@torch.no_grad()
def decode(raw_BNC: Tensor, grid: Grid, size: tuple[int, int], config: YoloConfig) -> list[Detections]:
    """Return what is found in every image: score = objectness * class probability, one class's boxes apart from another's.

    Args:
        raw_BNC: float32: x, y, width, height, objectness and K classes of every prediction, as the head gives them.
        grid: where the N predictions are.
        size: height and width of the images, pixels; boxes are clipped there, and dropped where nothing is left of them.
        config: `confidence`, `candidates`, `nms_iou`, `max_detections`, `one_class_per_box`.
    """
    boxes_BN4 = clip_boxes(decode_boxes(raw_BNC[..., :4], grid, config.scale_xy), size)
    scores_BNK = raw_BNC[..., 4:5].sigmoid() * raw_BNC[..., 5:].sigmoid()
    return [_of_image(boxes_N4, scores_NK, config) for boxes_N4, scores_NK in zip(boxes_BN4, scores_BNK, strict=True)]


def _of_image(boxes_N4: Tensor, scores_NK: Tensor, config: YoloConfig) -> Detections:
    from torchvision.ops import batched_nms

    found_NK = (scores_NK > config.confidence) & (boxes_N4[:, 2:] > boxes_N4[:, :2]).all(1, keepdim=True)
    if config.one_class_per_box:
        likeliest = torch.zeros_like(found_NK).scatter_(1, scores_NK.argmax(1, keepdim=True), True)
        found_NK = found_NK & likeliest
    places, labels = found_NK.nonzero(as_tuple=True)
    scores, order = scores_NK[places, labels].sort(descending=True, stable=True)  # equal scores: the earlier prediction first
    order = order[: config.candidates]
    boxes, scores, labels = boxes_N4[places[order]], scores[: config.candidates], labels[order]
    kept = batched_nms(boxes, scores, labels, config.nms_iou)[: config.max_detections]
    return Detections(boxes[kept], scores[kept], labels[kept])
