"""The supervised objective's configuration schema."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from common.canonical import Rules
from common.config import option, require
from common.training.pretraining_config import PretrainingConfig


@dataclass(frozen=True)
class ObjectiveConfig:
    """Cross-entropy with a linear classifier."""

    label_smoothing: float = option(0.0, "part of the target that is spread evenly over all classes, in [0, 1)")
    classifier: Literal["given", "fresh"] = option(
        "given", "given: start with the classifier of start.weights where its shape is this one's; fresh: never"
    )

    def __post_init__(self) -> None:
        require(0 <= self.label_smoothing < 1, "objective.label_smoothing", self.label_smoothing, "a fraction in [0, 1)")


@dataclass(frozen=True)
class SupervisedConfig(PretrainingConfig):
    """A search for tickets with labels."""

    RULES: ClassVar[Rules] = Rules(unused=(("objective.classifier", lambda c: c.start.weights is None),))

    objective: ObjectiveConfig = option(ObjectiveConfig, "the supervised objective")
