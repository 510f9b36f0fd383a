"""The queue of negatives: the newest K keys, first in, first out (He et al. 2020, section 3.2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional


class KeyQueue:
    """A ring of K keys, of any size: batches need not divide it, and may be larger than it.

    Attributes:
        keys_KD: float32 (K, D), in no particular order; zeros until the first K keys were pushed.
        next: the slot of the oldest key, which the next one replaces.
    """

    def __init__(self, size: int, width: int, device: torch.device) -> None:
        self.keys_KD = torch.zeros(size, width, device=device)
        self.next = 0

    def __len__(self) -> int:
        return len(self.keys_KD)

    @torch.no_grad()
    def push_(self, keys_MD: Tensor) -> None:
        """Put in keys, (M, D), in order, in place of the oldest.

        Where several processes train together, every one pushes the keys of all in the same order, so that all queues are equal.
        """
        newest_mD = keys_MD[-len(self) :]
        slots_m = (self.next + torch.arange(len(newest_mD), device=self.keys_KD.device)) % len(self)
        self.keys_KD.index_copy_(0, slots_m, newest_mD.to(self.keys_KD))
        self.next = (self.next + len(newest_mD)) % len(self)

    def clear_(self) -> None:
        """Empty the queue."""
        self.keys_KD.zero_()
        self.next = 0

    def fill_randomly_(self, draws: torch.Generator) -> None:
        """Replace every key by a random unit vector, uniform over directions."""
        self.keys_KD.copy_(functional.normalize(torch.randn(self.keys_KD.shape, generator=draws), dim=1))
        self.next = 0

    def state_dict(self) -> dict[str, Any]:
        """Return a copy of the keys, on the CPU, and the place of the oldest."""
        return {"keys": self.keys_KD.detach().to("cpu", copy=True), "next": self.next}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what `state_dict` returned."""
        self.keys_KD.copy_(state["keys"])
        self.next = state["next"]
