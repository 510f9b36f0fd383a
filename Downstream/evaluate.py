"""`python -m Downstream --evaluate RUN|TICKET|FILE`: judge what exists on the target; nothing is trained.

A Downstream run is judged by its own trained network, and an imported ticket by the head that it carries where that fits the
target (`Downstream.ticket_head`). A search's run, another ticket or a file of weights has no head for the target, so its backbone
is judged by k-NN among the labelled training images.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from common.cli import Invocation
from common.data.datasets import Dataset, open_data
from common.errors import InputError
from common.files import sha256_file
from common.models.heads import Network
from common.tickets.rewind import restore_
from common.tickets.ticket import load_ticket
from common.tickets.trained import TRAINED, recorded_sha256
from common.tickets.weights_file import NetworkState, read_weights
from common.training.device import choose_device, threads
from common.training.evaluation import Subject, as_ticket, read_subject, start_subject_, write_evaluation
from common.training.precision import float32_products
from common.training.pretraining import describe_data
from common.training.recorded import RecordedRun, check_images, read_run, request_of
from common.training.results import Outcome
from common.training.small_dense import width_of
from Downstream.config import DownstreamConfig
from Downstream.features import Features
from Downstream.labels import labelled_images
from Downstream.neighbours import KNN_METRICS, judge_by_neighbours
from Downstream.target import fresh_backbone, fresh_head
from Downstream.task import classify
from Downstream.ticket_head import find_head


def evaluate_on_target(invocation: Invocation, what: str) -> None:
    """Judge a run, ticket or file; write the result under OUT/Downstream/evaluations/.

    A Downstream run is judged with its own configuration (see `request_of`), everything else with the line's.

    Raises:
        InputError: `what` is none of these, is damaged, does not fit, or the run kept no trained network.
    """
    path = Path(what)
    run = read_run(path) if path.is_dir() else None
    own = run if run is not None and run.folder == invocation.folder else None
    if own is not None:
        request, subject = request_of(own, invocation), read_subject(path, own) if _found(own) else _network_of(own)
    else:
        subject = read_subject(path, run)
        request = _request(invocation, subject)
    config: DownstreamConfig = request.config
    device = choose_device(config.train.device)
    with threads(config.train.threads), float32_products(config.train.precision):
        started = time.monotonic()
        dataset = open_data(config.data)
        if own is not None:
            check_images(own, describe_data(dataset))
            outcome = _own_run(own, _state_of(own, subject), config, dataset, device)
        else:
            head = find_head(subject, config, dataset)
            evaluation = replace(config.evaluation, head="knn" if head is None else "ticket")
            request = replace(request, config=replace(config, evaluation=evaluation))
            outcome = _of_backbone(subject, request.config, dataset, device, head)
        write_evaluation(request, subject, outcome, device, seconds=time.monotonic() - started)


def _network_of(run: RecordedRun) -> Subject:
    """Name the network that a finished run kept."""
    file = run.path / TRAINED
    if run.result.get("protocol") == "knn":
        raise InputError(f"--evaluate: {run.path} is of protocol knn, which trains no network; judge its ticket instead")
    if not file.exists():
        raise InputError(f"--evaluate: {file} is missing: the run kept no network; run it with keep.trained last")
    return Subject(run.path, None, run, sha256_file(file))


def _request(invocation: Invocation, subject: Subject) -> Invocation:
    """Put what is judged in the place of the recipe's ticket or start.weights, so that the evaluation is named by it.

    Raises:
        InputError: the line names another one beside it, or asks of a file of weights what only a ticket has.
    """
    config, given = invocation.config, invocation.given
    if subject.ticket is None:
        asked = {name for name in given if name.startswith("ticket.")} - {"ticket.norm_statistics"}
        odd = sorted(asked - ({"ticket.control"} if given.get("ticket.control") == "dense" else set()))
        if odd:
            raise InputError(f"--{odd[0]}: {subject.path} is a file of weights, which has no mask; judge a ticket to use it")
        _require_alone(given, "start.weights", subject.path)
        config = replace(config, start=replace(config.start, weights=str(subject.path)))
    else:
        _require_alone(given, "ticket.file", subject.ticket)
    trained = subject.run is not None and "ticket.weights" not in given
    ticket = as_ticket(subject, config.ticket, "trained" if trained else config.ticket.weights)
    return replace(invocation, config=replace(config, ticket=ticket))


def _require_alone(given: Any, name: str, path: Path) -> None:
    if given.get(name) is not None and Path(given[name]) != path:
        raise InputError(f"--{name} names {given[name]}, --evaluate {path}; one is judged at a time, leave --{name} out")


def _found(run: RecordedRun) -> bool:
    """Say whether a run was a search on the task, whose networks lie beside its tickets."""
    return run.result.get("protocol") == "imp"


def _state_of(run: RecordedRun, subject: Subject) -> NetworkState:
    """Return the network that a run's result was measured on: of a search, that of its last round.

    Raises:
        InputError: it was not kept.
    """
    if not _found(run):
        file = run.path / TRAINED
        return read_weights(file, recorded_sha256(run.path / "result.json", file), named_by="the run's result").state
    if "selected_epoch" in (run.result.get("details") or {}):
        raise InputError(
            f"--evaluate: {run.path} was measured on the best epoch of its last round (select best), and a search keeps the last "
            f"one; judge the ticket's weights with --evaluate {subject.ticket}"
        )
    return load_ticket(subject.ticket).trained_weights() if subject.ticket is not None else NetworkState({}, {})


def _own_run(run: RecordedRun, state: NetworkState, config: DownstreamConfig, dataset: Dataset, device: torch.device) -> Outcome:
    """Judge a finished run's trained network on the split that its result was measured on."""
    split = config.evaluation.split
    backbone = fresh_backbone(config, dataset, width=width_of(run.result.get("details") or {}))
    network = Network(backbone, fresh_head(backbone, dataset, config.seed.task))
    restore_(network, state.joined())
    network.to(device)
    if config.train.channels_last and run.result["protocol"] in ("full", "imp"):  # as it was trained and measured
        network.to(memory_format=torch.channels_last)
    metrics = {f"{split}/{name}": value for name, value in classify(network, dataset.split(split), dataset, device).items()}
    kept: dict[str, Any] = {
        key: run.result[key] for key in ("protocol", "density", "control", "ticket", "mask_digest", "source", "flags")
    }
    return Outcome("classification", describe_data(dataset), split, dataset.metric, metrics, **kept)


