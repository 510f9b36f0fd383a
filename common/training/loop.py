"""The loop: optimizer steps of a task with a mask held. It knows nothing of objectives, data or rounds beyond a number."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from common.errors import RunError
from common.tickets.hold import Hold
from common.training.logs import Log
from common.training.optim import Schedule, set_rate
from common.training.progress import Progress
from common.training.task import Task


@dataclass(frozen=True)
class Span:
    """Which steps of a round are trained: from `first` up to, not including, `last`."""

    round: int
    first: int
    last: int


def fit(
    task: Task,
    optimizer: torch.optim.Optimizer,
    schedule: Schedule,
    span: Span,
    *,
    log: Log,
    hold: Hold | None = None,
    after_step: Callable[[int], None] = lambda done: None,
    progress: Progress | None = None,
) -> None:
    """Train a task over a span of steps.

    Args:
        task: what is trained.
        optimizer: over the task's parameter groups.
        schedule: step -> learning rate.
        span: the round and its steps; the first may lie inside an epoch.
        log: takes every step's losses.
        hold: the mask, if any: gradients are masked before the optimizer's step, so that weights and momentum, which start at
            zero where pruned, stay there; that is asserted at the end.
        after_step: called with the number of steps done in the round; saves checkpoints and rewind points.
        progress: counts steps.

    Raises:
        RunError: a loss is not finite, or a pruned weight has moved.
    """
    task.network.train()
    for step, batch in _steps(task, span):
        rate = schedule(step)
        set_rate(optimizer, rate)
        optimizer.zero_grad(set_to_none=True)
        losses = task.loss(batch)
        losses["total"].backward()
        if hold is not None:
            hold.grads_()
        optimizer.step()
        task.after_step()
        log.losses(span.round, step, rate, losses)
        after_step(step + 1)
        if progress is not None:
            progress.advance()
    log.read()
    if hold is not None and not hold.is_held(optimizer):
        raise RunError(
            f"a pruned weight or its momentum is not zero at the end of round {span.round}; this is a bug, please report it"
        )


def _steps(task: Task, span: Span) -> Iterator[tuple[int, Any]]:
    """Yield (step, batch) over the span, entering the first epoch where the span begins."""
    step = span.first
    while step < span.last:
        epoch, first = divmod(step, task.steps_per_epoch)
        for batch in task.train_batches(span.round, epoch, first):
            yield step, batch
            step += 1
            if step == span.last:
                return
