"""The configuration groups `prune` and `rewind`: how a search finds masks, and where its rounds start from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from common.option import option, require
from common.start_config import StartConfig

if TYPE_CHECKING:
    from common.config import TrainConfig


@dataclass(frozen=True)
class PruneConfig:
    """How masks are found."""

    rounds: int = option(0, "pruning rounds after round 0; 0 trains densely only")
    rate: float = option(0.2, "fraction of the kept weights that a round removes, in (0, 1)")
    epochs: int | None = option(None, "epochs of every round after round 0; null: train.epochs")
    score: Literal["magnitude", "random"] = option("magnitude", "what ranks the weights")
    allocation: Literal["global", "layerwise"] = option(
        "global", "rank over the whole scope, or remove the same fraction of every tensor"
    )
    schedule: Literal["iterative", "one_shot"] = option("iterative", "every round, or all at once after round 0")
    include: tuple[str, ...] = option(("Conv2d:*",), "scope: patterns of prunable tensors, [TYPE:]GLOB")
    exclude: tuple[str, ...] = option(("@stem",), "scope: patterns taken out again; @stem is the first convolution")
    early_bird: float | None = option(
        None,
        "end a round's training, and prune, once the mask it would leave has moved by less than this fraction of the weights "
        "that the round keeps (densely all of the scope) from epoch to epoch (You et al. 2020: 0.1), in (0, 1]; null: train to "
        "the end",
    )
    early_bird_window: int = option(5, "early_bird: successive distances that must all lie below it, >= 1")
    on_alarm: Literal["warn", "stop"] = option(
        "warn", "a round is ruined (a tensor without weights, a probe at chance): say so, or stop before the next", identity=False
    )

    def __post_init__(self) -> None:
        require(self.rounds >= 0, "prune.rounds", self.rounds, "an integer >= 0")
        require(0 < self.rate < 1, "prune.rate", self.rate, "a fraction in (0, 1)")
        require(self.epochs is None or self.epochs >= 1, "prune.epochs", self.epochs, "an integer >= 1, or null")
        bound = self.early_bird
        require(bound is None or 0 < bound <= 1, "prune.early_bird", bound, "a fraction in (0, 1], or null")
        require(self.early_bird_window >= 1, "prune.early_bird_window", self.early_bird_window, "an integer >= 1")
        magnitude = "null with prune.score random, whose masks do not depend on the training that it would end"
        require(bound is None or self.score == "magnitude", "prune.early_bird", bound, magnitude)

    def round_epochs(self, train: TrainConfig) -> int:
        """Return the epochs of every round after round 0: what `epochs` says or, where it is null, stands for."""
        return train.epochs if self.epochs is None else self.epochs


@dataclass(frozen=True)
class RewindConfig:
    """Where a round starts from."""

    to: Literal["init", "pretrained", "round0", "step", "final"] | None = option(
        None, "rewind point; null: pretrained if start.weights is given, else round0"
    )
    step: str | None = option(None, "rewind.to step: the step of round 0, such as 2ep or 500it")
    keep: tuple[Literal["neck", "head", "norms", "stem"], ...] = option(
        (),
        "parts that a round takes over from the one before instead of rewinding them, as the detection code of Chen et al. 2021 "
        "did with all of these; none: everything is rewound. Rounds are then flagged",
    )

    def __post_init__(self) -> None:
        require(
            (self.to == "step") == (self.step is not None),
            "rewind.step",
            self.step,
            "a duration if, and only if, rewind.to is step",
        )
        expected = "different parts among neck, head, norms and stem, and none with rewind.to final, which rewinds nothing"
        holds = len(set(self.keep)) == len(self.keep) and not (self.keep and self.to == "final")
        require(holds, "rewind.keep", list(self.keep), expected)

    def point(self, start: StartConfig) -> str:
        """Return the rewind point: what `to` says or, where it is null, stands for."""
        return self.to or ("round0" if start.weights is None else "pretrained")
