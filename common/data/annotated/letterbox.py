"""Letter-boxing: an image is resized to fit, keeping its ratio, and what is left of the canvas is filled."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from common.data.annotated.sets import IGNORE
from common.data.framing import resize

FILL = 128
"""Gray level of what an image does not cover."""


@dataclass(frozen=True)
class Place:
    """Where an image lies on a canvas: point p of it at p * scale + (left, top).

    Attributes:
        scale: pixels of the canvas for each of the image.
        left: pixels.
        top: pixels.
        height: of the resized image, pixels; rounded, so that its lower and right border may be half a pixel off.
        width: likewise.
    """

    scale: float
    left: int
    top: int
    height: int
    width: int

    def onto(self, boxes_M4: np.ndarray) -> np.ndarray:
        """Return boxes of the image as boxes of the canvas, float32 (M, 4)."""
        return (boxes_M4 * self.scale + self._shift(4)).astype(np.float32)

    def back(self, boxes_M4: np.ndarray) -> np.ndarray:
        """Return boxes of the canvas as boxes of the image, float32 (M, 4)."""
        return ((boxes_M4 - self._shift(4)) / self.scale).astype(np.float32)

    def points_onto(self, points_MP3: np.ndarray) -> np.ndarray:
        """Return keypoints of the image as keypoints of the canvas, float32 (M, P, 3)."""
        factor, shift = np.array([self.scale, self.scale, 1.0]), np.array([self.left, self.top, 0.0])
        return (points_MP3 * factor + shift).astype(np.float32)

    def _shift(self, count: int) -> np.ndarray:
        return np.array([self.left, self.top] * (count // 2), dtype=np.float32)


def place_in(image: tuple[int, int], canvas: tuple[int, int]) -> Place:
    """Return the place of an image in the middle of a canvas that it just fits; both are height and width in pixels."""
    scale = min(canvas[0] / image[0], canvas[1] / image[1])
    height, width = (max(1, min(round(side * scale), most)) for side, most in zip(image, canvas, strict=True))
    return Place(scale, (canvas[1] - width) // 2, (canvas[0] - height) // 2, height, width)


def resized(image_HW3: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize an image, uint8 (H, W, 3), bilinear with antialiasing."""
    if image_HW3.shape[:2] == (height, width):
        return image_HW3
    return resize(torch.from_numpy(image_HW3).permute(2, 0, 1), height, width).permute(1, 2, 0).numpy()


def resized_map(labels_HW: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize a label map, (H, W), or masks, (M, H, W), to the nearest pixel."""
    if labels_HW.shape[-2:] == (height, width):
        return labels_HW
    rows, columns = (_nearest(before, after) for before, after in zip(labels_HW.shape[-2:], (height, width), strict=True))
    return labels_HW[..., rows[:, None], columns]


def letterboxed(image_HW3: np.ndarray, place: Place, canvas: tuple[int, int]) -> np.ndarray:
    """Return an image on a gray canvas, uint8 (height, width, 3)."""
    out_HW3 = np.full((*canvas, 3), FILL, dtype=np.uint8)
    rows, columns = slice(place.top, place.top + place.height), slice(place.left, place.left + place.width)
    out_HW3[rows, columns] = resized(image_HW3, place.height, place.width)
    return out_HW3


def letterboxed_map(labels_HW: np.ndarray, place: Place, canvas: tuple[int, int], fill: int = IGNORE) -> np.ndarray:
    """Return a label map, (H, W), or masks, (M, H, W), on a canvas of `fill`, uint8 (..., height, width)."""
    out = np.full((*labels_HW.shape[:-2], *canvas), fill, dtype=np.uint8)
    rows, columns = slice(place.top, place.top + place.height), slice(place.left, place.left + place.width)
    out[..., rows, columns] = resized_map(labels_HW, place.height, place.width)
    return out


def paste(canvas_HW3: np.ndarray, image_HW3: np.ndarray, place: Place) -> None:
    """Put an image on a canvas, as far as it reaches: its place may begin before the canvas and end beyond it."""
    rows, columns, cut = _reach(place, (canvas_HW3.shape[0], canvas_HW3.shape[1]))
    canvas_HW3[rows, columns] = resized(image_HW3, place.height, place.width)[cut]


def paste_map(canvas_HW: np.ndarray, labels_HW: np.ndarray, place: Place) -> None:
    """Put a label map, (H, W), or masks, (M, H, W), on a canvas of the same kind, as `paste`."""
    rows, columns, cut = _reach(place, (canvas_HW.shape[-2], canvas_HW.shape[-1]))
    canvas_HW[..., rows, columns] = resized_map(labels_HW, place.height, place.width)[..., *cut]


def _reach(place: Place, canvas: tuple[int, int]) -> tuple[slice, slice, tuple[slice, slice]]:
    """Return which rows and columns of a canvas are covered, and by which of the resized image."""
    covered, cut = [], []
    for start, length, side in ((place.top, place.height, canvas[0]), (place.left, place.width, canvas[1])):
        low, high = min(max(start, 0), side), min(max(start + length, 0), side)
        covered.append(slice(low, high))
        cut.append(slice(low - start, high - start) if high > low else slice(0, 0))
    return covered[0], covered[1], (cut[0], cut[1])


def _nearest(before: int, after: int) -> np.ndarray:
    """Return which pixel each one takes: the one that its centre lies in."""
    return np.minimum(((np.arange(after) + 0.5) * before / after).astype(np.int64), before - 1)
