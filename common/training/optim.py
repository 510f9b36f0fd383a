"""Optimizers and learning-rate schedules."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

from common.config import OptimConfig
from common.durations import steps

Schedule = Callable[[int], float]


def build_optimizer(groups: list[dict[str, Any]], config: OptimConfig) -> torch.optim.Optimizer:
    """Build a fresh optimizer over parameter groups."""
    return torch.optim.SGD(
        groups, lr=config.lr, momentum=config.momentum, nesterov=config.nesterov, weight_decay=config.weight_decay
    )


def build_schedule(config: OptimConfig, total: int, steps_per_epoch: int) -> Schedule:
    """Build the learning rate as a function of the step.

    A linear warm-up from 0 that reaches the peak with its last step, then the schedule over the steps that remain: constant,
    half a cosine to 0 (Loshchilov and Hutter 2017, without restarts), or multiplied by gamma at each milestone.

    Args:
        config: kind, peak, warm-up, milestones.
        total: optimizer steps in all.
        steps_per_epoch: for durations in epochs.

    Returns:
        step (0-based) -> learning rate.

    Raises:
        InputError: an ill-typed duration.
    """
    warmup = steps(config.warmup, steps_per_epoch)
    milestones = [steps(text, steps_per_epoch) for text in config.milestones]

    def rate(step: int) -> float:
        if step < warmup:
            return config.lr * (step + 1) / warmup
        if config.schedule == "cosine":
            return config.lr * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, total - warmup)))
        if config.schedule == "multistep":
            return config.lr * config.gamma ** sum(step >= milestone for milestone in milestones)
        return config.lr

    return rate


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of every group; a group's "lr_scale" multiplies it."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("lr_scale", 1.0)
