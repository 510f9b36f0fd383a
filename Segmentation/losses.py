"""Losses of label maps. Pixels whose label is IGNORE add nothing to a loss, its divisor or its gradient.

B images, K classes, H and W pixels; N pixels that are judged.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from common.data.annotated.sets import IGNORE


def cross_entropy(logits_BKHW: Tensor, labels_BHW: Tensor) -> Tensor:
    """Return the mean cross-entropy of the judged pixels, float32 scalar; 0 where there are none (torch says NaN).

    Args:
        logits_BKHW: float.
        labels_BHW: int64, in 0 .. K-1 or IGNORE.
    """
    return _mean(functional.cross_entropy(logits_BKHW.float(), labels_BHW, ignore_index=IGNORE, reduction="none"), labels_BHW)


def focal(logits_BKHW: Tensor, labels_BHW: Tensor, gamma: float = 2.0) -> Tensor:
    """Return the mean of (1 - p)^gamma times the cross-entropy, p of the true class (Lin et al. 2017, arXiv:1708.02002, eq. 4).

    Args:
        logits_BKHW: float.
        labels_BHW: int64, in 0 .. K-1 or IGNORE.
        gamma: >= 0; 0 is cross-entropy.
    """
    each_BHW = functional.cross_entropy(logits_BKHW.float(), labels_BHW, ignore_index=IGNORE, reduction="none")
    # 1 - p as -expm1, and no lower than the least float: where p rounds to 1, a root of 0 would have an infinite slope.
    missed_BHW = -torch.expm1(-each_BHW)
    return _mean(missed_BHW.clamp(min=torch.finfo(torch.float32).tiny) ** gamma * each_BHW, labels_BHW)


def dice(logits_BKHW: Tensor, labels_BHW: Tensor) -> Tensor:
    """Return 1 - 2 |p and t| / (|p| + |t|), the mean over the classes that are in the truth (Milletari et al. 2016, per class).

    Sums are over the judged pixels of the whole batch; 0 where there are none.

    Args:
        logits_BKHW: float.
        labels_BHW: int64, in 0 .. K-1 or IGNORE.
    """
    judged_BHW = labels_BHW != IGNORE
    p_NK = logits_BKHW.float().softmax(dim=1).permute(0, 2, 3, 1)[judged_BHW]
    labels_N = labels_BHW[judged_BHW]
    classes = logits_BKHW.shape[1]
    true_K = torch.bincount(labels_N, minlength=classes).to(p_NK.dtype)
    both_K = torch.zeros_like(true_K).index_add(0, labels_N, p_NK.gather(1, labels_N[:, None])[:, 0])
    # Every class in the truth makes the divisor at least 1; the others are not looked at.
    loss_K = 1 - 2 * both_K / (p_NK.sum(dim=0) + true_K).clamp(min=1)
    there_K = (true_K > 0).to(p_NK.dtype)
    return (loss_K * there_K).sum() / there_K.sum().clamp(min=1)


def _mean(each_BHW: Tensor, labels_BHW: Tensor) -> Tensor:
    return each_BHW.sum() / (labels_BHW != IGNORE).sum().clamp(min=1)


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"cross_entropy": cross_entropy, "focal": focal, "dice": dice}
