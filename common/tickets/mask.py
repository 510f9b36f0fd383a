"""Mask: for every prunable tensor, which weights are kept."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from math import prod

import torch
from torch import Tensor

from common.tickets.errors import TicketError
from common.tickets.overlap import require_same_shapes


class Mask(Mapping[str, Tensor]):
    """An immutable mapping from parameter name to a CPU bool tensor (True = kept), in sorted order of names.

    What it hands out is a copy (30 ms for all of a ResNet-50's): torch has no read-only tensors, and a mask must stay the one
    that was hashed.

    Args:
        tensors: name -> bool tensor of the parameter's shape. Copied, so a later change of the source changes nothing here.

    Raises:
        TicketError: no tensor, or one that is not bool or is empty.
    """

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        if not tensors:
            raise TicketError("a mask needs at least one tensor, got none")
        for name, tensor in tensors.items():
            if tensor.dtype != torch.bool or tensor.numel() == 0:
                raise TicketError(
                    f"mask tensor {name!r}: got {tensor.dtype} of shape {tuple(tensor.shape)}, expected a non-empty bool tensor"
                )
        self._tensors = {name: tensors[name].detach().to("cpu", copy=True).contiguous() for name in sorted(tensors)}

    @classmethod
    def dense(cls, shapes: Mapping[str, Sequence[int]]) -> Mask:
        """Return the mask that keeps everything, for shapes by name."""
        return cls({name: torch.ones(tuple(shape), dtype=torch.bool) for name, shape in shapes.items()})

    @classmethod
    def from_flat(cls, flat_N: Tensor, shapes: Mapping[str, Sequence[int]]) -> Mask:
        """Cut one bool vector, tensors in sorted order of names and C order inside, back into a mask."""
        names = sorted(shapes)
        parts = flat_N.split([prod(shapes[name]) for name in names])
        return cls({name: part.reshape(tuple(shapes[name])) for name, part in zip(names, parts, strict=True)})

    def __getitem__(self, name: str) -> Tensor:
        return self._tensors[name].clone()

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Mask)
            and self.shapes == other.shapes
            and all(torch.equal(tensor, other._tensors[name]) for name, tensor in self._tensors.items())
        )

    def __hash__(self) -> int:
        return hash(self.digest())

    def __repr__(self) -> str:
        return f"Mask({len(self)} tensors, {self.kept:,} of {self.size:,} kept, density {self.density:.4f})"

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every tensor, by name."""
        return {name: tuple(tensor.shape) for name, tensor in self._tensors.items()}

    @property
    def size(self) -> int:
        """Number of prunable weights."""
        return sum(tensor.numel() for tensor in self._tensors.values())

    @property
    def kept_per_tensor(self) -> dict[str, int]:
        """Number of kept weights of every tensor, by name."""
        return {name: int(torch.count_nonzero(tensor)) for name, tensor in self._tensors.items()}

    @property
    def kept(self) -> int:
        """Number of kept weights."""
        return sum(self.kept_per_tensor.values())

    @property
    def density(self) -> float:
        """Kept fraction over all tensors, in [0, 1]."""
        return self.kept / self.size

    def flat(self) -> Tensor:
        """Return all tensors as one bool vector (N,): sorted order of names, C order inside."""
        return torch.cat([tensor.reshape(-1) for tensor in self._tensors.values()])

    def complement(self) -> Mask:
        """Return the mask that keeps what this one prunes."""
        return Mask({name: ~tensor for name, tensor in self._tensors.items()})

    def is_within(self, other: Mask) -> bool:
        """Say whether everything kept here is kept in `other` too (masks of successive rounds are nested).

        Raises:
            TicketError: the two masks are not over the same tensors.
        """
        self.check_same_tensors(other)
        return all(not bool((self[name] & ~other[name]).any()) for name in self)

    def check_same_tensors(self, other: Mask) -> None:
        """Raise unless both masks have the same names and shapes.

        Raises:
            TicketError: they differ; names the first difference.
        """
        require_same_shapes(self.shapes, other.shapes)

    def digest(self) -> str:
        """Return the SHA-256 that identifies the mask: over sorted names of name 00 shape 00 packed bits (file format 1)."""
        return mask_digest(
            {name: (tuple(tensor.shape), pack_bits(tensor).numpy().tobytes()) for name, tensor in self._tensors.items()}
        )


def mask_digest(packed: Mapping[str, tuple[Sequence[int], bytes]]) -> str:
    """Hash {name: (shape, packed bits)} as file format 1 defines it; 64 hex digits."""
    sha = hashlib.sha256()
    for name in sorted(packed):
        shape, content = packed[name]
        sha.update(name.encode("utf-8") + b"\0" + ",".join(map(str, shape)).encode("ascii") + b"\0" + content)
    return sha.hexdigest()


def pack_bits(mask: Tensor) -> Tensor:
    """Pack a bool tensor of n entries, C order, into uint8 (ceil(n / 8),): little-endian bits, padding 0."""
    flat = mask.reshape(-1).to(torch.uint8)
    padded = torch.nn.functional.pad(flat, (0, -flat.numel() % 8)).reshape(-1, 8)
    return (padded << torch.arange(8, dtype=torch.uint8)).sum(dim=1, dtype=torch.uint8)


def unpack_bits(packed: Tensor, shape: Sequence[int]) -> Tensor:
    """Undo `pack_bits`: uint8 (ceil(n / 8),) to bool of `shape`."""
    bits = (packed[:, None] >> torch.arange(8, dtype=torch.uint8)) & 1
    return bits.reshape(-1)[: prod(shape)].to(torch.bool).reshape(tuple(shape))
