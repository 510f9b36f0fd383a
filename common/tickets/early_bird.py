"""Early-bird tickets: the mask that training would leave settles long before training ends (You et al. 2020, arXiv:1909.11957).

They prune channels by the scale of their norms; here the mask is whatever a search would draw. They prune once, from a dense
network; in later rounds of a search all masks lie inside the current one, so distances are fractions of what it keeps. Fractions
of the whole scope could not exceed twice the removed fraction times the density, and would lie below any bound once that is low.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from common.tickets.mask import Mask, pack_bits, unpack_bits


def mask_distance(a: Mask, b: Mask) -> float:
    """Return the normalised Hamming distance of two masks: the fraction of the scope that one keeps and the other does not.

    Returns:
        A fraction in [0, 1]; two masks of density d differ by at most 2 d.

    Raises:
        TicketError: the masks are not over the same tensors.
    """
    a.check_same_tensors(b)
    return _changed(a.flat(), b.flat()) / a.size


def _changed(a_N: Tensor, b_N: Tensor) -> int:
    return int((a_N != b_N).sum())


@dataclass
class EarlyBird:
    """Watches the mask that a round's training would leave, epoch by epoch (You et al. 2020, algorithm 1).

    Attributes:
        bound: the mask has settled once the last `window` distances all lie below it; the paper's is 0.1.
        window: how many distances between successive epochs; the paper's queue holds 5.
        kept: how many weights the round itself keeps, which distances are fractions of; in round 0 of a dense network all of the
            scope, as in the paper.
        distances: of every epoch's mask from the one before, in order; one fewer than the masks that were seen.
    """

    bound: float
    window: int
    kept: int
    distances: list[float] = field(default_factory=list)
    _last: Tensor | None = field(default=None, repr=False)

    def see(self, mask: Mask) -> None:
        """Take an epoch's mask."""
        flat_N = mask.flat()
        if self._last is not None:
            self.distances.append(_changed(self._last, flat_N) / self.kept)
        self._last = flat_N

    @property
    def has_settled(self) -> bool:
        """Whether the window is full and its largest distance lies below the bound."""
        return len(self.distances) >= self.window and max(self.distances[-self.window :]) < self.bound

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint needs: the distances, and the last mask with its bits packed."""
        last = {} if self._last is None else {"size": self._last.numel(), "last": pack_bits(self._last)}
        return {"distances": list(self.distances), **last}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what `state_dict` returned."""
        self.distances = list(state["distances"])
        self._last = unpack_bits(torch.as_tensor(state["last"]), (state["size"],)) if "last" in state else None
