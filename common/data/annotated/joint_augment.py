"""Images varied jointly with boxes, masks, keypoints and label maps. The one module that imports albumentations.

What albumentations is trusted with, and what not:

- An object's index is the label of its box; class, weight, mask and keypoints are looked up by it (labels come back as floats).
- `Compose.set_random_seed` gives every transform the same seed, so that all that have the same probability are applied together;
  one generator for all of them is set here instead, seeded for every sample.
- Its box-safe crop rounds down and so cuts boxes by up to a pixel; the crop here rounds outwards.
- It counts keypoints from the centres of pixels; here they are continuous, half a pixel more.
- Left and right keypoints of a mirrored image are exchanged here.
"""

from __future__ import annotations

import functools
import math
import os
import random
from dataclasses import replace
from typing import Any

import numpy as np

from common.data.annotated.config import JointAugmentConfig
from common.data.annotated.letterbox import FILL, Place, paste, paste_map, place_in
from common.data.annotated.mosaic import VISIBLE
from common.data.annotated.samples import Sample, out_of_sight
from common.data.annotated.sets import IGNORE

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # it would ask the package index for a newer version

import albumentations
from albumentations.core.type_definitions import ALL_TARGETS

_BLUR_SIGMA = (0.1, 2.0)
_SLACK = 1e-3
"""Pixels that float32 may be off by."""


@functools.lru_cache(maxsize=64)
def joint_augment(config: JointAugmentConfig, size: tuple[int, int]) -> JointAugment:
    """Return what varies samples; made once in every process.

    Args:
        config: how; mosaic, mixup and sizes are not its business.
        size: height and width of what comes out, pixels.
    """
    return JointAugment(config, size)


class JointAugment:
    """Vary samples; arguments as `joint_augment`."""

    def __init__(self, config: JointAugmentConfig, size: tuple[int, int]) -> None:
        self._size = size
        self._mirror = albumentations.HorizontalFlip(p=config.flip)
        colours = ("brightness", "contrast", "saturation")
        strengths = {name: (max(0.0, 1 - getattr(config, name)), 1 + getattr(config, name)) for name in colours}
        self._compose = albumentations.Compose(
            [
                _SafeCrop(p=config.crop),
                _SafeShift(p=config.translate),
                _Placed(size, config.scale, window=config.window),
                self._mirror,
                albumentations.ColorJitter(**strengths, hue=(-config.hue, config.hue), p=config.colour),
                albumentations.GaussianBlur(blur_limit=0, sigma_limit=_BLUR_SIGMA, p=config.blur),
            ],
            bbox_params=albumentations.BboxParams("pascal_voc", label_fields=["index"], min_visibility=VISIBLE),
            keypoint_params=albumentations.KeypointParams("xy", label_fields=["point"], remove_invisible=False),
        )

    def __call__(self, sample: Sample, seed: int, keypoint_swaps: tuple[tuple[int, int], ...] = ()) -> Sample:
        """Vary a sample.

        Args:
            sample: of any size.
            seed: what everything is drawn from.
            keypoint_swaps: pairs of keypoints that a mirrored image exchanges.

        Returns:
            A sample of the size; objects of which little is left in sight are dropped and counted.
        """
        self._compose.set_random_state(np.random.default_rng(seed), random.Random(seed))
        made = self._compose(**_as_data(sample))
        kept = np.asarray(made["index"]).astype(np.int64) if len(sample.labels) else np.zeros(0, dtype=np.int64)
        keypoints = None
        if sample.keypoints is not None:
            keypoints = out_of_sight(_keypoints_from(made, sample.keypoints), self._size)
            if self._mirror.get_applied_params():
                keypoints = _swapped(keypoints, keypoint_swaps)
        varied = replace(
            sample,
            pixels=made["image"],
            labels_map=made.get("mask"),
            masks=made["masks"] if "masks" in made else _no_masks(sample, self._size),
            keypoints=keypoints,
            dropped=sample.dropped + len(sample.labels) - len(kept),
        )
        boxes_M4 = np.asarray(made["bboxes"], dtype=np.float32).reshape(-1, 4) if len(kept) else np.zeros((0, 4), np.float32)
        return replace(varied.some(kept), boxes=boxes_M4)


class _SafeCrop(albumentations.BBoxSafeRandomCrop):
    """A crop that contains every box whole; of an image without boxes, nothing is cut."""

    def __init__(self, p: float) -> None:
        super().__init__(erosion_rate=0.0, p=p)

    @property
    def targets_as_params(self) -> list[str]:
        return []

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        height, width = params["shape"][:2]
        left, top, right, bottom = _union(data, (height, width))
        draw = self.py_random.random
        x1, y1 = math.floor(left * draw() + _SLACK), math.floor(top * draw() + _SLACK)
        x2, y2 = (math.ceil(at + (side - at) * draw() - _SLACK) for at, side in ((right, width), (bottom, height)))
        return {"crop_coords": (x1, y1, x2, y2)}


