"""Downstream's configuration schema."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from common.canonical import Rules
from common.config import KeepConfig, LabelledDataConfig, RunConfig, StartConfig, TicketConfig, option, require
from common.data.augment_config import AugmentConfig


@dataclass(frozen=True)
class LinearConfig:
    """The linear head of protocol `linear`."""

    l2: tuple[float, ...] = option((1.0,), "L2 strengths of the logistic regression, > 0; of several, the labels choose one")
    folds: int = option(5, "folds of the cross-validation that chooses where data.labels is set, >= 2")
    max_iterations: int = option(1000, "iterations of L-BFGS at most")

    def __post_init__(self) -> None:
        require(bool(self.l2) and min(self.l2) > 0, "linear.l2", list(self.l2), "at least one number > 0")
        require(self.folds >= 2, "linear.folds", self.folds, "an integer >= 2")
        require(self.max_iterations >= 1, "linear.max_iterations", self.max_iterations, "an integer >= 1")


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
    neighbours: int = option(20, "k of the k-NN classifier that --evaluate uses without a head, >= 1")

    def __post_init__(self) -> None:
        require(self.neighbours >= 1, "evaluation.neighbours", self.neighbours, "an integer >= 1")


@dataclass(frozen=True)
class DownstreamConfig(RunConfig):
    """A classification task from a ticket or a control."""

    RULES: ClassVar[Rules] = Rules(
        forms={
            "linear.l2": lambda c: sorted(c.linear.l2),
            "keep.trained": lambda c: "none" if c.keep.trained == "none" else "last",
        },
        unused=(
            ("optim.*", lambda c: c.protocol == "linear"),
            ("augment.*", lambda c: c.protocol == "linear"),
            ("train.epochs", lambda c: c.protocol == "linear"),
            ("train.batch_size", lambda c: c.protocol == "linear"),
            ("train.accumulate", lambda c: c.protocol == "linear"),
            ("train.channels_last", lambda c: c.protocol == "linear"),
            ("train.compile", lambda c: c.protocol == "linear"),
            ("select", lambda c: c.protocol == "linear"),
            ("linear.*", lambda c: c.protocol == "full"),
            ("linear.folds", lambda c: len(c.linear.l2) == 1),
            ("evaluation.head", lambda c: c.evaluation.head != "ticket"),  # auto becomes one of the others in an evaluation
        ),
    )

    data: LabelledDataConfig = option(LabelledDataConfig, "which images, and how many labels")
    protocol: Literal["full", "linear"] = option(
        "linear", "full: train every kept weight; linear: a linear head on frozen features"
    )
    select: Literal["last", "best"] = option("last", "full: the last epoch, or the best one on validation labels")
    ticket: TicketConfig = option(TicketConfig, "which ticket, as what")
    start: StartConfig = option(StartConfig, "weights of control mask_only, or of a dense run without a ticket")
    linear: LinearConfig = option(LinearConfig, "the linear head")
    augment: AugmentConfig = option(AugmentConfig, "full: how training images are varied")
    evaluation: EvaluationConfig = option(EvaluationConfig, "what the result is measured on")
    keep: KeepConfig = option(KeepConfig, "what stays on disk: none, or the trained network (last, all)")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.protocol == "full" and self.select == "best" and self.data.labels is not None:
            require(
                self.data.validation_labels > 0,
                "data.validation_labels",
                self.data.validation_labels,
                "> 0 with select best and data.labels: no more than data.labels labels may choose anything",
            )
        if self.evaluation.split == "validation":
            require(self.select == "last", "select", self.select, "last where validation is what the result is measured on")
