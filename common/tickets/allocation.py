"""Allocation: how many weights each tensor keeps, and which, given scores.

Ties are broken by position (tensors in sorted order of names, then C order; the earlier weight is kept), so the number kept is
exact; a threshold alone keeps too many or too few where scores are equal.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from common.tickets.errors import TicketError
from common.tickets.mask import Mask


def keep_global(scores: Mapping[str, Tensor], within: Mask, count: int) -> Mask:
    """Keep the `count` highest-scored weights over the whole scope, among those kept in `within`.

    Agrees with torch.nn.utils.prune.global_unstructured(L1Unstructured) on scores without ties.

    Args:
        scores: name -> float tensor, the shapes of `within`.
        within: the mask of the round before.
        count: how many to keep, in [1, within.kept].

    Raises:
        TicketError: scores of other tensors, a score that is NaN, or a count out of range.
    """
    _check(scores, within)
    flat_N = torch.cat([scores[name].reshape(-1) for name in within])
    return Mask.from_flat(_keep_highest(flat_N, within.flat(), count), within.shapes)


def keep_layerwise(scores: Mapping[str, Tensor], within: Mask, counts: Mapping[str, int]) -> Mask:
    """Keep the `counts[name]` highest-scored weights of every tensor, among those kept in `within`.

    Args and errors as `keep_global`; a tensor's count may be 0.
    """
    _check(scores, within)
    return Mask(
        {
            name: _keep_highest(scores[name].reshape(-1), within[name].reshape(-1), counts[name], at_least=0).reshape(
                within[name].shape
            )
            for name in within
        }
    )


def _check(scores: Mapping[str, Tensor], within: Mask) -> None:
    for name, mask in within.items():
        if name not in scores or scores[name].shape != mask.shape:
            got = "nothing" if name not in scores else tuple(scores[name].shape)
            raise TicketError(f"scores of {name!r}: got {got}, expected shape {tuple(mask.shape)}")
        if bool(torch.isnan(scores[name]).any()):
            raise TicketError(f"scores of {name!r} hold NaN; the weights that they come from are broken")


def _keep_highest(scores_N: Tensor, within_N: Tensor, count: int, at_least: int = 1) -> Tensor:
    """Return bool (N,) with `count` True at the highest scores inside `within_N`, the earlier first among equals."""
    candidates = scores_N[within_N]
    available = candidates.numel()
    if not at_least <= count <= available:
        raise TicketError(f"cannot keep {count:,} weights: {available:,} are left and at least {at_least} must stay")
    if count == available:
        return within_N.clone()
    if count == 0:
        return torch.zeros_like(within_N)
    lowest_kept = candidates.kthvalue(available - count + 1).values
    keep = candidates > lowest_kept
    equal = (candidates == lowest_kept).nonzero().squeeze(1)
    keep[equal[: count - int(keep.sum())]] = True
    result = torch.zeros_like(within_N)
    result[within_N.nonzero().squeeze(1)[keep]] = True
    return result
