"""Scenes composed from scikit-learn's real digits, with exact boxes, instance masks, keypoints and label maps.

1 to 4 digits of 10 to 28 px stand on a canvas of 64 px over dimmed fragments, each with a contrast of its own; a digit may cover
another a little, never more than a fifth of its pixels. Everything is composed by a fixed seed, from digits of one split and
class subset alone (`common.data.digits`): no image leaks into another split, or into a subset that excludes its class, not even
as a fragment. N scenes; M digits in one; P = 4 keypoints of a digit.
"""

from __future__ import annotations

import functools
from collections import Counter

import numpy as np
import torch

from common.data.annotated.config import AnnotatedDataConfig
from common.data.annotated.objects import make_objects
from common.data.annotated.pixels import PixelsInMemory
from common.data.annotated.sets import AnnotatedImages, AnnotatedSet, Objects
from common.data.digits import digit_images, digit_split, enlarging, whole_numbers
from common.data.inputs import NORMALISATIONS, rgb
from common.data.splits import canonical_name, parse_name, split_hash
from common.files import sha256_bytes
from common.randomness import generator

SCENES = {"train": 600, "validation": 150, "test": 250}
SIDE = 64
"""Side of the canvas, pixels."""
KEYPOINT_SWAPS = ((2, 3),)
"""Leftmost and rightmost pixel."""

_SEED = 1797
_MOST, _TRIES = 4, 12
_SIDES = range(10, 29)
_CONTRAST = (0.5, 1.0)
_INK = 0.3
_VISIBLE = 0.8
_FRAGMENTS, _FRAGMENT_SIDES, _DIMMED = 6, range(8, 17), 0.25
# Of each digit: which one, side, contrast, then top and left of every try; of each fragment: which digit, side, top, left.
_DRAWS = 1 + _MOST * (3 + 2 * _TRIES) + 4 * _FRAGMENTS


def load_digit_scenes(config: AnnotatedDataConfig) -> AnnotatedSet:
    """Compose `digit_scenes`, or a class subset of it.

    Raises:
        InputError: an unknown class.
    """
    return _composed(*parse_name(config.name, 10))


@functools.lru_cache(maxsize=4)
def _composed(base: str, classes: tuple[int, ...]) -> AnnotatedSet:
    """Compose a class subset; kept, because runs that share a process mostly share it."""
    images_N88, labels_N = digit_images()
    chosen_N = np.isin(labels_N, classes)
    indices = {split: index[torch.from_numpy(chosen_N)[index]] for split, index in digit_split(labels_N).items()}
    own_N = np.searchsorted(np.array(classes), labels_N)
    splits = {name: _compose_split(images_N88, own_N, index.numpy(), name) for name, index in indices.items()}
    content = b"".join(split.read.images.tobytes() for split in splits.values())  # type: ignore[attr-defined]
    return AnnotatedSet(
        name=canonical_name(base, classes, 10),
        classes=tuple(str(label) for label in classes),
        input=rgb(SIDE, *NORMALISATIONS["unit"]),
        splits=splits,
        split_hash=split_hash(indices),
        fingerprint=f"{sum(map(len, splits.values()))}-{sha256_bytes(content)[:16]}",
        keypoint_swaps=KEYPOINT_SWAPS,
    )


def _compose_split(images_N88: np.ndarray, labels_N: np.ndarray, members_I: np.ndarray, split: str) -> AnnotatedImages:
    """Compose the scenes of one split from its digits, at `members_I`.

    Label maps are 0 on the background and 1 + class on a digit: a segmentation has K + 1 classes.
    """
    count = SCENES[split]
    draws_NK = torch.rand(count, _DRAWS, generator=generator(_SEED, f"digit_scenes/{split}"), dtype=torch.float64).numpy()
    gray_NHW = np.zeros((count, SIDE, SIDE))
    maps_NHW = np.zeros((count, SIDE, SIDE), dtype=np.uint8)
    objects = []
    for scene, draws_K in enumerate(draws_NK):
        digits_D3, fragments = draws_K[1 : 1 + _MOST * (3 + 2 * _TRIES)].reshape(_MOST, -1), draws_K[-4 * _FRAGMENTS :]
        _paste_fragments(gray_NHW[scene], images_N88, members_I, fragments.reshape(_FRAGMENTS, 4))
        wanted = 1 + int(draws_K[0] * _MOST)
        owner_HW, placed = _paste_digits(gray_NHW[scene], images_N88, members_I, digits_D3[:wanted])
        labels_M = labels_N[placed]
        maps_NHW[scene] = np.concatenate([[0], 1 + labels_M])[owner_HW]
        objects.append(_objects_of(owner_HW, labels_M))
    pixels_NHW = np.rint(gray_NHW * 255).astype(np.uint8)
    return AnnotatedImages(
        names=tuple(f"{split}/{index:04d}" for index in range(count)),
        ids=np.arange(count),
        sizes=np.full((count, 2), SIDE),
        read=PixelsInMemory(np.repeat(pixels_NHW[..., None], 3, axis=3)),
        objects=tuple(objects),
        read_labels=PixelsInMemory(maps_NHW),
    )


