"""Optimizers and learning-rate schedules."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

from common.config import OptimConfig
from common.durations import steps
from common.training.lars import LARS

Schedule = Callable[[int], float]


def build_optimizer(groups: list[dict[str, Any]], config: OptimConfig) -> torch.optim.Optimizer:
    """Build a fresh optimizer over parameter groups, fused where torch offers it.

    Norms and biases (tensors of at most one dimension) get groups of their own: LARS does not adapt their rate, and they decay
    only where `decay_norms` says so.
    """
    split = [part for group in groups for part in _without_norms(group, config)]
    if config.name == "lars":
        return LARS(
            split,
            config.lr,
            momentum=config.momentum,
            weight_decay=config.weight_decay,
            trust_coefficient=config.trust_coefficient,
        )
    if config.name == "adamw":
        return torch.optim.AdamW(
            split, lr=config.lr, betas=config.betas, eps=config.eps, weight_decay=config.weight_decay, fused=_can_fuse(split)
        )
    return torch.optim.SGD(
        split,
        lr=config.lr,
        momentum=config.momentum,
        nesterov=config.nesterov,
        weight_decay=config.weight_decay,
        fused=_can_fuse(split),
    )


def _without_norms(group: dict[str, Any], config: OptimConfig) -> list[dict[str, Any]]:
    """Split a group into weights, and norms and biases."""
    parameters = list(group["params"])
    small = {"weight_decay": config.weight_decay if config.decays_norms else 0.0}
    if config.name == "lars":
        small["adapt"] = False
    parts = [
        {**group, "params": [p for p in parameters if p.ndim > 1]},
        {**group, **small, "params": [p for p in parameters if p.ndim <= 1]},
    ]
    return [part for part in parts if part["params"]]


def _can_fuse(groups: list[dict[str, Any]]) -> bool:
    """Say whether torch has a fused step for these parameters: all floating point, on CUDA or the CPU."""
    return all(p.is_floating_point() and p.device.type in ("cuda", "cpu") for group in groups for p in group["params"])


def build_schedule(config: OptimConfig, total: int, steps_per_epoch: int) -> Schedule:
    """Build the learning rate as a function of the step.

    A linear warm-up from 0 that reaches the peak with its last step, then the schedule over the steps that remain: constant,
    half a cosine to 0 or to `end` (Loshchilov and Hutter 2017, without restarts), multiplied by gamma at each milestone, or what
    is left of the training to a power, and no lower than `end`.

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
            part = 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, total - warmup)))
            return config.lr * (config.end + (1 - config.end) * part if config.end else part)
        if config.schedule == "poly":
            return config.lr * max(config.end, (1 - (step - warmup) / max(1, total - warmup)) ** config.power)
        if config.schedule == "multistep":
            return config.lr * config.gamma ** sum(step >= milestone for milestone in milestones)
        return config.lr

    return rate


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of every group; a group's "lr_scale" multiplies it."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("lr_scale", 1.0)
