"""Downstream's configuration schema."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from common.canonical import Rules
from common.config import (
    KeepConfig,
    LabelledDataConfig,
    OptimConfig,
    option,
    require,
)
from common.data.augment_config import AugmentConfig
from common.task_config import TaskConfig


@dataclass(frozen=True)
class TaskOptimConfig(OptimConfig):
    """How weights move, and among which learning rates validation chooses."""

    sweep: tuple[float, ...] = option(
        (), "learning rates, > 0: each is trained from the same start, and validation chooses one; none: optim.lr"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        rates = list(self.sweep)
        expected = "no rates, or two or more different ones, > 0"
        require(
            len(rates) != 1 and len(set(rates)) == len(rates) and all(rate > 0 for rate in rates), "optim.sweep", rates, expected
        )


@dataclass(frozen=True)
class LinearConfig:
    """The linear head of protocol `linear`."""

    solver: Literal["lbfgs", "sgd"] = option(
        "lbfgs", "lbfgs: logistic regression to convergence; sgd: epochs over the features with optim.* and train.*"
    )
    standardise: bool = option(
        True, "features get mean 0 and deviation 1 over the training images, whose labels are not looked at"
    )
    l2: tuple[float, ...] = option(
        (1.0,), "lbfgs: L2 strengths of the logistic regression, > 0; of several, the labels choose one"
    )
    folds: int = option(5, "folds of the cross-validation that chooses where data.labels is set, >= 2")
    max_iterations: int = option(1000, "iterations of L-BFGS at most")

    def __post_init__(self) -> None:
        strengths = list(self.l2)
        is_set = bool(strengths) and len(set(strengths)) == len(strengths)
        require(is_set and min(strengths) > 0, "linear.l2", strengths, "at least one number > 0, all different")
        require(self.folds >= 2, "linear.folds", self.folds, "an integer >= 2")
        require(self.max_iterations >= 1, "linear.max_iterations", self.max_iterations, "an integer >= 1")


@dataclass(frozen=True)
class FeaturesConfig:
    """What computes the features of a frozen backbone."""

    engine: Literal["torch", "onnxruntime", "compacted"] = option(
        "torch",
        "linear, knn: torch; onnxruntime (extra onnx); compacted: torch, without the channels that a mask has emptied. "
        "They compute the same function, up to rounding",
        identity=False,
    )


@dataclass(frozen=True)
class EvaluationConfig:
    """What the result is measured on."""

    split: Literal["test", "validation"] = option(
        "test", "test, touched once at the end; validation while a recipe is being made"
    )
    head: Literal["auto", "ticket", "knn"] = option(
        "auto",
        "--evaluate of a ticket: ticket: with the head that it carries; knn: by neighbours; auto: with the head of an imported "
        "ticket whose classes are as many as the data's, else by neighbours",
    )
    neighbours: int = option(20, "k of the k-NN classifier of protocol knn, and of --evaluate for a ticket without a head, >= 1")

    def __post_init__(self) -> None:
        require(self.neighbours >= 1, "evaluation.neighbours", self.neighbours, "an integer >= 1")


def _kept(config: DownstreamConfig) -> str:
    """What is kept of a transfer is its one network, if it has one."""
    if config.keep.trained == "none" or config.protocol == "knn":
        return "none"
    return config.keep.trained if config.searches else "last"


def _neighbours(config: DownstreamConfig) -> int:
    """Nothing but k-NN looks at its neighbours; the field stays, at its default, since earlier runs have it."""
    is_read = config.protocol == "knn" or config.evaluation.head == "knn"
    return config.evaluation.neighbours if is_read else EvaluationConfig().neighbours


@dataclass(frozen=True)
class DownstreamConfig(TaskConfig):
    """A classification task: from a ticket or a control or, with prune.rounds, a search for tickets on the task itself."""

    RULES: ClassVar[Rules] = Rules(
        forms={
            "linear.l2": lambda c: sorted(c.linear.l2),
            "optim.sweep": lambda c: sorted(c.optim.sweep),
            "keep.trained": _kept,
            "evaluation.neighbours": _neighbours,
        },
        unused=(
            ("optim.*", lambda c: not c.trains_in_steps),
            ("optim.lr", lambda c: bool(c.optim.sweep)),
            ("augment.*", lambda c: c.protocol != "full"),
            ("train.epochs", lambda c: not c.trains_in_steps),
            ("train.batch_size", lambda c: not c.trains_in_steps),
            ("train.accumulate", lambda c: not c.trains_in_steps),
            ("train.channels_last", lambda c: c.protocol != "full"),
            ("train.compile", lambda c: c.protocol != "full"),
            ("select", lambda c: not c.trains_in_steps),
            ("linear.*", lambda c: c.protocol != "linear"),
            ("linear.l2", lambda c: c.linear.solver == "sgd"),
            ("linear.max_iterations", lambda c: c.linear.solver == "sgd"),
            ("linear.folds", lambda c: not c.chooses_by_folds),
            ("ticket.*", lambda c: c.searches),
            *((name, lambda c: not c.searches) for name in ("prune.*", "rewind.*", "start.head", "start.train")),
            ("evaluation.head", lambda c: c.evaluation.head != "ticket"),  # auto becomes one of the others in an evaluation
        ),
    )

    data: LabelledDataConfig = option(LabelledDataConfig, "which images, and how many labels")
    protocol: Literal["full", "linear", "knn"] = option(
        "linear",
        "full: train every kept weight; linear: a linear head on frozen features; knn: nearest neighbours among frozen features",
    )
    select: Literal["last", "best"] = option("last", "full, linear by sgd: the last epoch, or the best one on validation labels")
    optim: TaskOptimConfig = option(TaskOptimConfig, "how weights move")
    linear: LinearConfig = option(LinearConfig, "the linear head")
    features: FeaturesConfig = option(FeaturesConfig, "what computes the features of a frozen backbone")
    augment: AugmentConfig = option(AugmentConfig, "full: how training images are varied")
    evaluation: EvaluationConfig = option(EvaluationConfig, "what the result is measured on")
    keep: KeepConfig = option(KeepConfig, "what stays on disk: none, or the trained network (last, all)")

    def __post_init__(self) -> None:
        super().__post_init__()
        sweep = list(self.optim.sweep)
        if sweep:
            expected = "no rates: only full, and linear with linear.solver sgd, have a learning rate"
            require(self.trains_in_steps, "optim.sweep", sweep, expected)
        if self.trains_in_steps and (self.select == "best" or sweep) and self.data.labels is not None:
            asked = "select best" if self.select == "best" else "optim.sweep"
            require(
                self.data.validation_labels > 0,
                "data.validation_labels",
                self.data.validation_labels,
                f"> 0 with {asked} and data.labels: no more than data.labels labels may choose anything",
            )
        if self.evaluation.split == "validation":
            require(self.select == "last", "select", self.select, "last where validation is what the result is measured on")
            require(not sweep, "optim.sweep", sweep, "no rates where validation is what the result is measured on")

    @property
    def trains_in_steps(self) -> bool:
        """Whether an optimizer takes steps: under `full`, and under `linear` by SGD."""
        return self.protocol == "full" or (self.protocol == "linear" and self.linear.solver == "sgd")

    @property
    def chooses_by_folds(self) -> bool:
        """Whether folds of the training labels choose among L2 strengths: where there are several, and no validation labels."""
        has_validation = self.evaluation.split == "test" and (self.data.labels is None or self.data.validation_labels > 0)
        return self.protocol == "linear" and self.linear.solver == "lbfgs" and len(self.linear.l2) > 1 and not has_validation

    def check_search(self) -> None:
        """Refuse what a search on the task cannot be combined with.

        Raises:
            InputError: names the option.
        """
        full = "full with prune.rounds: tickets are found by training every weight"
        require(self.protocol == "full", "protocol", self.protocol, full)
        one = "no rates with prune.rounds: a search is trained at one; choose it by a sweep of the dense network"
        require(not self.optim.sweep, "optim.sweep", list(self.optim.sweep), one)
        super().check_search()

    def check_transfer(self) -> None:
        """Refuse what only a search reads.

        Raises:
            InputError: names the option.
        """
        super().check_transfer()
        longer = "full with ticket.control dense_long, which is trained for longer; a frozen backbone is not trained"
        require(self.ticket.control != "dense_long" or self.protocol == "full", "protocol", self.protocol, longer)
