"""Train a span of steps as a recipe says: fresh optimizer, schedule, mask held, checkpoints, exact resume."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from common.config import RunConfig
from common.durations import steps
from common.errors import InputError
from common.tickets.early_bird import EarlyBird
from common.tickets.hold import Hold
from common.tickets.mask import Mask
from common.training.checkpoint import Checkpoint, require_finite, save_checkpoint
from common.training.logs import Log
from common.training.loop import Rules, Span, fit
from common.training.optim import build_optimizer, build_schedule
from common.training.progress import Progress
from common.training.run import Run
from common.training.task import Task


def check_durations(config: RunConfig, steps_per_epoch: int) -> None:
    """Refuse durations that `train_span` could not use, before anything is written.

    Raises:
        InputError: an ill-typed duration; names the option.
    """
    named = {"train.checkpoint_every": config.train.checkpoint_every, "optim.warmup": config.optim.warmup}
    named |= {f"optim.milestones[{i}]": text for i, text in enumerate(config.optim.milestones)}
    for name, text in named.items():
        try:
            steps(text, steps_per_epoch)
        except InputError as error:
            raise InputError(f"{name}: {error}") from error


_State = tuple[Task, torch.optim.Optimizer, Mask | None, EarlyBird | None]


@dataclass(frozen=True)
class Trained:
    """What the training of a span was.

    Attributes:
        last: steps done in the round: the span's end, or the step at which its mask had settled.
        seconds: what they took, those of earlier attempts included as far as the checkpoint has them.
    """

    last: int
    seconds: float


def train_span(
    task: Task,
    config: RunConfig,
    run: Run,
    span: Span,
    mask: Mask | None,
    *,
    log: Log,
    progress: Progress | None,
    resumed: Checkpoint | None,
    at_step: Callable[[int], None] = lambda done: None,
    early_bird: EarlyBird | None = None,
) -> Trained:
    """Train a task over a span, from its checkpoint where there is one.

    Args:
        task: what is trained.
        config: optimizer, schedule, how often to save.
        run: the run directory, locked.
        span: the round and its steps.
        mask: what is held, by names relative to the backbone; None for a dense run.
        log: takes the losses.
        progress: counts steps.
        resumed: a checkpoint inside this span, to continue behind.
        at_step: called with the number of steps done, before a checkpoint is saved there; shows `early_bird` its masks.
        early_bird: ends the span once its mask has settled; continued from the checkpoint.

    Returns:
        Where training ended, and the seconds that it took.

    Raises:
        DivergenceError: a loss or a weight is not finite, which every process finds; the last good checkpoint stays.
        InputError: a checkpoint cannot be written, or a duration is ill-typed.
    """
    optimizer = build_optimizer(task.parameter_groups(), config.optim)
    schedule = build_schedule(config.optim, span.last, task.steps_per_epoch)
    every = max(1, steps(config.train.checkpoint_every, task.steps_per_epoch))
    started = time.monotonic() - (resumed.seconds if resumed is not None else 0.0)
    if resumed is not None:
        span = _continue(task, optimizer, span, resumed, early_bird)
    hold = Hold(task.backbone.named_parameters(), mask) if mask is not None and mask.kept < mask.size else None
    trained = span.first

    def after_step(done: int) -> bool:
        nonlocal trained
        trained = done
        task.at_step(done)
        at_step(done)
        ends = _has_settled(early_bird)
        if done % every == 0 or done == span.last or ends:
            log.read()
            _save(run, (task, optimizer, mask, early_bird), span.round, done, seconds=time.monotonic() - started)
        return ends

    rules = Rules(config.train.accumulate, config.optim.clip, config.train.precision)
    fit(task, optimizer, schedule, span, log=log, rules=rules, hold=hold, after_step=after_step, progress=progress)
    return Trained(trained, time.monotonic() - started)


def _save(run: Run, state: _State, round_: int, step: int, *, seconds: float) -> None:
    """Save a checkpoint; a process that writes none looks at its weights all the same, so that all find what has diverged."""
    if run.writes:
        save_checkpoint(run.checkpoint, *state, round_=round_, step=step, seconds=seconds)
    else:
        require_finite(state[0].network.state_dict(), round_=round_, step=step)
    run.mark(round=round_, step=step)


def _has_settled(early_bird: EarlyBird | None) -> bool:
    return early_bird is not None and early_bird.has_settled


def _continue(
    task: Task, optimizer: torch.optim.Optimizer, span: Span, resumed: Checkpoint, early_bird: EarlyBird | None
) -> Span:
    """Put a checkpoint's state back; return what is left of the span: nothing where its mask had settled."""
    resumed.restore_(task, optimizer)
    if early_bird is not None and resumed.early_bird:
        early_bird.load_state_dict(resumed.early_bird)
    return Span(span.round, resumed.step, resumed.step if _has_settled(early_bird) else span.last)