def _paste_fragments(canvas_HW: np.ndarray, images_N88: np.ndarray, members_I: np.ndarray, draws_F4: np.ndarray) -> None:
    """Put dimmed quarters of digits on the canvas, enlarged, by maximum."""
    for which, side, top, left in draws_F4:
        size = _FRAGMENT_SIDES[0] + int(side * len(_FRAGMENT_SIDES))
        digit_88 = images_N88[members_I[whole_numbers(which, len(members_I))]]
        enlarge_S8 = enlarging(2 * size)
        patch_SS = (enlarge_S8[:size] @ digit_88 @ enlarge_S8[size:].T) * _DIMMED
        rows, columns = (slice(at, at + size) for at in (int(place * (SIDE - size + 1)) for place in (top, left)))
        canvas_HW[rows, columns] = np.maximum(canvas_HW[rows, columns], patch_SS)


def _paste_digits(
    canvas_HW: np.ndarray, images_N88: np.ndarray, members_I: np.ndarray, draws_MD: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Put digits on the canvas, one over another; one that finds no place in all its tries is left out.

    Returns:
        Which digit each pixel belongs to, int64 (H, W), 0 for none and 1 .. M; and the M digits, as indices of all of them.
    """
    owner_HW = np.zeros((SIDE, SIDE), dtype=np.int64)
    whole: list[int] = []
    placed: list[int] = []
    for which, side, contrast, *places in draws_MD:
        size = _SIDES[0] + int(side * len(_SIDES))
        index = int(members_I[whole_numbers(which, len(members_I))])
        enlarge_S8 = enlarging(size)
        patch_SS = enlarge_S8 @ images_N88[index] @ enlarge_S8.T
        ink_SS = patch_SS > _INK
        for top, left in zip(places[::2], places[1::2], strict=True):
            rows, columns = (slice(at, at + size) for at in (int(place * (SIDE - size + 1)) for place in (top, left)))
            covering_HW = owner_HW.copy()
            covering_HW[rows, columns][ink_SS] = len(placed) + 1
            seen_M = np.bincount(covering_HW.ravel(), minlength=len(placed) + 2)[1:-1]
            if (seen_M >= _VISIBLE * np.array(whole)).all():
                break
        else:
            continue
        owner_HW = covering_HW
        low, high = _CONTRAST
        shown_SS = patch_SS * (low + (high - low) * contrast)
        under_SS = canvas_HW[rows, columns]
        canvas_HW[rows, columns] = np.where(ink_SS, shown_SS, np.maximum(under_SS, shown_SS))
        whole.append(int(ink_SS.sum()))
        placed.append(index)
    return owner_HW, np.array(placed)


def _objects_of(owner_HW: np.ndarray, labels_M: np.ndarray) -> Objects:
    """Return what is seen of each digit: its box, its mask, and its topmost, bottommost, leftmost and rightmost pixel."""
    from pycocotools import mask as run_lengths

    masks_HWM = np.asfortranarray(owner_HW[..., None] == np.arange(1, len(labels_M) + 1), dtype=np.uint8)
    boxes, keypoints = zip(*(_box_and_keypoints(mask_HW) for mask_HW in np.moveaxis(masks_HWM, 2, 0)), strict=True)
    return make_objects(
        boxes,
        labels_M,
        (SIDE, SIDE),
        Counter(),
        areas=masks_HWM.sum(axis=(0, 1)),
        masks=run_lengths.encode(masks_HWM),
        keypoints=keypoints,
    )


def _box_and_keypoints(mask_HW: np.ndarray) -> tuple[list[float], list[list[float]]]:
    """Return a tight box, and four keypoints at centres of pixels: the mean one where several are as far out."""
    ys, xs = np.nonzero(mask_HW)
    top, bottom, left, right = ys.min(), ys.max(), xs.min(), xs.max()
    points = [
        (xs[ys == top].mean(), top),
        (xs[ys == bottom].mean(), bottom),
        (left, ys[xs == left].mean()),
        (right, ys[xs == right].mean()),
    ]
    return [left, top, right + 1, bottom + 1], [[float(x) + 0.5, float(y) + 0.5, 2.0] for x, y in points]
