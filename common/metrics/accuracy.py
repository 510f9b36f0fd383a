"""Shares of right predictions."""

from __future__ import annotations

import torch

from common.errors import InputError


def top1(predictions: torch.Tensor, labels_N: torch.Tensor) -> float:
    """Return the fraction of images whose predicted class is right, in [0, 1].

    Args:
        predictions: logits (N, K), or predicted classes (N,).
        labels_N: int64.

    Raises:
        InputError: no images, or shapes that do not match.
    """
    return float(_right(predictions, labels_N).double().mean())


def mean_per_class(predictions: torch.Tensor, labels_N: torch.Tensor) -> float:
    """Return the mean over classes of the fraction right in each, in [0, 1]: over the classes that have an image here.

    A class without an image has no fraction, so the mean is over the others, and a result says so (`absent_classes`). Arguments
    and errors as `top1`.
    """
    right_N = _right(predictions, labels_N).double()
    images_K = labels_N.bincount().double()
    right_K = torch.zeros_like(images_K).index_add_(0, labels_N, right_N)
    there_K = images_K > 0
    return float((right_K[there_K] / images_K[there_K]).mean())


ACCURACIES = {"top1": top1, "mean_per_class": mean_per_class}
"""By the name that the catalogue gives a data set's metric."""


def accuracies(predictions: torch.Tensor, labels_N: torch.Tensor) -> dict[str, float]:
    """Return every accuracy by name; arguments and errors as `top1`."""
    return {name: accuracy(predictions, labels_N) for name, accuracy in ACCURACIES.items()}


def _right(predictions: torch.Tensor, labels_N: torch.Tensor) -> torch.Tensor:
    classes_N = predictions.argmax(dim=1) if predictions.ndim == 2 else predictions
    if classes_N.shape != labels_N.shape or not len(labels_N):
        shapes = f"{tuple(predictions.shape)} and {tuple(labels_N.shape)}"
        raise InputError(f"accuracy: predictions and labels of shapes {shapes}, expected (N, K) or (N,), and (N,), N >= 1")
    return classes_N == labels_N