class _Moved(albumentations.DualTransform):
    """What moves an image, as a whole, to a `Place` on a canvas."""

    _targets = ALL_TARGETS

    def apply(self, img: np.ndarray, place: Place, canvas: tuple[int, int], **params: Any) -> np.ndarray:
        out_HW3 = np.full((*canvas, 3), FILL, dtype=np.uint8)
        paste(out_HW3, np.ascontiguousarray(img), place)
        return out_HW3

    def apply_to_mask(self, mask: np.ndarray, place: Place, canvas: tuple[int, int], **params: Any) -> np.ndarray:
        out_HW = np.full(canvas, IGNORE, dtype=np.uint8)
        paste_map(out_HW, mask, place)
        return out_HW

    def apply_to_masks(self, masks: np.ndarray, place: Place, canvas: tuple[int, int], **params: Any) -> np.ndarray:
        out_MHW = np.zeros((len(masks), *canvas), dtype=np.uint8)
        paste_map(out_MHW, masks, place)
        return out_MHW

    def apply_to_bboxes(self, bboxes: np.ndarray, place: Place, canvas: tuple[int, int], **params: Any) -> np.ndarray:
        height, width = params["shape"][:2]
        moved = bboxes.astype(np.float64)
        factor, shift = np.array([width, height] * 2) * place.scale, np.array([place.left, place.top] * 2)
        moved[:, :4] = (bboxes[:, :4] * factor + shift) / np.array([canvas[1], canvas[0]] * 2)
        return moved.astype(np.float32)

    def apply_to_keypoints(self, keypoints: np.ndarray, place: Place, **params: Any) -> np.ndarray:
        moved = keypoints.copy()
        moved[:, :2] = (keypoints[:, :2] + 0.5) * place.scale + np.array([place.left, place.top]) - 0.5
        return moved


class _SafeShift(_Moved):
    """A shift in whole pixels that keeps every box inside; an image without boxes may be shifted by half of its sides."""

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        height, width = params["shape"][:2]
        left, top, right, bottom = _union(data, (height, width), empty=True)
        shift = [
            self.py_random.randint(-math.floor(low + _SLACK), math.floor(side - high + _SLACK))
            for low, high, side in ((left, right, width), (top, bottom, height))
        ]
        return {"place": Place(1.0, shift[0], shift[1], height, width), "canvas": (height, width)}


class _Placed(_Moved):
    """Resizing by a random scale, onto a canvas: in its middle where it is smaller, a random window of it where it is larger."""

    def __init__(self, size: tuple[int, int], scale: tuple[float, float], *, window: bool) -> None:
        super().__init__(p=1.0)
        self._size, self._scale, self._window = size, scale, window

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        shape = (params["shape"][0], params["shape"][1])
        low, high = self._scale
        scale = low if low == high else self.py_random.uniform(low, high)
        if not self._window:
            fit = place_in(shape, self._size)
            if scale == 1.0:
                return {"place": fit, "canvas": self._size}
            scale *= fit.scale
        tall, wide = (max(1, round(side * scale)) for side in shape)
        top, left = (self._offset(side, most) for side, most in zip((tall, wide), self._size, strict=True))
        return {"place": Place(scale, left, top, tall, wide), "canvas": self._size}

    def _offset(self, side: int, most: int) -> int:
        return -self.py_random.randint(0, side - most) if side > most else (most - side) // 2


def _union(data: dict[str, Any], shape: tuple[int, int], *, empty: bool = False) -> tuple[float, float, float, float]:
    """Return the box around all boxes in pixels; where there are none, the whole image, or with `empty` its centre."""
    height, width = shape
    boxes = data.get("bboxes")
    if boxes is None or len(boxes) == 0:
        return (width / 2, height / 2, width / 2, height / 2) if empty else (0.0, 0.0, float(width), float(height))
    low, high = boxes[:, :2].min(axis=0), boxes[:, 2:4].max(axis=0)
    return float(low[0]) * width, float(low[1]) * height, float(high[0]) * width, float(high[1]) * height


def _as_data(sample: Sample) -> dict[str, Any]:
    """Return what albumentations is given: only what there is, since it takes nothing empty."""
    data: dict[str, Any] = {"image": sample.pixels}
    if sample.labels_map is not None:
        data["mask"] = sample.labels_map
    count = len(sample.labels)
    data["bboxes"], data["index"] = sample.boxes, np.arange(count)
    data["keypoints"], data["point"] = np.zeros((0, 2), dtype=np.float32), np.zeros(0)
    if count and sample.masks is not None:
        data["masks"] = sample.masks
    if count and sample.keypoints is not None:
        labelled = np.flatnonzero(sample.keypoints[..., 2].ravel() > 0)
        data["keypoints"], data["point"] = sample.keypoints.reshape(-1, 3)[labelled, :2] - 0.5, labelled
    return data


def _keypoints_from(made: dict[str, Any], before_MP3: np.ndarray) -> np.ndarray:
    """Return the keypoints of all objects, looked up by their index; the unlabelled ones are zero."""
    flat = np.zeros((before_MP3.shape[0] * before_MP3.shape[1], 3), dtype=np.float32)
    if len(made["keypoints"]):
        at = np.asarray(made["point"]).astype(np.int64)
        flat[at, :2] = np.asarray(made["keypoints"])[:, :2] + 0.5
        flat[at, 2] = before_MP3.reshape(-1, 3)[at, 2]
    return flat.reshape(before_MP3.shape)


def _swapped(keypoints_MP3: np.ndarray, swaps: tuple[tuple[int, int], ...]) -> np.ndarray:
    order = np.arange(keypoints_MP3.shape[1])
    for left, right in swaps:
        order[[left, right]] = order[[right, left]]
    return keypoints_MP3[:, order]


def _no_masks(sample: Sample, size: tuple[int, int]) -> np.ndarray | None:
    return None if sample.masks is None else np.zeros((0, *size), dtype=np.uint8)
