"""Masks of COCO's annotation files: polygons or run lengths, made into compressed run lengths when they are asked for.

Most runs of a detector never ask, and the polygons of all of COCO would take minutes to convert.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import InputError


@dataclass(frozen=True)
class _Segmentations(Sequence[Mapping[str, Any]]):
    """Masks of the objects of one image.

    Attributes:
        size: height and width of the image, pixels.
        of: of each object its polygons, float64 (2 * points,) each, or its run lengths.
    """

    size: tuple[int, int]
    of: tuple[tuple[np.ndarray, ...] | Mapping[str, Any], ...]

    def __len__(self) -> int:
        return len(self.of)

    def __getitem__(self, index: Any) -> Any:
        from pycocotools import mask as run_lengths

        if isinstance(index, slice):
            return tuple(self[at] for at in range(len(self))[index])
        one, (height, width) = self.of[index], self.size
        if not isinstance(one, Mapping):
            return run_lengths.merge(run_lengths.frPyObjects([points.tolist() for points in one], height, width))
        return run_lengths.frPyObjects(dict(one), height, width) if isinstance(one["counts"], list) else dict(one)

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        return (self[index] for index in range(len(self)))


def masks_of(path: Path, annotations: Sequence[Mapping[str, Any]], size: tuple[int, int]) -> Sequence[Mapping[str, Any]]:
    """Return the masks of the objects of one image.

    Args:
        path: the annotation file, for messages.
        annotations: each with its segmentation.
        size: height and width of the image, pixels.

    Raises:
        InputError: a polygon has fewer than three points, or run lengths are of another size.
    """
    return _Segmentations(size, tuple(_checked(path, one["id"], one["segmentation"], size) for one in annotations))


def _checked(path: Path, id: int, segmentation: Any, size: tuple[int, int]) -> tuple[np.ndarray, ...] | Mapping[str, Any]:
    if isinstance(segmentation, Mapping):
        counts = segmentation.get("counts")
        if list(segmentation.get("size", ())) != list(size) or not isinstance(counts, list | str | bytes):
            raise InputError(
                f"{path}: annotation {id} has run lengths of size {segmentation.get('size')!r}, expected counts and the image's "
                f"[height, width], {list(size)}"
            )
        return {"size": list(size), "counts": counts.encode() if isinstance(counts, str) else counts}
    try:
        polygons = tuple(np.array(points, dtype=np.float64) for points in segmentation)
    except (TypeError, ValueError):
        polygons = ()
    if not polygons or any(points.ndim != 1 or len(points) < 6 or len(points) % 2 for points in polygons):
        raise InputError(f"{path}: annotation {id} has a polygon that is no [x1, y1, x2, y2, ...] of at least three points")
    return polygons
