"""The supervised objective's configuration schema."""

from __future__ import annotations

from dataclasses import dataclass

from common.config import option, require
from common.training.pretraining_config import PretrainingConfig


@dataclass(frozen=True)
class ObjectiveConfig:
    """Cross-entropy with a linear classifier."""

    label_smoothing: float = option(0.0, "part of the target that is spread evenly over all classes, in [0, 1)")

    def __post_init__(self) -> None:
        require(0 <= self.label_smoothing < 1, "objective.label_smoothing", self.label_smoothing, "a fraction in [0, 1)")


@dataclass(frozen=True)
class SupervisedConfig(PretrainingConfig):
    """A search for tickets with labels."""

    objective: ObjectiveConfig = option(ObjectiveConfig, "the supervised objective")
