"""Channels of one tensor of a traced network, and which channels of different tensors stay or go together.

Legend: C channels of a tensor, M all channels of all tensors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class Channels:
    """The channels of one tensor.

    Attributes:
        axis: the tensor's dimension that holds them, >= 1.
        ids: int64 (C,), what `Ties` knows them by; tensors that share ids share channels.
        constants: float64 (C,), the value that a channel has at every position of every image; NaN where it has none.
    """

    axis: int
    ids: Tensor
    constants: Tensor

    @property
    def varying(self) -> Tensor:
        """Bool (C,): which channels are not constant."""
        return self.constants.isnan()

    def with_constants(self, constants_C: Tensor) -> Channels:
        """Return the same channels with other values; what varies goes on varying."""
        return replace(self, constants=torch.where(self.varying, torch.nan, constants_C))

    def __len__(self) -> int:
        return self.ids.numel()


class Ties:
    """Classes of channels that stay or go together: the two sides of a sum, the input and output of a depthwise convolution."""

    def __init__(self) -> None:
        self._parents: list[int] = []
        self._pinned: set[int] = set()

    def new(self, count: int) -> Tensor:
        """Return ids (count,) of fresh channels, each in a class of its own."""
        start = len(self._parents)
        self._parents.extend(range(start, start + count))
        return torch.arange(start, start + count)

    def fresh(self, count: int, axis: int = 1) -> Channels:
        """Return fresh channels that vary."""
        return Channels(axis, self.new(count), torch.full((count,), torch.nan, dtype=torch.float64))

    def unknown(self, count: int, axis: int = 1) -> Channels:
        """Return fresh channels that vary and must stay, because nothing is known of where they come from."""
        channels = self.fresh(count, axis)
        self.pin(channels)
        return channels

    def pin(self, channels: Channels) -> None:
        """Make channels stay, because nothing is known of what reads them."""
        self._pinned.update(channels.ids.tolist())

    def join(self, first: Sequence[int] | Tensor, second: Sequence[int] | Tensor) -> None:
        """Put the i-th channel of each sequence into one class."""
        for a, b in zip(_listed(first), _listed(second), strict=True):
            self._parents[self._root(a)] = self._root(b)

    def classes(self) -> Tensor:
        """Return the class of every channel, int64 (M,)."""
        return torch.tensor([self._root(one) for one in range(len(self._parents))], dtype=torch.int64)

    def pinned(self) -> Tensor:
        """Return which channels were pinned, bool (M,); the others of their classes are not marked."""
        marks = torch.zeros(len(self._parents), dtype=torch.bool)
        marks[sorted(self._pinned)] = True
        return marks

    def _root(self, one: int) -> int:
        while self._parents[one] != one:
            self._parents[one] = self._parents[self._parents[one]]
            one = self._parents[one]
        return one


def _listed(ids: Sequence[int] | Tensor) -> Sequence[int]:
    return ids.tolist() if isinstance(ids, Tensor) else ids
