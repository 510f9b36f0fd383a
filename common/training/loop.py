"""The loop: optimizer steps of a task with a mask held. It knows nothing of objectives, data or rounds beyond a number."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from common.errors import RunError
from common.tickets.hold import Hold
from common.training.logs import Log
from common.training.optim import Schedule, set_rate
from common.training.precision import Precision, autocast
from common.training.progress import Progress
from common.training.task import Task


@dataclass(frozen=True)
class Span:
    """Which steps of a round are trained: from `first` up to, not including, `last`."""

    round: int
    first: int
    last: int


@dataclass(frozen=True)
class Rules:
    """How a step is made: batches whose mean gradient it takes, the largest gradient norm, the forward pass's precision."""

    accumulate: int = 1
    clip: float | None = None
    precision: Precision = "fp32"


def fit(
    task: Task,
    optimizer: torch.optim.Optimizer,
    schedule: Schedule,
    span: Span,
    *,
    log: Log,
    rules: Rules = Rules(),
    hold: Hold | None = None,
    after_step: Callable[[int], bool | None] = lambda done: None,
    progress: Progress | None = None,
) -> None:
    """Train a task over a span of steps.

    Args:
        task: what is trained.
        optimizer: over the task's parameter groups.
        schedule: step -> learning rate.
        span: the round and its steps; the first may lie inside an epoch.
        log: takes every step's losses.
        rules: accumulation, clipping, precision.
        hold: the mask, if any: gradients are masked once per step, before clipping, so that weights and optimizer state, which
            start at zero where pruned, stay there; that is asserted at the end.
        after_step: called with the number of steps done in the round; saves checkpoints and rewind points. True ends the span.
        progress: counts steps.

    Raises:
        RunError: a loss is not finite, or a pruned weight has moved.
    """
    task.network.train()
    for step, batches in _steps(task, span, rules.accumulate):
        rate = schedule(step)
        set_rate(optimizer, rate)
        optimizer.zero_grad(set_to_none=True)
        losses = _backward(task, batches, rules)
        if hold is not None:
            hold.grads_()
        if rules.clip is not None:
            torch.nn.utils.clip_grad_norm_(task.network.parameters(), rules.clip)
        optimizer.step()
        task.after_step()
        log.losses(span.round, step, rate, losses)
        ends = after_step(step + 1)
        if progress is not None:
            progress.advance()
        if ends:
            break
    log.read()
    if hold is not None and not hold.is_held(optimizer):
        raise RunError(
            f"a pruned weight or its optimizer state is not zero after round {span.round}; this is a bug, please report it"
        )


def _backward(task: Task, batches: list[Any], rules: Rules) -> dict[str, Tensor]:
    """Add up the gradients of a step's batches, each weighted alike; return the mean losses."""
    total: dict[str, Tensor] = {}
    device = next(task.network.parameters()).device
    for number, batch in enumerate(batches, start=1):
        with task.no_sync() if number < len(batches) else nullcontext():
            with autocast(device, rules.precision):
                losses = task.loss(batch)
            (losses["total"] / len(batches)).backward()
        for name, value in losses.items():
            part = value.detach() / len(batches)
            total[name] = total[name] + part if name in total else part
    return total


def _steps(task: Task, span: Span, accumulate: int) -> Iterator[tuple[int, list[Any]]]:
    """Yield (step, its batches) over the span, entering the first epoch where the span begins."""
    step = span.first
    while step < span.last:
        epoch, first = divmod(step, task.steps_per_epoch)
        batches = []
        for batch in task.train_batches(span.round, epoch, first):
            batches.append(batch)
            if len(batches) < accumulate:
                continue
            yield step, batches
            batches = []
            step += 1
            if step == span.last or step % task.steps_per_epoch == 0:
                break
