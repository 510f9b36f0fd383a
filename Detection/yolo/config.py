"""The configuration group `yolo`: the detector's neck, heads, anchors, loss and decoding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from common.option import option, require

LEVELS, ANCHORS_PER_LEVEL = 3, 3

VOC_ANCHORS = (
    *(1.25, 1.625, 2.0, 3.75, 4.125, 2.875),
    *(1.875, 3.8125, 3.875, 2.8125, 3.6875, 7.4375),
    *(3.625, 2.8125, 4.875, 6.1875, 11.65625, 10.1875),
)
"""The predecessor's, widths and heights in units of the strides 8, 16 and 32."""


@dataclass(frozen=True)
class YoloConfig:
    """The YOLO-style head. Neck and heads are dense: a ticket's mask is on the backbone alone."""

    channels: int = option(
        128, "neck: channels at the finest level, twice and four times as many at the next (YOLOv4: 128), >= 1"
    )
    neck_convs: int = option(5, "neck: convolutions after every fusion of two levels (YOLOv4: 5), 1, 3 or 5")
    norm: Literal["batch", "group"] = option("batch", "neck and heads: norm layers; group does not depend on the batch")
    leak: float = option(0.1, "neck and heads: slope of LeakyReLU below 0, in [0, 1)")
    initialisation: Literal["he", "normal"] = option(
        "he", "neck and heads: He et al. 2015, or N(0, 0.01); the last convolution is N(0, 0.01) in both"
    )
    prior: float = option(0.01, "heads: objectness at the start (Lin et al. 2017), in (0, 1); 0.5: a bias of 0")
    anchors: tuple[float, ...] = option(
        (), "width and height of three anchors of every level, the finest first: 18 numbers; none: k-means on the training boxes"
    )
    anchor_unit: Literal["pixel", "stride"] = option(
        "pixel", "unit of yolo.anchors: pixels of the input, or their level's stride"
    )
    assign_iou: float = option(0.3, "a box trains every anchor whose shape overlaps it more (IoU), else the best one, in (0, 1]")
    ignore_iou: float = option(0.5, "ignore band: where nothing is but the predicted box has this IoU with a true one, in (0, 1]")
    scale_xy: float = option(1.1, "how far a centre may leave its cell: (sigmoid - .5) * scale_xy + .5 (YOLOv4), in [1, 2]")
    box_weight: float = option(1.0, "loss: weight of the boxes' CIoU, >= 0")
    objectness_weight: float = option(1.0, "loss: weight of objectness, >= 0")
    class_weight: float = option(1.0, "loss: weight of the classes, >= 0")
    label_smoothing: float = option(0.01, "loss: classes' labels become (1 - x) * label + x / classes, in [0, 1)")
    focal_gamma: float = option(2.0, "loss: focal exponent of objectness (Lin et al. 2017), >= 0; 0: cross-entropy")
    normalise: Literal["positives", "batch"] = option(
        "positives", "loss: sums are divided by the number of anchors that hold a box, or by that of images"
    )
    confidence: float = option(0.005, "decoding: smallest objectness times class probability that is a detection, in [0, 1)")
    nms_iou: float = option(0.45, "decoding: a box that overlaps a surer one of its class more (IoU) is dropped, in (0, 1]")
    candidates: int = option(1000, "decoding: the surest of an image that NMS sees, >= max_detections")
    max_detections: int = option(100, "decoding: the surest of an image that are kept (COCO: 100), >= 1")
    one_class_per_box: bool = option(
        False, "decoding: a box is of its likeliest class alone; false: of every class above confidence"
    )

    def __post_init__(self) -> None:
        numbers = 2 * LEVELS * ANCHORS_PER_LEVEL
        is_full = len(self.anchors) in (0, numbers) and all(side > 0 for side in self.anchors)
        require(is_full, "yolo.anchors", list(self.anchors), f"{numbers} numbers > 0, or nothing")
        require(self.channels >= 1, "yolo.channels", self.channels, "an integer >= 1")
        require(self.neck_convs in (1, 3, 5), "yolo.neck_convs", self.neck_convs, "1, 3 or 5")
        require(0 <= self.leak < 1, "yolo.leak", self.leak, "a number in [0, 1)")
        require(0 < self.prior < 1, "yolo.prior", self.prior, "a probability in (0, 1)")
        require(1 <= self.scale_xy <= 2, "yolo.scale_xy", self.scale_xy, "a number in [1, 2]")
        require(0 <= self.label_smoothing < 1, "yolo.label_smoothing", self.label_smoothing, "a number in [0, 1)")
        require(0 <= self.confidence < 1, "yolo.confidence", self.confidence, "a probability in [0, 1)")
        for name in ("assign_iou", "ignore_iou", "nms_iou"):
            require(0 < getattr(self, name) <= 1, f"yolo.{name}", getattr(self, name), "an IoU in (0, 1]")
        for name in ("box_weight", "objectness_weight", "class_weight", "focal_gamma"):
            require(getattr(self, name) >= 0, f"yolo.{name}", getattr(self, name), "a number >= 0")
        require(self.max_detections >= 1, "yolo.max_detections", self.max_detections, "an integer >= 1")
        most = f"at least yolo.max_detections ({self.max_detections})"
        require(self.candidates >= self.max_detections, "yolo.candidates", self.candidates, most)
