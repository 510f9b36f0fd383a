"""One transfer: fill the backbone, train what the protocol trains, touch the test split once, write the result."""

from __future__ import annotations

import functools
import time
from dataclasses import dataclass

import torch
from torch import nn

from common.cli import Invocation
from common.data.datasets import Dataset, Images
from common.data.file_images import FileImages
from common.models.features import reestimate_norm_statistics_
from common.tickets.rewind import capture
from common.tickets.ticket import load_ticket
from common.tickets.trained import TRAINED
from common.tickets.weights_file import NetworkState, save_weights
from common.training.checkpoint import load_checkpoint
from common.training.dense_long import search_epochs
from common.training.distributed import broadcast
from common.training.frozen import normalised_batches
from common.training.pretraining import describe_data
from common.training.results import Outcome, write_result
from common.training.run import Run, open_run
from common.training.session import session
from common.training.small_dense import Narrower, narrower
from common.training.transfer import Start, start_
from Downstream.config import DownstreamConfig
from Downstream.features import Features
from Downstream.labels import Labelled, absence_flags, check_labels
from Downstream.protocols import Judged, build_task, follow_protocol
from Downstream.target import fresh_backbone, open_target


@dataclass(frozen=True)
class Arm:
    """All that a transfer works on; `search_epochs` is what control dense_long trains for beside the task's own epochs."""

    config: DownstreamConfig
    dataset: Dataset
    labelled: Labelled
    backbone: nn.Module
    start: Start
    device: torch.device
    search_epochs: float = 0.0

    @functools.cached_property
    def features(self) -> Features:
        """Features of the frozen backbone."""
        config = self.config
        standardise = config.protocol == "linear" and config.linear.standardise
        return Features(self.backbone, self.dataset, self.device, engine=config.features.engine, standardise=standardise)

    @property
    def chooser(self) -> Images | FileImages | None:
        """The images whose labels choose among L2 strengths; None where folds of the training labels do."""
        return chooser(self.labelled, self.config)


def transfer(invocation: Invocation) -> None:
    """Run one transfer, or continue it, or say that it is done.

    Raises:
        InputError: bad input; nothing is written.
        DivergenceError: a loss or a weight is not finite.
    """
    config = invocation.config
    with session(invocation) as device:
        if device is None:
            return
        started = time.monotonic()
        arm = build_arm(config, device)
        task = build_task(arm)
        with open_run(invocation, device, describe_data(arm.dataset)) as run:
            if run is None:
                return
            resumed = broadcast(load_checkpoint(run.checkpoint) if run.writes and task is not None else None)
            judged = follow_protocol(arm, task, run, resumed)
            if run.writes:
                earlier = resumed.seconds if resumed is not None else 0.0
                _finish(arm, run, judged, seconds=earlier + time.monotonic() - started)


def build_arm(config: DownstreamConfig, device: torch.device) -> Arm:
    """Load the target, build the backbone, and fill it from the ticket or control.

    Raises:
        InputError: bad input of any kind; see `common.training.transfer.start_`.
    """
    dataset, labelled = open_target(config)
    several = config.protocol == "linear" and config.linear.solver == "lbfgs" and len(config.linear.l2) > 1
    at_least = config.linear.folds if several and chooser(labelled, config) is None else 1
    check_labels(labelled, len(dataset.classes), at_least, balanced=config.data.labels is None or config.data.balanced)
    narrow = _narrower(config, dataset)
    backbone = fresh_backbone(config, dataset, width=narrow.width if narrow else None)
    start = start_(
        backbone,
        config.ticket,
        dataset,
        seed=config.seed.task,
        given=config.start,
        protocol=config.protocol,
        accept_mismatch=config.data.accept_input_mismatch,
        narrower=narrow,
    )
    backbone.to(device)
    if start.norm_statistics == "reestimate":
        reestimate_norm_statistics_(backbone, normalised_batches(dataset.train, dataset.input, device, equal=True))
    longer = search_epochs(start.ticket) if start.control == "dense_long" and start.ticket is not None else 0.0
    return Arm(config, dataset, labelled, backbone, start, device, longer)


def _narrower(config: DownstreamConfig, dataset: Dataset) -> Narrower | None:
    """Return the network of control small_dense; None for every other arm."""
    if config.ticket.file is None or config.ticket.control != "small_dense":
        return None
    return narrower(load_ticket(config.ticket.file), config.model, dataset.input, config.ticket.equal)


def chooser(labelled: Labelled, config: DownstreamConfig) -> Images | FileImages | None:
    """Return the images whose labels choose among L2 strengths; None where folds of the training labels do."""
    return labelled.validation if config.evaluation.split == "test" else None


def _finish(arm: Arm, run: Run, judged: Judged, *, seconds: float) -> None:
    """Measure once, keep the network where asked, write the result, mark the run done."""
    config, split = arm.config, arm.config.evaluation.split
    metrics = {f"{split}/{name}": value for name, value in judged.measure(arm.dataset.split(split)).items()}
    kept = {}
    if config.keep.trained != "none" and judged.network is not None:
        sha256 = save_weights(run.path / TRAINED, NetworkState.split(capture(judged.network)))
        kept = {"trained": {"file": TRAINED, "sha256": sha256}}
    ticket = arm.start.ticket
    outcome = Outcome(
        task="classification",
        data=describe_data(arm.dataset),
        split=split,
        metric=judged.metric,
        metrics=metrics,
        protocol=config.protocol,
        density=arm.start.density,
        control=arm.start.control,
        ticket=ticket.digest if ticket else None,
        mask_digest=arm.start.mask.digest() if arm.start.mask else None,
        source=arm.start.source,
        flags=(*arm.start.flags, *absence_flags(arm.dataset, split)),
        details={
            "labels": arm.labelled.count,
            "classes_with_labels": arm.labelled.classes,
            "norm_statistics": arm.start.norm_statistics,
            "start": arm.start.given,
            "importer": arm.start.importer,
            **({"small_dense": arm.start.narrower.to_json()} if arm.start.narrower else {}),
            **judged.details,
            **kept,
        },
    )
    result = write_result(run.path / "result.json", run.facts, outcome, seconds=seconds)
    run.mark(status="done")
    run.checkpoint.unlink(missing_ok=True)
    print(f"{run.path}: {outcome.control} at density {outcome.density:.4f}: {split} {judged.metric} {result['value']:.4f}")
