"""The configuration group `start`: which weights a run begins with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from common.models.names import published_library
from common.option import option, require


@dataclass(frozen=True)
class StartConfig:
    """Which weights a run begins with (docs/start-weights.md)."""

    weights: str | None = option(
        None,
        "weights to start from: a file (published checkpoint, state dict, ticket, a run's weights), or published weights of "
        "model.name: timm, torchvision, torchvision:NAME; null: fresh random weights",
    )
    format: Literal[
        "auto",
        "ticket",
        "weights",
        "moco",
        "simclr_v2",
        "detectron2",
        "torchvision_detection",
        "rigl",
        "mobilenet_v1",
        "open_lth",
        "nested",
        "detectron2",
        "torchvision_detection",
        "network",
        "plain",
        "simclr_v1",
    ] = option("auto", "the file's layout; auto: the first of ticket to plain that it has (simclr_v1 has the names of plain)")
    input: str | None = option(
        None, "input that a file's weights expect, where it does not say: imagenet, unit or half as data.input, data, a JSON file"
    )
    stem: Literal["same", "fresh"] = option(
        "same", "fresh: keep this model's own random stem, which may then differ from the file's"
    )

    def __post_init__(self) -> None:
        if self.weights is not None and published_library(self.weights) is not None:
            require(self.format == "auto", "start.format", self.format, f"auto for {self.weights}, which is no file")
            require(self.input is None, "start.input", self.input, f"null for {self.weights}, which says it itself")


@dataclass(frozen=True)
class SearchStartConfig(StartConfig):
    """What round 0 of a search begins with."""

    head: Literal["given", "fresh"] | None = option(
        None, "the head; given: the file's, which must fit; null: the file's where it fits and is this objective's, else fresh"
    )
    train: bool | None = option(
        None, "train round 0 although weights are given; null: only from a ticket with a mask, whose weights are rewound ones"
    )
