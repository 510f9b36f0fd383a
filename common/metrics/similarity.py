"""Feature rows on the unit sphere, so that a product of two is their cosine."""

from __future__ import annotations

import torch
from torch.nn import functional

from common.errors import RunError


def unit_rows(features_ND: torch.Tensor) -> torch.Tensor:
    """Return rows of length 1 in float32, (N, D); a row of zeros stays zero.

    Raises:
        RunError: a feature is not finite.
    """
    features_ND = features_ND.detach().float()
    if not bool(torch.isfinite(features_ND).all()):
        raise RunError("features hold values that are not finite: the network has diverged")
    return functional.normalize(features_ND, dim=1)
