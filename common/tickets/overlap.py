"""Overlap of two masks beside its chance levels, from counts or from the packed bits of ticket files. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod

from common.tickets.errors import TicketError
from common.tickets.header import MASK, Parsed


@dataclass(frozen=True)
class Overlap:
    """How much two masks share.

    Attributes:
        overlap: |A and B| / |A or B|, in [0, 1] (Chen et al. 2021, figure 6).
        chance: its expected level for masks of these densities drawn uniformly: d1 d2 / (d1 + d2 - d1 d2).
        chance_layerwise: the same, given both masks' densities in every tensor.
    """

    overlap: float
    chance: float
    chance_layerwise: float


@dataclass(frozen=True)
class SharedCounts:
    """Weights of one tensor: all of them, those kept by either mask, and those kept by both."""

    size: int
    in_a: int
    in_b: int
    both: int


@dataclass(frozen=True)
class PackedMask:
    """The mask of a ticket file: for every tensor its shape, and its bits as one number with the first weight lowest."""

    shapes: Mapping[str, tuple[int, ...]]
    bits: Mapping[str, int]

    @classmethod
    def of(cls, ticket: Parsed) -> PackedMask:
        """Take the mask out of a ticket file that was read."""
        shapes = {name: tuple(shape) for name, shape in ticket.header["shapes"].items()}
        return cls(shapes, {name: int.from_bytes(ticket.tensors[MASK + name].content, "little") for name in sorted(shapes)})

    @property
    def density(self) -> float:
        """Kept fraction over all tensors, in [0, 1]."""
        return sum(self.kept_per_tensor.values()) / sum(prod(shape) for shape in self.shapes.values())

    @property
    def kept_per_tensor(self) -> dict[str, int]:
        """Number of kept weights of every tensor, by name."""
        return {name: bits.bit_count() for name, bits in self.bits.items()}


def packed_overlap(a: PackedMask, b: PackedMask) -> Overlap:
    """Measure the overlap of two packed masks over the same tensors.

    Raises:
        TicketError: the masks are of different architectures.
    """
    require_same_shapes(a.shapes, b.shapes)
    return overlap_of_counts(
        SharedCounts(prod(a.shapes[name]), bits.bit_count(), b.bits[name].bit_count(), (bits & b.bits[name]).bit_count())
        for name, bits in a.bits.items()
    )


def overlap_of_counts(tensors: Iterable[SharedCounts]) -> Overlap:
    """Return overlap and chance levels from what two masks keep of every tensor; 0 where nothing is kept at all."""
    size = in_a = in_b = both = 0
    expected_both = 0.0
    for tensor in tensors:
        size, in_a, in_b, both = size + tensor.size, in_a + tensor.in_a, in_b + tensor.in_b, both + tensor.both
        expected_both += tensor.in_a * tensor.in_b / tensor.size
    kept = in_a + in_b
    by_chance = in_a * in_b / size
    ratio = lambda shared: shared / (kept - shared) if kept else 0.0
    return Overlap(ratio(both), ratio(by_chance), ratio(expected_both))


def require_same_shapes(mine: Mapping[str, tuple[int, ...]], theirs: Mapping[str, tuple[int, ...]]) -> None:
    """Raise unless two masks have the same names and shapes.

    Raises:
        TicketError: they differ; names the first difference.
    """
    for name in sorted(set(mine) | set(theirs)):
        if mine.get(name) != theirs.get(name):
            raise TicketError(
                f"the masks are of different architectures: {name!r} has {mine.get(name)} here, {theirs.get(name)} there"
            )
