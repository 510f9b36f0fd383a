"""SimCLR's configuration schema."""

from __future__ import annotations

from dataclasses import dataclass

from common.config import SearchConfig, option, require
from common.data.augment_config import AugmentConfig


@dataclass(frozen=True)
class ObjectiveConfig:
    """The contrastive objective."""

    temperature: float = option(0.5, "temperature of the similarities, > 0 (Chen et al. 2020: 0.5 for CIFAR-10)")
    head: tuple[int, ...] = option((512, 128), "widths of the projection head's layers; the last is the projection's")

    def __post_init__(self) -> None:
        require(self.temperature > 0, "objective.temperature", self.temperature, "a number > 0")
        require(bool(self.head) and min(self.head) >= 1, "objective.head", list(self.head), "at least one width >= 1")


@dataclass(frozen=True)
class EvaluationConfig:
    """What every round is judged by, on the validation images."""

    retrieval_batch: int = option(256, "images among which a view must find its partner (Chen et al. 2021, eq. 2), >= 2")
    neighbours: int = option(20, "k of the k-NN classifier, >= 1")

    def __post_init__(self) -> None:
        require(self.retrieval_batch >= 2, "evaluation.retrieval_batch", self.retrieval_batch, "an integer >= 2")
        require(self.neighbours >= 1, "evaluation.neighbours", self.neighbours, "an integer >= 1")


@dataclass(frozen=True)
class SimCLRConfig(SearchConfig):
    """A search for tickets with SimCLR."""

    objective: ObjectiveConfig = option(ObjectiveConfig, "the contrastive objective")
    augment: AugmentConfig = option(AugmentConfig, "how views are made")
    evaluation: EvaluationConfig = option(EvaluationConfig, "what rounds are judged by")
