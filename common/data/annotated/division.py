"""How a set of annotated images in files is divided, what says which images are in it, and which classes it has."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from common.data.annotated.config import AnnotatedDataConfig
from common.data.annotated.pixels import PixelsInFiles, file_sizes, some_images
from common.data.annotated.sets import AnnotatedImages, AnnotatedSet
from common.data.inputs import InputSpec
from common.data.splits import stratified_split
from common.errors import InputError
from common.files import sha256_bytes

SPLIT_SEED = 20210612
HELD_OUT = 0.1


def lines_of(path: Path, *, needed: bool) -> list[str]:
    """Return the lines of a text that say something; none where there is no such file.

    Raises:
        InputError: it is needed and not there, or cannot be read.
    """
    try:
        return [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except FileNotFoundError as error:
        if needed:
            raise InputError(f"there is no {path}, which lists the images") from error
        return []
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read {path}: {getattr(error, 'strerror', None) or 'it is no text'}") from error


def held_out(images: AnnotatedImages, share: float = HELD_OUT) -> dict[str, AnnotatedImages]:
    """Divide the images of one part: a fixed share validates, the rest trains.

    Raises:
        InputError: there are too few for both.
    """
    parts = stratified_split([0] * len(images), {"train": 1 - share, "validation": share}, SPLIT_SEED)
    if not all(map(len, parts.values())):
        raise InputError(f"{len(images)} training images are too few to hold {share:.0%} of them out to validate")
    return {name: some_images(images, index.tolist()) for name, index in parts.items()}


def divided(parts: Mapping[str, AnnotatedImages]) -> dict[str, AnnotatedImages]:
    """Make train, validation and test of the parts that a set is published in.

    Without images that test, its validation images do, and a fixed tenth of those that train validates; so it does where there
    are none that validate.

    Args:
        parts: `train`, and at least one of `val` and `test`.
    """
    test = parts.get("test", parts.get("val"))
    assert test is not None, "whoever reads the parts sees to it"
    if "val" in parts and "test" in parts:
        return {"train": parts["train"], "validation": parts["val"], "test": test}
    return {**held_out(parts["train"]), "test": test}


def set_of_files(
    config: AnnotatedDataConfig,
    folder: Path,
    classes: Sequence[str],
    input: InputSpec,
    splits: Mapping[str, AnnotatedImages],
    mended: Mapping[str, int],
    keypoint_swaps: tuple[tuple[int, int], ...] = (),
) -> AnnotatedSet:
    """Make a data set of splits whose images are files below a folder.

    Raises:
        InputError: a split is empty, an image is missing, is in two splits or in one twice.
    """
    digests: dict[str, str] = {}
    seen: dict[str, str] = {}
    for split, images in splits.items():
        if not len(images):
            raise InputError(f"{folder}: the {split} split of {config.name} has no image; every split needs some")
        for name in images.names:
            if seen.get(name) == split:
                raise InputError(f"{folder / name} is in the {split} split twice; every image must be there once")
            if seen.setdefault(name, split) != split:
                raise InputError(f"{folder / name} is in two splits, {seen[name]} and {split}; take it out of one of them")
        digests[split] = _digest(images, file_sizes(folder, images.names))
    text = "\0".join(classes) + "".join(f"\n{split}\0{digest}" for split, digest in sorted(digests.items()))
    return AnnotatedSet(
        name=config.name,
        classes=tuple(classes),
        input=input,
        splits=splits,
        split_hash=sha256_bytes("".join(f"{split}\0{images.names}\n" for split, images in sorted(splits.items())).encode())[:16],
        fingerprint=f"{sum(map(len, splits.values()))}-{sha256_bytes(text.encode())[:16]}",
        mended=mended,
        keypoint_swaps=keypoint_swaps,
    )


def images_of(
    folder: Path, names: Sequence[str], sizes: torch.Tensor | Sequence[tuple[int, int]], **parts: object
) -> AnnotatedImages:
    """Return images below a folder; `parts` are further fields of `AnnotatedImages`."""
    import numpy as np

    sizes_N2 = np.asarray(sizes, dtype=np.int64).reshape(-1, 2)
    ids = parts.pop("ids", np.arange(len(names)))
    read = PixelsInFiles(folder, tuple(names), sizes_N2)
    return AnnotatedImages(names=tuple(names), ids=np.asarray(ids), sizes=sizes_N2, read=read, **parts)  # type: ignore[arg-type]


def _digest(images: AnnotatedImages, sizes: Sequence[int]) -> str:
    """Return a hash over names, bytes of the files, and objects; masks, which are large and made when asked for, are left out."""
    digest = hashlib.sha256()
    for name, size in zip(images.names, sizes, strict=True):
        digest.update(f"{name}\0{size}\n".encode("utf-8", "surrogateescape"))
    for objects in images.objects or ():
        digest.update(objects.boxes.astype("<f4").tobytes() + objects.labels.astype("<i8").tobytes() + b"\n")
        digest.update(objects.difficult.tobytes() + objects.crowd.tobytes() + objects.areas.astype("<f4").tobytes())
        if objects.keypoints is not None:
            digest.update(objects.keypoints.astype("<f4").tobytes())
    return digest.hexdigest()