def _of_backbone(
    subject: Subject, config: DownstreamConfig, dataset: Dataset, device: torch.device, head: nn.Linear | None
) -> Outcome:
    """Judge a backbone by a head, or without one by k-NN: the bank is the labelled training images, nothing is fitted."""
    backbone = fresh_backbone(config, dataset)
    start = start_subject_(
        subject,
        backbone,
        config.ticket,
        dataset,
        device,
        seed=config.seed.task,
        given=config.start,
        accept_mismatch=config.data.accept_input_mismatch,
    )
    split = config.evaluation.split
    if head is None:
        labelled = labelled_images(dataset, config.data, config.seed.task)
        features = Features(backbone, dataset, device, engine=config.features.engine)
        measured = judge_by_neighbours(features, dataset.split(split), labelled, config.evaluation.neighbours)
        details = {
            "labels": len(labelled.train),
            "neighbours": config.evaluation.neighbours,
            "features_engine": features.engine,
        }
    else:
        network = Network(backbone, head.to(device))
        measured, details = classify(network, dataset.split(split), dataset, device), {"head": "ticket"}
    return Outcome(
        task="classification",
        data=describe_data(dataset),
        split=split,
        metric=KNN_METRICS[dataset.metric] if head is None else dataset.metric,
        metrics={f"{split}/{name}": value for name, value in measured.items()},
        protocol="knn" if head is None else "head",
        density=start.density,
        control=start.control,
        ticket=start.ticket.digest if start.ticket else None,
        mask_digest=start.mask.digest() if start.mask else None,
        source=start.source,
        flags=start.flags,
        details={
            **details,
            "norm_statistics": start.norm_statistics,
            "weights": config.ticket.weights if start.ticket else None,
        },
    )
