"""Weighted k-nearest-neighbour classification of features (Wu et al. 2018, section 3.4)."""

from __future__ import annotations

import torch

from common.errors import InputError
from common.metrics.accuracy import top1
from common.metrics.similarity import unit_rows


def knn_predict(
    queries_QD: torch.Tensor,
    bank_ND: torch.Tensor,
    bank_labels_N: torch.Tensor,
    *,
    k: int = 20,
    temperature: float = 0.07,
    chunk: int = 1024,
) -> torch.Tensor:
    """Return the class of every query: its k nearest by cosine vote with weight exp(cosine / temperature).

    Args:
        queries_QD: features.
        bank_ND: features of the labelled images, on the same device.
        bank_labels_N: int64.
        k: voters, in [1, N].
        temperature: > 0.
        chunk: queries compared at a time; bounds the memory to chunk * N similarities.

    Returns:
        int64 (Q,).

    Raises:
        InputError: k is not in [1, N], or shapes that do not match.
        RunError: a feature is not finite.
    """
    if not 1 <= k <= len(bank_ND):
        raise InputError(f"k-NN: k is {k}, expected 1 to {len(bank_ND)}, the number of images in the bank")
    if len(bank_labels_N) != len(bank_ND) or queries_QD.shape[1:] != bank_ND.shape[1:]:
        shapes = f"{tuple(queries_QD.shape)}, {tuple(bank_ND.shape)} and {tuple(bank_labels_N.shape)}"
        raise InputError(f"k-NN: queries, bank and labels of shapes {shapes}, expected (Q, D), (N, D) and (N,)")
    bank_ND = unit_rows(bank_ND)
    classes = int(bank_labels_N.max()) + 1
    predictions = []
    for queries_BD in unit_rows(queries_QD).split(chunk):
        cosine_Bk, index_Bk = (queries_BD @ bank_ND.T).topk(k, dim=1)
        votes_BK = torch.zeros(len(queries_BD), classes, device=queries_BD.device)
        votes_BK.scatter_add_(1, bank_labels_N[index_Bk], torch.exp(cosine_Bk / temperature))
        predictions.append(votes_BK.argmax(dim=1))
    return torch.cat(predictions)


def knn_accuracy(
    queries_QD: torch.Tensor,
    labels_Q: torch.Tensor,
    bank_ND: torch.Tensor,
    bank_labels_N: torch.Tensor,
    *,
    k: int = 20,
    temperature: float = 0.07,
    chunk: int = 1024,
) -> float:
    """Return the fraction of queries that `knn_predict` classifies rightly, in [0, 1]; arguments and errors are the same."""
    predictions_Q = knn_predict(queries_QD, bank_ND, bank_labels_N, k=k, temperature=temperature, chunk=chunk)
    return top1(predictions_Q, labels_Q)
