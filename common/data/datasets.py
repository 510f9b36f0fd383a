"""Data sets: images and labels by split, in memory or in their files, and `load_data`, which makes one from its name."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from common.data.inputs import NORMALISATIONS, InputSpec
from common.data.reading import FIT, Framing, Metric, Reading, Storage, Validation
from common.errors import InputError

if TYPE_CHECKING:
    import torch

    from common.config import DataConfig
    from common.data.file_images import FileImages


@dataclass(frozen=True)
class Images:
    """Images of one split, in memory.

    Attributes:
        images: uint8 (N, C, H, W), on the CPU.
        labels: int64 (N,), in 0 .. K-1, in the order of the data set's `classes`; -1 where there is none.
        shown_at: side in pixels that a network sees them at, resized in batch on its device; None: their own.
        framing: how they are resized to that; the crop is chosen, not auto.
    """

    images: torch.Tensor
    labels: torch.Tensor
    shown_at: int | None = None
    framing: Framing = FIT

    def __post_init__(self) -> None:
        if self.images.ndim != 4 or len(self.images) != len(self.labels):
            shapes = f"{tuple(self.images.shape)} and {tuple(self.labels.shape)}"
            raise InputError(f"images and labels of shapes {shapes}, expected (N, C, H, W) and (N,)")

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def size(self) -> int:
        """Side in pixels that a network sees the images at."""
        return self.shown_at or self.images.shape[-1]

    def subset(self, indices: torch.Tensor) -> Images:
        """Return the images at `indices`, (M,) int64, in that order."""
        return replace(self, images=self.images[indices], labels=self.labels[indices])


@dataclass(frozen=True)
class Dataset:
    """A data set or a class subset of one, divided into splits.

    Attributes:
        name: canonical name, such as `digits:0-5`.
        classes: names of the classes, in the order of the labels.
        input: what a network trained on these images expects of its pixels.
        splits: `train`, `validation` and `test`; where the training images have no labels also `bank`, labelled images for
            probes. A split is in memory or in its files.
        split_hash: 16 hex digits over the original image indices of each split; for a folder, over the names and sizes of each
            split's files, every class's: nothing else says which images they are.
        fingerprint: `<number of images>-<16 hex digits>` over the content, or over file names and sizes.
        metric: what a classifier of it is judged and chosen by: top1 or mean_per_class.
        skipped: names of images that cannot be read and were left out (data.skip_unreadable).
    """

    name: str
    classes: tuple[str, ...]
    input: InputSpec
    splits: Mapping[str, Images | FileImages]
    split_hash: str
    fingerprint: str
    metric: Metric = "top1"
    skipped: tuple[str, ...] = ()

    def split(self, name: str) -> Images | FileImages:
        """Return one split.

        Raises:
            InputError: there is no such split.
        """
        if name not in self.splits:
            raise InputError(f"{self.name} has no split {name!r}; it has {', '.join(self.splits)}")
        return self.splits[name]

    @property
    def train(self) -> Images | FileImages:
        """The images that weights learn from."""
        return self.split("train")

    @property
    def validation(self) -> Images | FileImages:
        """The images that choose."""
        return self.split("validation")

    @property
    def test(self) -> Images | FileImages:
        """The images that are looked at once."""
        return self.split("test")


def content_fingerprint(splits: Mapping[str, Images]) -> str:
    """Return `<number of images>-<16 hex digits>`: SHA-256 over names, shapes, pixels and labels of the splits."""
    digest = hashlib.sha256()
    for name in sorted(splits):
        part = splits[name]
        digest.update(f"{name}\0{tuple(part.images.shape)}\0".encode())
        digest.update(part.images.contiguous().numpy().data)
        digest.update(part.labels.contiguous().numpy().astype("<i8", copy=False).tobytes())
    return f"{sum(map(len, splits.values()))}-{digest.hexdigest()[:16]}"


def renumbered(labels: torch.Tensor, classes: Sequence[int]) -> torch.Tensor:
    """Return labels of a class subset as 0 .. K-1: the position of each in the sorted `classes`."""
    import torch

    return torch.searchsorted(torch.tensor(classes, dtype=torch.int64), labels)


def require_labels(dataset: Dataset) -> None:
    """Refuse a data set whose training images have no labels.

    Raises:
        InputError: names the set that has them.
    """
    if bool((dataset.train.labels < 0).any()):
        raise InputError(
            f"data.name: the training images of {dataset.name} have no labels, which are needed here; expected a labelled set"
            f"{', such as ' + dataset.name.removesuffix('_unlabelled') if dataset.name.endswith('_unlabelled') else ''}"
        )


def open_data(config: DataConfig) -> Dataset:
    """Load the data set of a run's configuration, with the input and the metric that it asks for; errors as `load_data`."""
    dataset = load_data(
        config.name,
        root=config.root,
        download=config.download,
        size=config.size,
        storage=config.storage,
        reading=Reading(config.workers, config.decode),
        framing=Framing(config.crop, config.interpolation),
        validation=config.validation,
        domains=config.domains,
        cache=config.cache,
        skip_unreadable=config.skip_unreadable,
    )
    metric: Metric | Literal["own"] = getattr(config, "metric", "own")
    if metric != "own":
        dataset = replace(dataset, metric=metric)
    if config.input == "own":
        return dataset
    mean, std = NORMALISATIONS[config.input]
    return replace(dataset, input=replace(dataset.input, mean=mean, std=std))


