"""NT-Xent, the contrastive loss of SimCLR.

Shapes: N images, D projection width.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def nt_xent(z_a_ND: Tensor, z_b_ND: Tensor, *, temperature: float) -> Tensor:
    """NT-Xent over two views (Chen et al. 2020, eq. 1; arXiv:2002.05709).

    The mean over all 2N anchors of -log softmax of the partner among the 2N - 1 other views, by cosine similarity over the
    temperature. (A published code took the log of the mean instead, which is another objective.)

    Args:
        z_a_ND: projections of the first views, any scale, (N, D) float.
        z_b_ND: projections of the second views of the same images in the same order, (N, D).
        temperature: > 0.

    Returns:
        Scalar, in nats. log(2N - 1) where all projections are parallel.

    Raises:
        ValueError: shapes differ, N < 2, or temperature <= 0.
    """
    if z_a_ND.shape != z_b_ND.shape or z_a_ND.dim() != 2 or len(z_a_ND) < 2:
        raise ValueError(f"expected two (N, D) tensors with N >= 2, got {tuple(z_a_ND.shape)} and {tuple(z_b_ND.shape)}")
    if temperature <= 0:
        raise ValueError(f"expected a temperature > 0, got {temperature}")
    count = len(z_a_ND)
    z_MD = functional.normalize(torch.cat([z_a_ND, z_b_ND]).float(), dim=1)
    logits_MM = z_MD @ z_MD.T / temperature
    own_MM = torch.eye(2 * count, dtype=torch.bool, device=z_MD.device)
    partner_M = torch.arange(2 * count, device=z_MD.device).roll(count)
    return functional.cross_entropy(logits_MM.masked_fill(own_MM, float("-inf")), partner_M)
