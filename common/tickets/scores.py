"""Scores: what ranks the weights of a scope. Higher scores are kept.

Scores are functions of the *parameters* as they stand, never of a cached product of weight and mask: such caches go stale
where a model is replicated and turned published runs into one-shot pruning (tests/common/tickets/test_scores.py).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from common.randomness import generator


def magnitude(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Score by absolute value (Han et al. 2015; Frankle and Carbin 2019).

    Args:
        weights: name -> parameter or tensor, any float dtype, any device.

    Returns:
        name -> |weight|, float32 on the CPU, a copy.
    """
    return {name: weight.detach().to("cpu", torch.float32).abs() for name, weight in weights.items()}


def random(weights: Mapping[str, Tensor], *, seed: int, round: int) -> dict[str, Tensor]:
    """Score by a uniform draw in [0, 1), the control that ignores the weights.

    Args:
        weights: name -> tensor; only the shapes matter.
        seed: the run's seed, >= 0.
        round: the pruning round, so that every round draws anew.

    Returns:
        name -> float32 scores on the CPU, drawn in sorted order of names.
    """
    draws = generator(seed, "random_score", round)
    return {name: torch.rand(weights[name].shape, generator=draws) for name in sorted(weights)}