def load_data(
    name: str,
    *,
    root: str | None = None,
    download: bool = False,
    size: int | None = None,
    storage: Storage = "auto",
    reading: Reading | None = None,
    framing: Framing | None = None,
    validation: Validation = "own",
    domains: tuple[str, str] | None = None,
    cache: str | None = None,
    skip_unreadable: bool = False,
) -> Dataset:
    """Load a data set of the catalogue.

    Args:
        name: its name, with an optional class subset: `digits`, `cifar10:6-9`.
        root: folder that holds it; needed where the catalogue says so.
        download: fetch it into `root` where the catalogue can.
        size: side in pixels that a network sees.
        storage: keep decoded images in memory, or read files again and again; auto: see `common.data.file_dataset`.
        reading: how files are read in training.
        framing: how images are cut and resized.
        validation: `tenth` joins the set's own validation images to those that train, and a tenth of every class validates.
        domains: source and target of `domains`.
        cache: folder of decoded images, for sets that are read from image files.
        skip_unreadable: leave images out that cannot be read, and name them in `skipped`.

    Raises:
        InputError: an unknown name or class, a root that is not given, is not there or does not hold the set, or an option that
            does not apply.
    """
    from common.data.catalogue import entry_of
    from common.data.entries import Request

    entry, framing = entry_of(name), framing or Framing()
    request = Request(
        name,
        entry.classes,
        entry.input,
        root,
        download,
        entry.size if size is None else size,
        entry.storage if storage == "auto" else storage,
        reading or Reading(),
        replace(framing, crop=entry.crop if framing.crop == "auto" else framing.crop),
        validation,
        domains,
        cache,
        skip_unreadable,
        entry.layout,
    )
    entry.check(request)
    dataset = replace(entry.load(request), metric=entry.metric)
    return dataset if entry.input.size in (None, size) or size is None else _shown_at(dataset, size, request.framing)


def _shown_at(dataset: Dataset, size: int, framing: Framing) -> Dataset:
    """Return small images resized for a network that sees `size` pixels, in batch, where they are used."""
    framing = replace(framing, crop="fit" if framing.crop == "auto" else framing.crop)
    splits = {
        name: replace(part, shown_at=size, framing=framing) for name, part in dataset.splits.items() if isinstance(part, Images)
    }
    return replace(dataset, splits=splits, input=replace(dataset.input, size=size, interpolation=framing.interpolation))


def listed_fingerprint(name: str, *, root: str | None, domains: tuple[str, str] | None = None) -> str | None:
    """Return the fingerprint that a data set's images have now, without opening one.

    Returns:
        None where no look is needed: what is read under the data set's name is checked against its published sums.

    Raises:
        InputError: an unknown name, or a folder that is not there or cannot be read.
    """
    from common.data.catalogue import entry_of
    from common.data.entries import Request

    entry = entry_of(name)
    if entry.fingerprint is None:
        return None
    request = Request(name, entry.classes, entry.input, root, download=False, size=None, domains=domains, layout=entry.layout)
    return entry.fingerprint(request)
