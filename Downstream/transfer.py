"""One transfer: fill the backbone, train what the protocol trains, touch the test split once, write the result."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from common.cli import Invocation
from common.data.datasets import Dataset, Images, open_data
from common.data.file_images import FileImages
from common.errors import InputError
from common.models.backbones import build_backbone
from common.models.features import reestimate_norm_statistics_
from common.models.heads import Network, linear_head
from common.tickets.rewind import capture
from common.tickets.trained import TRAINED
from common.tickets.weights_file import NetworkState, save_weights
from common.training.checkpoint import Checkpoint, load_checkpoint
from common.training.distributed import broadcast
from common.training.frozen import features_of, normalised_batches
from common.training.logs import open_log
from common.training.loop import Span
from common.training.pretraining import describe_data
from common.training.progress import Progress
from common.training.results import Outcome, write_result
from common.training.run import Run, open_run
from common.training.session import session
from common.training.span import check_durations, train_span
from common.training.transfer import Start, start_
from Downstream.config import DownstreamConfig
from Downstream.labels import Labelled, check_labels, labelled_images
from Downstream.linear import fit_linear, standardisation
from Downstream.task import ClassificationTask, classify


@dataclass(frozen=True)
class Arm:
    """All that a transfer works on."""

    config: DownstreamConfig
    dataset: Dataset
    labelled: Labelled
    backbone: nn.Module
    start: Start
    device: torch.device


def transfer(invocation: Invocation) -> None:
    """Run one transfer, or continue it, or say that it is done.

    Raises:
        InputError: bad input; nothing is written.
        RunError: a loss is not finite.
    """
    config = invocation.config
    with session(invocation) as device:
        if device is None:
            return
        started = time.monotonic()
        arm = build_arm(config, device)
        task = _full_task(arm) if config.protocol == "full" else None
        with open_run(invocation, device, describe_data(arm.dataset)) as run:
            if run is None:
                return
            resumed = broadcast(load_checkpoint(run.checkpoint) if run.writes and task is not None else None)
            network, details = _linear(arm) if task is None else _full(arm, task, run, resumed)
            if run.writes:
                earlier = resumed.seconds if resumed is not None else 0.0
                _finish(arm, run, network, details, seconds=earlier + time.monotonic() - started)


def build_arm(config: DownstreamConfig, device: torch.device) -> Arm:
    """Load the target, build the backbone, and fill it from the ticket or control.

    Raises:
        InputError: bad input of any kind; see `common.training.transfer.start_`.
    """
    dataset = open_data(config.data)
    labelled = labelled_images(dataset, config.data, config.seed.task)
    if len(dataset.classes) < 2:
        raise InputError(f"data.name: {dataset.name} has one class, expected at least 2 to tell apart")
    chooses_by_folds = config.protocol == "linear" and len(config.linear.l2) > 1 and chooser(labelled, config) is None
    check_labels(labelled, len(dataset.classes), config.linear.folds if chooses_by_folds else 1)
    backbone = fresh_backbone(config, dataset)
    start = start_(
        backbone,
        config.ticket,
        dataset,
        seed=config.seed.task,
        given=config.start,
        protocol=config.protocol,
        accept_mismatch=config.data.accept_input_mismatch,
    )
    backbone.to(device)
    if start.norm_statistics == "reestimate":
        reestimate_norm_statistics_(backbone, normalised_batches(dataset.train, dataset.input, device, equal=True))
    return Arm(config, dataset, labelled, backbone, start, device)


def chooser(labelled: Labelled, config: DownstreamConfig) -> Images | FileImages | None:
    """Return the images whose labels choose among L2 strengths; None where folds of the training labels do."""
    return labelled.validation if config.evaluation.split == "test" else None


def fresh_backbone(config: DownstreamConfig, dataset: Dataset) -> nn.Module:
    """Build the backbone with fresh random weights of the task's seed.

    Raises:
        InputError: unknown backbone or stem.
    """
    return build_backbone(
        config.model.name,
        stem=config.model.stem,
        in_chans=dataset.input.channels,
        seed=config.seed.task,
        stream="fresh",
        size=dataset.input.size,
        patch=config.model.patch,
        variant=config.model.variant,
    )


def _linear(arm: Arm) -> tuple[Network, dict[str, Any]]:
    """Fit a linear head to the frozen backbone's features."""
    config = arm.config
    train = arm.labelled.train
    chooses = chooser(arm.labelled, config)
    fit = fit_linear(
        _features(arm, train),
        train.labels,
        config.linear,
        standard=standardisation(_features(arm, arm.dataset.train)),
        num_classes=len(arm.dataset.classes),
        seed=config.seed.task,
        validation=(_features(arm, chooses), chooses.labels) if chooses is not None else None,
    )
    details = {"l2": fit.l2, "l2_scores": fit.scores, "converged": fit.converged}
    return Network(arm.backbone, fit.head.to(arm.device)), details


