"""`python -m Downstream --evaluate RUN|TICKET|FILE`: judge what exists on the target; nothing is trained.

A Downstream run is judged by its own trained network. A search's run, a ticket or a file of weights has no head for the target,
so its backbone is judged by k-NN among the labelled training images.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch

from common.cli import Invocation
from common.config import from_tree
from common.data.datasets import Dataset, open_data
from common.errors import InputError
from common.files import read_json
from common.metrics.knn import knn_accuracy
from common.models.heads import Network, linear_head
from common.tickets.rewind import restore_
from common.tickets.trained import TRAINED, recorded_sha256
from common.tickets.weights_file import read_weights
from common.training.device import choose_device, threads
from common.training.evaluation import Subject, prepare_backbone_, read_subject, write_evaluation
from common.training.frozen import features_of
from common.training.pretraining import describe_data
from common.training.results import Outcome
from Downstream.config import DownstreamConfig
from Downstream.labels import labelled_images
from Downstream.task import classify
from Downstream.transfer import fresh_backbone


def evaluate_on_target(invocation: Invocation, what: str) -> None:
    """Judge a run, ticket or file; write the result under OUT/Downstream/evaluations/.

    Raises:
        InputError: `what` is none of these, is damaged, does not fit, or the run kept no trained network.
    """
    path = Path(what)
    record = read_json(path / "run.json") if path.is_dir() else {}
    own = str(record.get("run", "")).startswith(f"{invocation.folder}/")
    if own:
        recipe = record["run"].split("/")[1].rpartition("-")[0]
        invocation = Invocation(invocation.folder, recipe, from_tree(DownstreamConfig, record["config"]))
    config = invocation.config
    device = choose_device(config.train.device)
    with threads(config.train.threads):
        started = time.monotonic()
        dataset = open_data(config.data)
        if own:
            subject, outcome = _own_run(path, config, dataset, device)
        else:
            subject, outcome = _by_neighbours(path, config, dataset, device)
        write_evaluation(invocation, subject, outcome, device, seconds=time.monotonic() - started)


def _own_run(path: Path, config: DownstreamConfig, dataset: Dataset, device: torch.device) -> tuple[Subject, Outcome]:
    """Judge a finished run's trained network on the split that its result was measured on."""
    file = path / TRAINED
    if not file.exists():
        raise InputError(
            f"--evaluate: {file} is missing: the run is not finished, or kept no network; run it with keep.trained last"
        )
    result = read_json(path / "result.json")
    backbone = fresh_backbone(config, dataset)
    head = linear_head(int(backbone.num_features), len(dataset.classes), seed=config.seed.task)
    network = Network(backbone, head)
    restore_(network, read_weights(file, recorded_sha256(path / "result.json", file), named_by="result.json").state.joined())
    network.to(device)
    split = config.evaluation.split
    metrics = {f"{split}/{name}": value for name, value in classify(network, dataset.split(split), dataset, device).items()}
    kept: dict[str, Any] = {
        key: result[key] for key in ("protocol", "density", "control", "ticket", "mask_digest", "source", "flags")
    }
    outcome = Outcome("classification", describe_data(dataset), split, "top1", metrics, **kept, details={"evaluated": str(path)})
    return Subject(file), outcome


def _by_neighbours(path: Path, config: DownstreamConfig, dataset: Dataset, device: torch.device) -> tuple[Subject, Outcome]:
    """Judge a backbone by k-NN: the bank is the labelled training images, nothing is fitted."""
    subject = read_subject(path)
    backbone = fresh_backbone(config, dataset).to(device)
    accept = config.data.accept_input_mismatch
    statistics = prepare_backbone_(subject, backbone, dataset, device, accept_mismatch=accept)
    bank, split = labelled_images(dataset, config.data, config.seed.task).train, config.evaluation.split
    queries = dataset.split(split)
    value = knn_accuracy(
        features_of(backbone, queries, dataset.input, device),
        queries.labels.to(device),
        features_of(backbone, bank, dataset.input, device),
        bank.labels.to(device),
        k=config.evaluation.neighbours,
    )
    ticket = subject.ticket
    outcome = Outcome(
        task="classification",
        data=describe_data(dataset),
        split=split,
        metric="knn_accuracy",
        metrics={f"{split}/knn_accuracy": value},
        protocol="knn",
        density=ticket.density if ticket else 1.0,
        control="ticket" if ticket else "dense",
        ticket=ticket.digest if ticket else None,
        mask_digest=ticket.header["mask_digest"] if ticket else None,
        details={
            "labels": len(bank),
            "neighbours": config.evaluation.neighbours,
            "norm_statistics": statistics,
            "evaluated": str(path),
        },
    )
    return subject, outcome
