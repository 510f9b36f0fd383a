"""Train a task at its learning rate, or at every rate of a sweep, of which validation chooses one.

Every rate starts from the same network and sees the same images in the same order, so that the network which a sweep chooses is
that of a run at this rate alone. In logs and checkpoints the number of the rate, in ascending order, stands where a search has
its round: a killed sweep goes on inside the rate that it was at.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from common.errors import DivergenceError, RunError
from common.tickets.mask import Mask
from common.tickets.rewind import capture
from common.training.checkpoint import Checkpoint
from common.training.logs import Log, open_log
from common.training.loop import Span
from common.training.progress import Progress
from common.training.run import Run
from common.training.selecting import SelectingTask
from common.training.span import train_span
from Downstream.config import DownstreamConfig


def train_task(
    task: SelectingTask, config: DownstreamConfig, run: Run, mask: Mask | None, resumed: Checkpoint | None
) -> dict[str, Any]:
    """Train a task with its mask held; leave the chosen network in it.

    Args:
        task: what is trained, at its start.
        config: rates, epochs, which epoch is selected.
        run: the run directory, locked.
        mask: what is held, by names relative to the task's backbone; None where nothing is.
        resumed: a checkpoint of this run, to continue behind.

    Returns:
        For the result's details: with `select best` the epoch; with a sweep "sweep", the value that each rate reached on the
        labels that choose (None where it diverged), and the "lr" that was chosen.

    Raises:
        DivergenceError: a loss or a weight is not finite; of a sweep, at every rate.
    """
    task.prepare_(config.train)
    start = capture(task.network)
    position = (resumed.round, resumed.step) if resumed is not None else (0, 0)
    rates, last = sorted(config.optim.sweep) or [config.optim.lr], config.train.epochs * task.steps_per_epoch
    log = open_log(run, position)
    try:
        done, show = position[0] * last + position[1], config.log.progress and run.writes
        with Progress(run.name, len(rates) * last, done=done, show=show) as progress:
            if not config.optim.sweep:
                _train(task, config, run, mask, resumed, Span(0, 0, last), log, progress)
                return dict(task.take_best())
            for number, rate in list(enumerate(rates))[position[0] :]:
                at_rate = replace(config, optim=replace(config.optim, lr=rate))
                here = resumed if resumed is not None and resumed.round == number else None
                _try_rate(task, at_rate, run, mask, here, Span(number, 0, last), log, progress)
                task.start_again_(start)
    finally:
        log.close()
    return _choose(task)


def _train(
    task: SelectingTask,
    config: DownstreamConfig,
    run: Run,
    mask: Mask | None,
    resumed: Checkpoint | None,
    span: Span,
    log: Log,
    progress: Progress,
) -> None:
    train_span(task, config, run, span, mask, log=log, progress=progress, resumed=resumed)


def _try_rate(
    task: SelectingTask,
    config: DownstreamConfig,
    run: Run,
    mask: Mask | None,
    resumed: Checkpoint | None,
    span: Span,
    log: Log,
    progress: Progress,
) -> None:
    """Train at one rate, and put what it reached among what the task carries."""
    rate, metric = config.optim.lr, task.main_metric
    tried: dict[str, Any] = {"lr": rate, "value": None}
    try:
        _train(task, config, run, mask, resumed, span, log, progress)
        best = task.take_best()
        metrics = task.validate()
        if metrics is None:
            raise RunError("a sweep has no labels to choose by; this is a bug, please report it")
        tried |= {"value": metrics[metric], **({"selected_epoch": best["selected_epoch"]} if best else {})}
        log.values(span.round, span.last, {f"validation/{name}": value for name, value in metrics.items()})
        progress.say(f"learning rate {rate:g}: validation {metric} {metrics[metric]:.4f}")
    except DivergenceError as error:
        progress.warn(f"learning rate {rate:g} diverged: {error}")
    _carry(task, tried)


def _carry(task: SelectingTask, tried: Mapping[str, Any]) -> None:
    """Add a rate to what the task carries, its network too where it is the best; of equal ones the lower rate stays."""
    before, value = task.carried.get("best", -math.inf), tried["value"]
    task.carried = {**task.carried, "tried": [*task.carried.get("tried", []), dict(tried)]}
    if value is not None and value > before:
        network: dict[str, Tensor] = capture(task.network)
        task.carried |= {"best": value, "lr": tried["lr"], "network": network}


def _choose(task: SelectingTask) -> dict[str, Any]:
    carried = task.carried
    if "network" not in carried:
        rates = ", ".join(f"{tried['lr']:g}" for tried in carried["tried"])
        raise DivergenceError(f"every learning rate of optim.sweep diverged ({rates}); give lower ones")
    task.start_again_(carried["network"])
    return {"sweep": carried["tried"], "lr": carried["lr"]}
