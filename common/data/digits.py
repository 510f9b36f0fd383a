"""scikit-learn's handwritten digits: 1,797 real images of 8 x 8 pixels, as they are and cluttered.

Cluttered, a digit of random size, place and contrast stands over dimmed fragments of other digits: raw pixels no longer
classify it well, a learned representation does. Everything is composed by a fixed seed. Fragments come only from digits of
the same split and the same class subset, so no image leaks into another split or into a subset that excludes its class.
"""

from __future__ import annotations

import numpy as np
import torch

from common.data.datasets import Dataset, Images, content_fingerprint, renumbered
from common.data.entries import Request
from common.data.splits import canonical_name, parse_name, split_hash, stratified_split
from common.randomness import generator

_SEED = 1797
_SHARES = {"train": 0.6, "validation": 0.16, "test": 0.24}
_CANVAS, _SIDE, _FRAGMENT, _FRAGMENTS = 16, 8, 4, 3
_STRENGTH, _BACKGROUND = 0.6, 0.5
_SIZES = range(9, 14)
_CONTRAST = (0.5, 1.0)
# Per fragment: which digit, where it is cut, where it goes; for the digit: size, place, contrast.
_DRAWS = 5 * _FRAGMENTS + 4


def digit_images() -> tuple[np.ndarray, np.ndarray]:
    """Return the images, float64 (1797, 8, 8) in [0, 1], and the labels, int64 (1797,)."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return bunch.images / 16.0, bunch.target.astype(np.int64)


def digit_split(labels: np.ndarray) -> dict[str, torch.Tensor]:
    """Return the one split of the digits (60 / 16 / 24 % of every class), as sorted indices of the original images."""
    return stratified_split(torch.from_numpy(labels), _SHARES, _SEED)


def load_digit_images(request: Request, *, cluttered: bool) -> Dataset:
    """Build `digits` (cluttered, 16 px) or `digits_clean` (8 px), or a class subset of either.

    Raises:
        InputError: an unknown class.
    """
    images_NHW, labels = digit_images()
    labels_N = torch.from_numpy(labels)
    name, classes = parse_name(request.name, 10)
    chosen_N = torch.isin(labels_N, torch.tensor(classes))
    indices = {split: index[chosen_N[index]] for split, index in digit_split(labels).items()}
    splits = {}
    for split, index in indices.items():
        gray_NHW = clutter(images_NHW, index.numpy()) if cluttered else images_NHW[index.numpy()]
        pixels_NHW = torch.from_numpy(np.rint(gray_NHW * 255).astype(np.uint8))
        splits[split] = Images(pixels_NHW.unsqueeze(1).repeat(1, 3, 1, 1), renumbered(labels_N[index], classes))
    return Dataset(
        name=canonical_name(name, classes, 10),
        classes=tuple(str(label) for label in classes),
        input=request.input,
        splits=splits,
        split_hash=split_hash(indices),
        fingerprint=content_fingerprint(splits),
    )


def clutter(images_NHW: np.ndarray, indices_M: np.ndarray) -> np.ndarray:
    """Compose the cluttered version of some digits, with fragments of these digits alone and never of the image itself.

    A digit's size, place and contrast depend on its original index alone: they are the same in every class subset.

    Args:
        images_NHW: all digits, (N, 8, 8) in [0, 1].
        indices_M: original indices of the digits of one split and class subset, (M,), M >= 2.

    Returns:
        float64 (M, 16, 16) in [0, 1].
    """
    random = generator(_SEED, "clutter")
    draws_NK = torch.rand(len(images_NHW), _DRAWS, generator=random, dtype=torch.float64).numpy()
    draws_MK, digits_MHW = draws_NK[indices_M], images_NHW[indices_M]
    canvas_MHW = np.zeros((len(indices_M), _CANVAS, _CANVAS))
    for k in range(_FRAGMENTS):
        _paste_fragment(canvas_MHW, digits_MHW, draws_MK[:, 5 * k : 5 * k + 5])
    canvas_MHW *= _STRENGTH * _BACKGROUND
    size_M, top_M, left_M, contrast_M = draws_MK[:, 5 * _FRAGMENTS :].T
    size_M = _SIZES[0] + whole_numbers(size_M, len(_SIZES))
    for size in _SIZES:
        chosen = np.flatnonzero(size_M == size)
        places = _CANVAS - size + 1
        enlarge_SH = enlarging(size)
        patches_KSS = enlarge_SH @ digits_MHW[chosen] @ enlarge_SH.T
        _paste(canvas_MHW, chosen, patches_KSS, whole_numbers(top_M[chosen], places), whole_numbers(left_M[chosen], places))
    low, high = _CONTRAST
    return canvas_MHW * (low + (high - low) * contrast_M)[:, None, None]


def _paste_fragment(canvas_MHW: np.ndarray, digits_MHW: np.ndarray, draws_M5: np.ndarray) -> None:
    """Put one fragment of another digit somewhere on every canvas."""
    count, cuts, places = len(digits_MHW), _SIDE - _FRAGMENT + 1, _CANVAS - _FRAGMENT + 1
    own_M = np.arange(count)
    other_M = whole_numbers(draws_M5[:, 0], count - 1)
    other_M += other_M >= own_M
    windows = np.lib.stride_tricks.sliding_window_view(digits_MHW, (_FRAGMENT, _FRAGMENT), axis=(1, 2))
    patches_MSS = windows[other_M, whole_numbers(draws_M5[:, 1], cuts), whole_numbers(draws_M5[:, 2], cuts)]
    _paste(canvas_MHW, own_M, patches_MSS, whole_numbers(draws_M5[:, 3], places), whole_numbers(draws_M5[:, 4], places))


def _paste(canvas_MHW: np.ndarray, rows_K: np.ndarray, patches_KSS: np.ndarray, top_K: np.ndarray, left_K: np.ndarray) -> None:
    """Combine patches of one size with their canvases by maximum, in place."""
    span = np.arange(patches_KSS.shape[1])
    place = (rows_K[:, None, None], (top_K[:, None] + span)[:, :, None], (left_K[:, None] + span)[:, None, :])
    canvas_MHW[place] = np.maximum(canvas_MHW[place], patches_KSS)


def whole_numbers(uniform: np.ndarray, count: int) -> np.ndarray:
    """Turn numbers in [0, 1), of any shape, into int64 in 0 .. count-1."""
    return (uniform * count).astype(np.int64)


def enlarging(size: int) -> np.ndarray:
    """Return the (size, 8) weights that enlarge a side of 8 pixels bilinearly, half-pixel centres, borders repeated."""
    centre_S = ((np.arange(size) + 0.5) * _SIDE / size - 0.5).clip(0, _SIDE - 1)
    return (1 - np.abs(centre_S[:, None] - np.arange(_SIDE))).clip(0)
