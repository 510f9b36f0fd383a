"""The small sets that torchvision reads and fetches: CIFAR, SVHN, Fashion-MNIST, STL-10; one table says how they are split.

torchvision checks the files against their published sums (Fashion-MNIST's only when it fetches them). N images.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from common.data.datasets import Dataset, Images, content_fingerprint, renumbered
from common.data.entries import Request
from common.data.splits import base_name, canonical_name, parse_name, split_hash, stratified_split
from common.errors import InputError

_TAIL = 5_000
_SPLIT_SEED = 20210612
_HELD_OUT = 0.1
_UNREADABLE = (RuntimeError, EOFError, ValueError, AssertionError, LookupError, TypeError)

# For each split, which images of which parts it is made of, in order.
_Pieces = dict[str, list[tuple[str, torch.Tensor]]]


def _tail(labels: Mapping[str, torch.Tensor]) -> _Pieces:
    """The last 5,000 training images validate, whatever they show: what the field compares with."""
    count = len(labels["train"])
    if count <= _TAIL:
        raise InputError(f"the training part has {count:,} images, expected more than the {_TAIL:,} that validate")
    cut = count - _TAIL
    return {
        "train": [("train", torch.arange(cut))],
        "validation": [("train", torch.arange(cut, count))],
        "test": [("test", torch.arange(len(labels["test"])))],
    }


def _tail_and_extra(labels: Mapping[str, torch.Tensor]) -> _Pieces:
    """As `_tail`, and the extra images join the training."""
    pieces = _tail(labels)
    return {**pieces, "train": [*pieces["train"], ("extra", torch.arange(len(labels["extra"])))]}


def _tenth(labels: Mapping[str, torch.Tensor]) -> _Pieces:
    """A fixed tenth of every class validates."""
    parts = stratified_split(labels["train"], {"train": 1 - _HELD_OUT, "validation": _HELD_OUT}, _SPLIT_SEED)
    pieces: _Pieces = {name: [("train", index)] for name, index in parts.items()}
    return {**pieces, "test": [("test", torch.arange(len(labels["test"])))]}


def _unlabelled(labels: Mapping[str, torch.Tensor]) -> _Pieces:
    """As `_tenth`, but weights learn from the unlabelled images, and the labelled ones are the bank that probes use."""
    pieces = _tenth(labels)
    return {**pieces, "train": [("unlabelled", torch.arange(len(labels["unlabelled"])))], "bank": pieces["train"]}


@dataclass(frozen=True)
class _SmallSet:
    """How a set is read.

    Attributes:
        kind: torchvision's class.
        parts: name of each part -> the arguments by which torchvision gives it.
        axes: order of the axes of torchvision's `data`: NHWC, NCHW or NHW (gray).
        split: what makes splits of the parts.
    """

    kind: str
    parts: Mapping[str, Mapping[str, Any]]
    axes: str
    split: Callable[[Mapping[str, torch.Tensor]], _Pieces]


_BY_FLAG = {"train": {"train": True}, "test": {"train": False}}
_BY_NAME = {"train": {"split": "train"}, "test": {"split": "test"}}

_SETS = {
    "cifar10": _SmallSet("CIFAR10", _BY_FLAG, "NHWC", _tail),
    "cifar100": _SmallSet("CIFAR100", _BY_FLAG, "NHWC", _tail),
    "svhn": _SmallSet("SVHN", _BY_NAME, "NCHW", _tail),
    "svhn_extra": _SmallSet("SVHN", {**_BY_NAME, "extra": {"split": "extra"}}, "NCHW", _tail_and_extra),
    "fashion_mnist": _SmallSet("FashionMNIST", _BY_FLAG, "NHW", _tail),
    "stl10": _SmallSet("STL10", _BY_NAME, "NCHW", _tenth),
    "stl10_unlabelled": _SmallSet("STL10", {**_BY_NAME, "unlabelled": {"split": "unlabeled"}}, "NCHW", _unlabelled),
}


def load_small(request: Request) -> Dataset:
    """Read a set of the table whole.

    Args:
        request: `root` holds the files in torchvision's layout, or receives them with `download`.

    Raises:
        InputError: no root, the root does not hold the set intact, the download failed, an unknown class, or a class subset of a
            set whose training images have no labels.
    """
    base = base_name(request.name)
    small = _SETS[base]
    folder = Path(request.root).expanduser() if request.download and request.root is not None else request.folder()
    found = {part: _read(request, small, folder, words) for part, words in small.parts.items()}
    labels = {part: torch.as_tensor(_labels(data), dtype=torch.int64) for part, data in found.items()}
    known = request.classes or tuple(found["train"].classes)
    name, classes = parse_name(request.name, len(known))
    if len(classes) < len(known) and any(bool((labels_N < 0).any()) for labels_N in labels.values()):
        raise InputError(
            f"{base} takes no class subset, since its training images have no labels; subsets of stl10 are stl10:0-4"
        )
    pieces = {split: _chosen(labels, part, classes) for split, part in _split(request, small, labels).items()}
    splits = {split: _images(found, labels, part, small.axes, classes) for split, part in pieces.items()}
    return Dataset(
        name=canonical_name(name, classes, len(known)),
        classes=tuple(known[label] for label in classes),
        input=request.input,
        splits=splits,
        split_hash=split_hash(_positions(labels, pieces)),
        fingerprint=content_fingerprint(splits),
    )


def _read(request: Request, small: _SmallSet, folder: Path, words: Mapping[str, Any]) -> Any:
    """Return torchvision's data set of one part, its files checked."""
    from torchvision import datasets

    try:
        data = getattr(datasets, small.kind)(folder, download=request.download, **words)
        if len(data.data) != len(_labels(data)):
            raise ValueError("images and labels differ in number")
    except (OSError, *_UNREADABLE) as error:
        if request.download or isinstance(error, OSError):
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise InputError(f"{request.name} cannot be read from or fetched into data.root {request.root}: {reason}") from error
        raise InputError(
            f"data.root {request.root} does not hold {request.name} intact; expected {request.layout}; give the one that does, "
            f"or --data.download true"
        ) from error
    return data


