"""Detection's configuration schema."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from common.annotated_config import AnnotatedEvaluationConfig, AnnotatedTaskConfig
from common.canonical import Rules
from common.option import option
from Detection.yolo.config import YoloConfig


@dataclass(frozen=True)
class DetectionEvaluationConfig(AnnotatedEvaluationConfig):
    """What the result is measured on, and by."""

    metric: Literal["AP", "AP50", "AP75", "VOC07_AP", "VOC07_AP50", "VOC07_AP75", "VOC_AP", "VOC_AP50", "VOC_AP75"] = option(
        "AP",
        "the main metric, which select best chooses by too: COCO's AP over IoU .50:.05:.95, at .50 or at .75; VOC07: VOC's, "
        "precision at 11 recalls; VOC: VOC's, the area under the curve",
    )


@dataclass(frozen=True)
class DetectionConfig(AnnotatedTaskConfig):
    """Detection: from a ticket or a control or, with prune.rounds, a search for tickets on the task itself."""

    RULES: ClassVar[Rules] = Rules(
        forms={
            **AnnotatedTaskConfig.RULES.forms,
            "yolo.anchor_unit": lambda c: c.yolo.anchor_unit if c.yolo.anchors else YoloConfig().anchor_unit,
        },
        unused=AnnotatedTaskConfig.RULES.unused,
    )

    evaluation: DetectionEvaluationConfig = option(DetectionEvaluationConfig, "what the result is measured on, and by")
    yolo: YoloConfig = option(YoloConfig, "the YOLO-style detector")