def _features(arm: Arm, images: Images | FileImages) -> torch.Tensor:
    return features_of(arm.backbone, images, arm.dataset.input, arm.device)


def _full_task(arm: Arm) -> ClassificationTask:
    """Put a fresh linear head on the backbone and make the task."""
    config = arm.config
    head = linear_head(int(arm.backbone.num_features), len(arm.dataset.classes), seed=config.seed.task)
    network = Network(arm.backbone, head.to(arm.device))
    task = ClassificationTask(config, network, arm.dataset, arm.labelled, arm.device, config.seed.task)
    check_durations(config, task.steps_per_epoch)
    return task


def _full(arm: Arm, task: ClassificationTask, run: Run, resumed: Checkpoint | None) -> tuple[Network, dict[str, Any]]:
    """Train every kept weight and the head, the mask held."""
    config = arm.config
    task.prepare_(config.train)
    last, done = config.train.epochs * task.steps_per_epoch, resumed.step if resumed else 0
    log = open_log(run, (0, done))
    try:
        with Progress(run.name, last, done=done, show=config.log.progress and run.writes) as progress:
            train_span(
                task,
                config,
                run,
                Span(0, 0, last),
                arm.start.mask,
                log=log,
                progress=progress,
                resumed=resumed,
                at_step=task.choose,
            )
    finally:
        log.close()
    return task.network, dict(task.take_best())


def _finish(arm: Arm, run: Run, network: Network, details: Mapping[str, Any], *, seconds: float) -> None:
    """Measure once, keep the network where asked, write the result, mark the run done."""
    config, split = arm.config, arm.config.evaluation.split
    metrics = {
        f"{split}/{name}": value for name, value in classify(network, arm.dataset.split(split), arm.dataset, arm.device).items()
    }
    kept = {}
    if config.keep.trained != "none":
        sha256 = save_weights(run.path / TRAINED, NetworkState.split(capture(network)))
        kept = {"trained": {"file": TRAINED, "sha256": sha256}}
    ticket = arm.start.ticket
    outcome = Outcome(
        task="classification",
        data=describe_data(arm.dataset),
        split=split,
        metric="top1",
        metrics=metrics,
        protocol=config.protocol,
        density=arm.start.density,
        control=arm.start.control,
        ticket=ticket.digest if ticket else None,
        mask_digest=arm.start.mask.digest() if arm.start.mask else None,
        source=arm.start.source,
        flags=arm.start.flags,
        details={
            "labels": arm.labelled.count,
            "norm_statistics": arm.start.norm_statistics,
            "start": arm.start.given,
            **details,
            **kept,
        },
    )
    result = write_result(run.path / "result.json", run.facts, outcome, seconds=seconds)
    run.mark(status="done")
    run.checkpoint.unlink(missing_ok=True)
    print(f"{run.path}: {outcome.control} at density {outcome.density:.4f}: {split} top1 {result['value']:.4f}")
