"""RankMe, the effective rank of features (Garrido et al. 2023, arXiv:2210.02885, eq. 1)."""

from __future__ import annotations

import torch
from torch import Tensor

from common.errors import InputError, RunError

EPSILON = 1e-7


def rankme(features_ND: Tensor) -> float:
    """Return the exponential of the entropy of the features' normalised singular values.

    Between 1 (all features parallel) and min(N, D); it needs no labels and falls when a representation collapses.

    Args:
        features_ND: float (N, D), N >= 1; computed in double precision on the CPU.

    Raises:
        InputError: not a matrix with rows.
        RunError: a feature is not finite.
    """
    if features_ND.ndim != 2 or len(features_ND) == 0:
        raise InputError(f"RankMe: features of shape {tuple(features_ND.shape)}, expected (N, D) with N >= 1")
    if not bool(features_ND.isfinite().all()):
        raise RunError("RankMe: a feature is not finite")
    values_K = torch.linalg.svdvals(features_ND.detach().to("cpu", torch.float64))
    share_K = values_K / values_K.sum().clamp_min(torch.finfo(torch.float64).tiny) + EPSILON
    return float(torch.exp(-(share_K * share_K.log()).sum()))
