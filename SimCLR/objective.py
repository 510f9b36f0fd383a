"""NT-Xent, the contrastive loss of SimCLR.

Shapes: N images of this process, D projection width, M = 2N anchors, K = 2N times the processes.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from common.training.distributed import gather_rows, rank


def nt_xent(z_a_ND: Tensor, z_b_ND: Tensor, *, temperature: float) -> Tensor:
    """NT-Xent over two views (Chen et al. 2020, eq. 1; arXiv:2002.05709).

    The mean over all 2N anchors of -log softmax of the partner among the 2N - 1 other views, by cosine similarity over the
    temperature. (A published code took the log of the mean instead, which is another objective.)

    Where several processes train together, the anchors are this process's own and the other views are those of all processes,
    gathered with gradient; the mean over the processes is then the loss over the whole batch, and so are the gradients that
    DistributedDataParallel averages.

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
    with torch.autocast(z_a_ND.device.type, enabled=False):  # half precision would blur the similarities
        count, own = len(z_a_ND), rank() * len(z_a_ND)
        anchors_MD = functional.normalize(torch.cat([z_a_ND, z_b_ND]).float(), dim=1)
        others_KD = torch.cat([gather_rows(part_ND) for part_ND in anchors_MD.split(count)])
        logits_MK = anchors_MD @ others_KD.T / temperature
        place_N = own + torch.arange(count, device=logits_MK.device)
        first_M, second_M = torch.cat([place_N, place_N]), len(others_KD) // 2 + torch.cat([place_N, place_N])
        is_first_M = torch.arange(2 * count, device=logits_MK.device) < count
        self_M, partner_M = torch.where(is_first_M, first_M, second_M), torch.where(is_first_M, second_M, first_M)
        return functional.cross_entropy(logits_MK.scatter(1, self_M[:, None], float("-inf")), partner_M)
