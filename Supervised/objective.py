"""Cross-entropy, the supervised objective.

Shapes: N images of this process, K classes.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def cross_entropy(logits_NK: Tensor, labels_N: Tensor, *, smoothing: float = 0.0) -> Tensor:
    """Cross-entropy with label smoothing (Szegedy et al. 2016, section 7; arXiv:1512.00567), torch's, in single precision.

    The target of an image is 1 - smoothing at its label, plus smoothing / K at every class, the label's too.

    Args:
        logits_NK: the classifier's output, (N, K) float of any precision.
        labels_N: int64 (N,), in 0 .. K-1.
        smoothing: in [0, 1).

    Returns:
        Scalar, the mean over the images, in nats. log(K) where all logits of an image are equal.

    Raises:
        ValueError: shapes that do not go together, or smoothing out of its range.
    """
    if logits_NK.dim() != 2 or labels_N.shape != logits_NK.shape[:1]:
        raise ValueError(f"expected logits (N, K) and labels (N,), got {tuple(logits_NK.shape)} and {tuple(labels_N.shape)}")
    if not 0 <= smoothing < 1:
        raise ValueError(f"expected smoothing in [0, 1), got {smoothing}")
    return functional.cross_entropy(logits_NK.float(), labels_N, label_smoothing=smoothing)
