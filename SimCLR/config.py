"""SimCLR's configuration schema."""

from __future__ import annotations

from dataclasses import dataclass

from common.config import option, require
from common.training.pretraining_config import PretrainingConfig


@dataclass(frozen=True)
class ObjectiveConfig:
    """The contrastive objective."""

    temperature: float = option(0.5, "temperature of the similarities, > 0 (Chen et al. 2020: 0.5 for CIFAR-10)")
    head: tuple[int, ...] = option((512, 128), "widths of the projection head's layers; the last is the projection's")

    def __post_init__(self) -> None:
        require(self.temperature > 0, "objective.temperature", self.temperature, "a number > 0")
        require(bool(self.head) and min(self.head) >= 1, "objective.head", list(self.head), "at least one width >= 1")


@dataclass(frozen=True)
class SimCLRConfig(PretrainingConfig):
    """A search for tickets with SimCLR."""

    objective: ObjectiveConfig = option(ObjectiveConfig, "the contrastive objective")
