"""Fixed splits, class subsets and labelled subsets.

A split belongs to the catalogue: its seed is the catalogue's, never a run's, and it is drawn over all images of a data set, so
that every class subset and every folder sees the same images on the same side. Names of subsets are read without torch.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from common.errors import InputError
from common.randomness import derive_seed, generator

if TYPE_CHECKING:
    import torch

MANY_CLASSES = 100_000
"""More classes than a data set has, for names whose data set is not read."""

_RANGE = re.compile(r"(\d+)(?:-(\d+))?")


def stratified_split(labels: Sequence[int] | torch.Tensor, fractions: Mapping[str, float], seed: int) -> dict[str, torch.Tensor]:
    """Divide images into splits, each class in the same proportions.

    Within a class, images are ranked by a hash of (seed, class, index): the split depends on no library's generator.

    Args:
        labels: class of every image, (N,).
        fractions: share of each split, in order; they sum to 1.
        seed: the catalogue's seed, >= 0.

    Returns:
        For each split the sorted int64 indices of its images; together they are 0 .. N-1.

    Raises:
        InputError: a share is not positive, or the shares do not sum to 1.
    """
    import torch

    if not fractions or min(fractions.values()) <= 0 or abs(sum(fractions.values()) - 1) > 1e-9:
        raise InputError(f"shares of a split: got {dict(fractions)}, expected positive numbers that sum to 1")
    members: dict[int, list[int]] = {}
    for index, label in enumerate(torch.as_tensor(labels).tolist()):
        members.setdefault(label, []).append(index)
    parts: dict[str, list[int]] = {name: [] for name in fractions}
    for label, indices in sorted(members.items()):
        ranked = sorted(indices, key=lambda index: derive_seed(seed, "split", label, index))
        start, share = 0, 0.0
        for name, fraction in fractions.items():
            share += fraction
            end = round(share * len(ranked))
            parts[name] += ranked[start:end]
            start = end
    return {name: torch.tensor(sorted(indices), dtype=torch.int64) for name, indices in parts.items()}


def split_hash(splits: Mapping[str, torch.Tensor]) -> str:
    """Return 16 hex digits of SHA-256 over each split's name and its original image indices, (N,) int64."""
    import torch

    digest = hashlib.sha256()
    for name in sorted(splits):
        indices_N = splits[name].to("cpu", torch.int64).contiguous()
        digest.update(f"{name}\0{len(indices_N)}\0".encode())
        digest.update(indices_N.numpy().astype("<i8", copy=False).tobytes())
    return digest.hexdigest()[:16]


def base_name(text: str) -> str:
    """Return the data set of a name, without its class subset: `digits:0-5` is `digits`."""
    return text.partition(":")[0]


def parse_classes(text: str, num_classes: int) -> tuple[int, ...]:
    """Read a class subset such as `0-5,8`.

    Returns:
        The classes, sorted, each once.

    Raises:
        InputError: the text is no list of numbers and ranges, or names a class that is not there.
    """
    classes: set[int] = set()
    for part in text.split(","):
        match = _RANGE.fullmatch(part.strip())
        if match is None:
            raise InputError(f"class subset {text!r}: expected numbers and ranges such as 0-5,8")
        low, high = int(match.group(1)), int(match.group(2) or match.group(1))
        if low > high or high >= num_classes:
            raise InputError(f"class subset {text!r}: {part.strip()} is out of range, the classes are 0-{num_classes - 1}")
        classes.update(range(low, high + 1))
    return tuple(sorted(classes))


def parse_name(text: str, num_classes: int) -> tuple[str, tuple[int, ...]]:
    """Read a data set's name with its optional class subset, such as `digits:0-5`.

    Returns:
        The data set and its classes, sorted; all of them where the name gives none.

    Raises:
        InputError: as `parse_classes`.
    """
    name, colon, classes = text.partition(":")
    return name, parse_classes(classes, num_classes) if colon else tuple(range(num_classes))


def canonical_name(name: str, classes: Sequence[int], num_classes: int) -> str:
    """Return the one name of a class subset: ranges in ascending order, and no subset where it is every class."""
    chosen = sorted(set(classes))
    if chosen == list(range(num_classes)):
        return name
    runs: list[list[int]] = []
    for label in chosen:
        if runs and label == runs[-1][1] + 1:
            runs[-1][1] = label
        else:
            runs.append([label, label])
    return f"{name}:" + ",".join(str(low) if low == high else f"{low}-{high}" for low, high in runs)


def labelled_subset(labels: torch.Tensor, count: int, seed: int, *, balanced: bool = True) -> torch.Tensor:
    """Choose the images whose labels may be used.

    Balanced, they are spread as evenly over the classes as `count` allows: classes take turns, in a random order, until the count
    is reached; a class that has run out is passed over. Else every image is as likely as any other, and a class may have none.
    The choice depends on the labels and the seed alone, so all compared runs share it, and a smaller count chooses a part of what
    a larger one does.

    Args:
        labels: (N,) int64.
        count: how many, in [1, N].
        seed: the task's seed (`seed.task`).
        balanced: over the classes, or not.

    Returns:
        Sorted int64 indices into `labels`, (count,).

    Raises:
        InputError: `count` is not in [1, N].
    """
    import torch

    if not 1 <= count <= len(labels):
        raise InputError(f"data.labels: {count} labels wanted, expected 1 to {len(labels)}, which is what the data set has")
    if not balanced:
        return torch.randperm(len(labels), generator=generator(seed, "unbalanced_labels"))[:count].sort().values
    classes = labels.unique().tolist()
    place = torch.randperm(len(classes), generator=generator(seed, "labels")).tolist()
    candidates: list[tuple[int, int, int]] = []
    for turn, label in zip(place, classes, strict=True):
        members = (labels == label).nonzero().flatten()
        shuffled = members[torch.randperm(len(members), generator=generator(seed, "labels", label))].tolist()
        candidates += [(rank, turn, index) for rank, index in enumerate(shuffled)]
    return torch.tensor(sorted(index for _, _, index in sorted(candidates)[:count]), dtype=torch.int64)
