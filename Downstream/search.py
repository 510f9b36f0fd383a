"""Tickets found on the task itself: iterative magnitude pruning with rewinding while classifying the target (protocol `imp`).

Every round is a level of the curve that is reported, so its test value is measured once, at its end. Nothing is chosen by it:
masks rank weights, epochs are chosen on validation labels, and rounds are not chosen at all.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from common.cli import Invocation
from common.data.datasets import Dataset
from common.identity import ticket_seed
from common.models.heads import Network
from common.models.start_weights import StartWeights
from common.training.given_head import load_given_classifier_
from common.training.given_weights import fill_backbone_
from common.training.pretraining import describe_data
from common.training.records import Records
from common.training.search_run import run_rounds
from common.training.session import session
from common.training.transfer import source_flags
from Downstream.config import DownstreamConfig
from Downstream.labels import Labelled, absence_flags, check_labels
from Downstream.target import fresh_backbone, fresh_head, open_target
from Downstream.task import ClassificationTask

OBJECTIVE = "classification"


def find_tickets(invocation: Invocation) -> None:
    """Search for tickets on the target, or continue the search, or say that it is done.

    `seed.ticket` draws the backbone's initialisation (and the scores of random pruning), `seed.task` the head, the order and
    views of the images, and which of them are labelled, as in a transfer.

    Raises:
        InputError: bad input; nothing is written.
        RunError: a loss is not finite.
    """
    config: DownstreamConfig = invocation.config
    with session(invocation) as device:
        if device is None:
            return
        dataset, labelled = open_target(config)
        check_labels(labelled, len(dataset.classes), 1, balanced=config.data.labels is None or config.data.balanced)
        backbone = fresh_backbone(config, dataset, seed=ticket_seed(config), stream="init")
        start, flags = _fill(backbone, config, dataset)
        network = Network(backbone, fresh_head(backbone, dataset, config.seed.task))
        _take_head(network, start, dataset, config)
        task = ClassificationTask(config, network.to(device), dataset, labelled, device, config.seed.task)
        run_rounds(invocation, device, task, _records(config, backbone, dataset, labelled, start, flags), start)


def _fill(backbone: nn.Module, config: DownstreamConfig, dataset: Dataset) -> tuple[StartWeights | None, tuple[str, ...]]:
    """Fill the backbone with what round 0 starts from, if that is given; return it, and flags for every result."""
    if config.start.weights is None:
        return None, ()
    start, flags = fill_backbone_(backbone, config.start, dataset.input, accept_mismatch=config.data.accept_input_mismatch)
    return start, (*flags, *(source_flags(start.origin, dataset) if start.origin is not None else ()))


def _take_head(network: Network, start: StartWeights | None, dataset: Dataset, config: DownstreamConfig) -> None:
    """Take the classifier of given weights where `start.head` insists on it, or where it was trained on this very target.

    A classifier of as many other classes would fit too, and mean nothing.
    """
    if start is None:
        return
    origin = start.origin or {}
    own, told = (OBJECTIVE, dataset.name, dataset.split_hash), tuple(origin.get(key) for key in ("objective", "data", "split"))
    against = None if own == told else f"start.weights was not found by classifying {dataset.name}"
    head: Any = network.head
    load_given_classifier_(head, network.backbone, start, config.start.head, against=against)


def _records(
    config: DownstreamConfig,
    backbone: nn.Module,
    dataset: Dataset,
    labelled: Labelled,
    start: StartWeights | None,
    flags: tuple[str, ...],
) -> Records:
    prune, split = config.prune, config.evaluation.split
    drawn = "random" if prune.allocation == "global" else "random_layerwise"
    # With few labels, no others are looked at: validation images are measured only where all of them may be.
    splits = ("test", "validation") if split == "test" and config.data.labels is None else (split,)
    arch: Any = backbone.arch
    return Records(
        OBJECTIVE,
        ticket_seed(config),
        arch,
        describe_data(dataset),
        dataset.input.to_json(),
        task="classification",
        protocol="imp",
        splits=splits,
        control=drawn if prune.score == "random" else "ticket",
        parent=start.ticket.digest if start and start.ticket else None,
        start=start.facts if start else None,
        flags=(*flags, *absence_flags(dataset, split)),
        details={"labels": labelled.count, "classes_with_labels": labelled.classes},
    )
