"""What every pre-training objective's schema shares: views and what a round is judged by. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass

from common.config import SearchConfig, option, require
from common.data.augment_config import AugmentConfig


@dataclass(frozen=True)
class EvaluationConfig:
    """What every round is judged by, on the validation images; the same for every objective."""

    retrieval_batch: int = option(256, "images among which a view must find its partner (Chen et al. 2021, eq. 2), >= 2")
    neighbours: int = option(20, "k of the k-NN classifier, >= 1")
    bank: int | None = option(None, "training images of the k-NN bank, at most, evenly over the classes; null: all")

    def __post_init__(self) -> None:
        require(self.retrieval_batch >= 2, "evaluation.retrieval_batch", self.retrieval_batch, "an integer >= 2")
        require(self.neighbours >= 1, "evaluation.neighbours", self.neighbours, "an integer >= 1")
        least = f"an integer >= evaluation.neighbours ({self.neighbours}), or null"
        require(self.bank is None or self.bank >= self.neighbours, "evaluation.bank", self.bank, least)


@dataclass(frozen=True)
class PretrainingConfig(SearchConfig):
    """A search for tickets on a pre-training objective; a paradigm's schema adds the objective."""

    augment: AugmentConfig = option(AugmentConfig, "how training views are made")
    evaluation: EvaluationConfig = option(EvaluationConfig, "what rounds are judged by")
