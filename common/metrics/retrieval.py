"""Retrieval accuracy of a pre-training objective.

Chen et al. 2021, "The Lottery Tickets Hypothesis for Supervised and Self-supervised Pre-training in Computer Vision Models",
equation 2.
"""

from __future__ import annotations

import torch

from common.errors import InputError
from common.metrics.similarity import unit_rows


def retrieval_accuracy(first_ND: torch.Tensor, second_ND: torch.Tensor, *, batch: int = 256) -> float:
    """Return how often a view's nearest neighbour is the other view of its image, in [0, 1].

    Images are taken in batches of n. Each of the 2n views looks for its nearest by cosine among the other 2n - 1. A partial
    last batch is dropped, since fewer rivals make the search easier.

    Args:
        first_ND: features of one view of every image.
        second_ND: features of another view; row i of both shows image i.
        batch: n, images per batch, in [1, N].

    Raises:
        InputError: n is not in [1, N], or shapes that do not match.
        RunError: a feature is not finite.
    """
    if first_ND.ndim != 2 or first_ND.shape != second_ND.shape:
        shapes = f"{tuple(first_ND.shape)} and {tuple(second_ND.shape)}"
        raise InputError(f"retrieval: views of shapes {shapes}, expected (N, D) twice")
    if not 1 <= batch <= len(first_ND):
        raise InputError(
            f"retrieval: batches of {batch} images from {len(first_ND)}; set the retrieval batch to 1 to {len(first_ND)}"
        )
    first_ND, second_ND = unit_rows(first_ND), unit_rows(second_ND)
    partner = torch.arange(2 * batch, device=first_ND.device).roll(batch)
    found = torch.zeros((), dtype=torch.int64, device=first_ND.device)
    whole = len(first_ND) // batch
    for start in range(0, whole * batch, batch):
        views_VD = torch.cat([first_ND[start : start + batch], second_ND[start : start + batch]])
        cosine_VV = (views_VD @ views_VD.T).fill_diagonal_(-torch.inf)
        found += (cosine_VV.argmax(dim=1) == partner).sum()
    return int(found) / (whole * 2 * batch)
