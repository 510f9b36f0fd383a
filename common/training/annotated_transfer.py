"""Transfer a ticket or control to a task on annotated images: fill, train with the mask held, touch the test split once."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from common.cli import Invocation
from common.models.features import reestimate_norm_statistics_
from common.tickets.rewind import capture
from common.tickets.ticket import load_ticket
from common.tickets.trained import TRAINED
from common.tickets.weights_file import NetworkState, save_weights
from common.training.annotated_epochs import loader_of_split
from common.training.annotated_setting import AnnotatedTask, Kind, Setting, fresh_backbone, open_images
from common.training.checkpoint import Checkpoint, load_checkpoint
from common.training.dense_long import lengthened, search_epochs
from common.training.distributed import broadcast
from common.training.logs import Log, open_log
from common.training.loop import Span
from common.training.pretraining import describe_data
from common.training.progress import Progress
from common.training.results import Outcome, write_result
from common.training.run import Run, open_run
from common.training.session import session
from common.training.small_dense import narrower
from common.training.span import check_durations, train_span
from common.training.transfer import Start, start_


@dataclass(frozen=True)
class _Arm:
    """What a transfer works on; `config` has the epochs that the arm is trained for."""

    setting: Setting
    task: AnnotatedTask
    start: Start
    config: Any
    details: Mapping[str, Any]


def transfer(invocation: Invocation, kind: Kind) -> None:
    """Run one transfer, or continue it, or say that it is done.

    Raises:
        InputError: bad input; nothing is written.
        DivergenceError: a loss or a weight is not finite.
    """
    with session(invocation) as device:
        if device is None:
            return
        started = time.monotonic()
        arm = _build(invocation.config, kind, device)
        with open_run(invocation, device, describe_data(arm.setting.dataset)) as run:
            if run is None:
                return
            resumed = broadcast(load_checkpoint(run.checkpoint) if run.writes else None)
            earlier = resumed.seconds if resumed is not None else 0.0
            with closing(open_log(run, (0, resumed.step) if resumed is not None else (0, 0))) as log:
                details = {**_train(arm, run, log, resumed), **arm.details}
                measured = arm.task.evaluate(arm.config.evaluation.split)
                if run.writes:
                    _show(arm, run, log, measured)
                    _finish(arm, run, kind, measured, details, seconds=earlier + time.monotonic() - started)


def _build(config: Any, kind: Kind, device: Any) -> _Arm:
    """Load the images, build the backbone, fill it from the ticket or control, build the task."""
    dataset, narrow = open_images(config), None
    if config.ticket.file is not None and config.ticket.control == "small_dense":
        narrow = narrower(load_ticket(config.ticket.file), config.model, dataset.input, config.ticket.equal)
    backbone = fresh_backbone(config, seed=config.seed.task, stream="fresh", width=narrow.width if narrow else None)
    start = start_(
        backbone,
        config.ticket,
        dataset,
        seed=config.seed.task,
        given=config.start,
        protocol="full",
        accept_mismatch=config.data.accept_input_mismatch,
        narrower=narrow,
    )
    setting = Setting(config, dataset, backbone.to(device), device)
    task = kind.build(setting)
    if start.norm_statistics == "reestimate":
        _reestimate_(task, setting)
    check_durations(config, task.steps_per_epoch)
    details: dict[str, Any] = {"small_dense": narrow.to_json()} if narrow else {}
    if start.control == "dense_long" and start.ticket is not None:
        longer = search_epochs(start.ticket)
        config = lengthened(config, longer, task.steps_per_epoch)
        details |= {"epochs": config.train.epochs, "search_epochs": longer}
    return _Arm(setting, task, start, config, details)


def _reestimate_(task: AnnotatedTask, setting: Setting) -> None:
    """Replace the backbone's norm statistics by those of the training images, letter-boxed, in whole batches."""
    config, images = setting.config, setting.dataset.train
    loader = loader_of_split(config, setting.dataset, "train", setting.device, varied=False)
    whole = len(images) - len(images) % config.train.batch_size
    batches = loader.evaluation_batches(config.train.batch_size, part=slice(whole))
    reestimate_norm_statistics_(task.backbone, (batch.images for batch in batches))


def _train(arm: _Arm, run: Run, log: Log, resumed: Checkpoint | None) -> dict[str, float]:
    """Train with the mask held; leave the network that is judged in the task."""
    task, config = arm.task, arm.config
    task.prepare_(config.train)
    last = config.train.epochs * task.steps_per_epoch
    show, done = config.log.progress and run.writes, resumed.step if resumed is not None else 0
    with Progress(run.name, last, done=done, show=show) as progress:
        train_span(task, config, run, Span(0, 0, last), arm.start.mask, log=log, progress=progress, resumed=resumed)
    return dict(task.take_best())


def _show(arm: _Arm, run: Run, log: Log, measured: Mapping[str, float]) -> None:
    """Write what was measured into the logs, and draw."""
    split, last = arm.config.evaluation.split, arm.config.train.epochs * arm.task.steps_per_epoch
    images = arm.task.images
    lost = {"objects/dropped": images.dropped, "objects/kept": images.kept} if images.dropped else {}  # of this attempt
    log.values(0, last, {f"{split}/{name}": value for name, value in measured.items()} | lost)
    arm.task.show(split, run.path, log, (0, last))


def _finish(
    arm: _Arm, run: Run, kind: Kind, measured: Mapping[str, float], details: Mapping[str, Any], *, seconds: float
) -> None:
    """Keep the network where asked, write the result, mark the run done."""
    config, split, start = arm.config, arm.config.evaluation.split, arm.start
    kept: dict[str, Any] = {}
    if config.keep.trained != "none":
        sha256 = save_weights(run.path / TRAINED, NetworkState.split(capture(arm.task.network)))
        kept = {"trained": {"file": TRAINED, "sha256": sha256}}
    outcome = Outcome(
        task=kind.task,
        data=describe_data(arm.setting.dataset),
        split=split,
        metric=arm.task.main_metric,
        metrics={f"{split}/{name}": value for name, value in measured.items()},
        protocol="full",
        density=start.density,
        control=start.control,
        ticket=start.ticket.digest if start.ticket else None,
        mask_digest=start.mask.digest() if start.mask else None,
        source=start.source,
        flags=start.flags,
        details={
            "norm_statistics": start.norm_statistics,
            "start": start.given,
            "importer": start.importer,
            "mended": dict(arm.setting.dataset.mended),
            **arm.task.facts(),
            **details,
            **kept,
        },
    )
    result = write_result(run.path / "result.json", run.facts, outcome, seconds=seconds)
    run.mark(status="done")
    run.checkpoint.unlink(missing_ok=True)
    print(f"{run.path}: {outcome.control} at density {outcome.density:.4f}: {split} {outcome.metric} {result['value']:.4f}")
