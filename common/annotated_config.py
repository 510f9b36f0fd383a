"""What the configuration of every task on annotated images has: detection, segmentation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from common.canonical import Rules
from common.config import KeepConfig, OptimConfig, TrainConfig
from common.data.annotated.catalogue import canonical_annotated_name, input_of, size_of
from common.data.annotated.config import AnnotatedDataConfig, JointAugmentConfig
from common.option import option, require
from common.task_config import TaskConfig


@dataclass(frozen=True)
class AnnotatedOptimConfig(OptimConfig):
    """How weights move; the backbone's may move more slowly."""

    backbone_scale: float = option(1.0, "learning rate of the backbone, as a multiple of optim.lr, > 0")

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.backbone_scale > 0, "optim.backbone_scale", self.backbone_scale, "a multiple > 0")


@dataclass(frozen=True)
class AnnotatedTrainConfig(TrainConfig):
    """How long, in what portions, on what, and what is averaged."""

    average: float | None = option(
        None, "judge a moving average of the weights that keeps this share of itself a step, in (0, 1); null: the weights"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        got = self.average
        require(got is None or 0 < got < 1, "train.average", got, "a share in (0, 1), or null")


@dataclass(frozen=True)
class AnnotatedEvaluationConfig:
    """What the result is measured on."""

    split: Literal["test", "validation"] = option(
        "test", "test, touched once at the end; validation while a recipe is being made"
    )
    batch_size: int = option(16, "images at once, >= 1", identity=False)
    draw: int = option(16, "images of the split whose truth and predictions are drawn, >= 0", identity=False)

    def __post_init__(self) -> None:
        require(self.batch_size >= 1, "evaluation.batch_size", self.batch_size, "an integer >= 1")
        require(self.draw >= 0, "evaluation.draw", self.draw, "an integer >= 0")


def _kept(config: AnnotatedTaskConfig) -> str:
    """What is kept of a transfer is its one network, if it has one."""
    if config.keep.trained == "none" or config.searches:
        return config.keep.trained
    return "last"


def _normalisation(config: AnnotatedTaskConfig) -> str:
    """A data set's own mean and standard deviation may be those of a name."""
    return "own" if input_of(config.data) == input_of(replace(config.data, input="own")) else config.data.input


@dataclass(frozen=True)
class AnnotatedTaskConfig(TaskConfig):
    """A task on annotated images: from a ticket or a control or, with prune.rounds, a search for tickets on it."""

    RULES: ClassVar[Rules] = Rules(
        forms={
            "data.name": lambda c: canonical_annotated_name(c.data),
            "data.size": lambda c: list(size_of(c.data)),
            "data.input": _normalisation,
            "keep.trained": _kept,
        },
        unused=(
            ("ticket.*", lambda c: c.searches),
            *((name, lambda c: not c.searches) for name in ("prune.*", "rewind.*", "start.head", "start.train")),
        ),
    )

    data: AnnotatedDataConfig = option(AnnotatedDataConfig, "which images")  # type: ignore[assignment]
    optim: AnnotatedOptimConfig = option(AnnotatedOptimConfig, "how weights move")
    train: AnnotatedTrainConfig = option(AnnotatedTrainConfig, "how long, and on what")
    augment: JointAugmentConfig = option(JointAugmentConfig, "how training images are varied")
    evaluation: AnnotatedEvaluationConfig = option(AnnotatedEvaluationConfig, "what the result is measured on")
    keep: KeepConfig = option(KeepConfig, "what stays on disk: none, or the trained network (last, all)")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.evaluation.split == "validation":
            require(self.select == "last", "select", self.select, "last where validation is what the result is measured on")