def _labels(data: Any) -> Any:
    return data.targets if hasattr(data, "targets") else data.labels


def _split(request: Request, small: _SmallSet, labels: Mapping[str, torch.Tensor]) -> _Pieces:
    try:
        return small.split(labels)
    except InputError as error:
        raise InputError(f"data.root {request.root} does not hold {request.name} intact: {error}") from error


def _chosen(
    labels: Mapping[str, torch.Tensor], pieces: list[tuple[str, torch.Tensor]], classes: tuple[int, ...]
) -> list[tuple[str, torch.Tensor]]:
    """Keep the images of some classes; those without a label stay."""
    wanted = torch.tensor(classes)
    return [(part, index[torch.isin(labels[part][index], wanted) | (labels[part][index] < 0)]) for part, index in pieces]


def _images(
    found: Mapping[str, Any],
    labels: Mapping[str, torch.Tensor],
    pieces: list[tuple[str, torch.Tensor]],
    axes: str,
    classes: tuple[int, ...],
) -> Images:
    """Return one split: uint8 (N, 3, H, W), and labels in 0 .. K-1, or -1 where there is none."""
    pixels = torch.cat([_channels_first(torch.as_tensor(found[part].data), axes)[index] for part, index in pieces])
    chosen_N = torch.cat([labels[part][index] for part, index in pieces])
    numbered_N = torch.where(chosen_N < 0, chosen_N, renumbered(chosen_N, classes))
    return Images(pixels.expand(-1, 3, -1, -1).contiguous(), numbered_N)


def _channels_first(pixels: torch.Tensor, axes: str) -> torch.Tensor:
    """Return a view (N, C, H, W) of pixels in another order of axes, one channel where they are gray."""
    return {"NHWC": lambda: pixels.permute(0, 3, 1, 2), "NCHW": lambda: pixels, "NHW": lambda: pixels.unsqueeze(1)}[axes]()


def _positions(labels: Mapping[str, torch.Tensor], pieces: _Pieces) -> dict[str, torch.Tensor]:
    """Return the indices of each split into all parts laid end to end, in the table's order."""
    ends = torch.tensor([0, *(len(labels_N) for labels_N in labels.values())]).cumsum(0).tolist()
    start = dict(zip(labels, ends, strict=False))
    return {split: torch.cat([index + start[part] for part, index in piece]) for split, piece in pieces.items()}
