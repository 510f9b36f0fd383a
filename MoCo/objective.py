"""InfoNCE, the contrastive loss of MoCo.

Shapes: N queries of this process, D projection width, K keys in the queue.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def info_nce(q_ND: Tensor, k_ND: Tensor, queue_KD: Tensor, *, temperature: float) -> Tensor:
    """InfoNCE with one positive key and a queue of negatives (He et al. 2020, eq. 1; arXiv:1911.05722).

    The mean over the queries of -log softmax of the positive among 1 + K keys, by cosine similarity over the temperature. Every
    process has the whole queue, so the mean over the processes is the loss over the whole batch.

    Args:
        q_ND: the query encoder's projections, any scale, (N, D) float.
        k_ND: the key encoder's projections of the other view of the same images in the same order, any scale, (N, D).
        queue_KD: keys of earlier batches, of unit length, (K, D) float32.
        temperature: > 0.

    Returns:
        Scalar, in nats. log(1 + K) where all projections and keys are parallel.

    Raises:
        ValueError: shapes differ, N or K < 1, or temperature <= 0.
    """
    if q_ND.shape != k_ND.shape or q_ND.dim() != 2 or not len(q_ND):
        raise ValueError(f"expected two (N, D) tensors with N >= 1, got {tuple(q_ND.shape)} and {tuple(k_ND.shape)}")
    if queue_KD.dim() != 2 or not len(queue_KD) or queue_KD.shape[1] != q_ND.shape[1]:
        raise ValueError(f"expected a queue (K, {q_ND.shape[1]}) with K >= 1, got {tuple(queue_KD.shape)}")
    if temperature <= 0:
        raise ValueError(f"expected a temperature > 0, got {temperature}")
    with torch.autocast(q_ND.device.type, enabled=False):  # half precision would blur the similarities
        q_ND, k_ND = functional.normalize(q_ND.float(), dim=1), functional.normalize(k_ND.float(), dim=1)
        positive_N1 = (q_ND * k_ND).sum(1, keepdim=True)
        logits_NM = torch.cat([positive_N1, q_ND @ queue_KD.T], dim=1) / temperature
        return functional.cross_entropy(logits_NM, logits_NM.new_zeros(len(logits_NM), dtype=torch.long))
