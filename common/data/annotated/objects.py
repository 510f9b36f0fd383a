"""Objects of an image from what a file says of them: boxes past the border are clipped, those without area left out; both count.

M objects of an image.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from common.data.annotated.sets import Objects

CLIPPED, WITHOUT_AREA = "boxes_clipped", "boxes_without_area"


def make_objects(
    boxes: Any,
    labels: Any,
    size: tuple[int, int],
    mended: Counter[str],
    *,
    difficult: Any = None,
    crowd: Any = None,
    areas: Any = None,
    masks: Sequence[Mapping[str, Any]] | None = None,
    keypoints: Any = None,
) -> Objects:
    """Build the objects of one image.

    Args:
        boxes: (M, 4), x1, y1, x2, y2 in pixels, continuous, as annotated.
        labels: (M,), in 0 .. K-1.
        size: height and width of the image, pixels.
        mended: what was changed is added to it.
        difficult: (M,), see `Objects`; None: none is.
        crowd: (M,), see `Objects`; None: none is.
        areas: (M,), pixels; None: the clipped boxes'.
        masks: M run lengths; None: there are none.
        keypoints: (M, P, 3); None: there are none.

    Returns:
        The objects whose box has an area inside the image, in their order.
    """
    given_M4 = np.asarray(boxes, dtype=np.float32).reshape(-1, 4)
    labels_M = np.asarray(labels, dtype=np.int64)
    height, width = size
    boxes_M4 = given_M4.clip(0, np.array([width, height, width, height], dtype=np.float32))
    has_area_M = (boxes_M4[:, 2] > boxes_M4[:, 0]) & (boxes_M4[:, 3] > boxes_M4[:, 1])
    mended[WITHOUT_AREA] += int((~has_area_M).sum())
    mended[CLIPPED] += int(((boxes_M4 != given_M4).any(axis=1) & has_area_M).sum())
    kept = np.flatnonzero(has_area_M)
    none_M = np.zeros(len(labels_M), dtype=bool)
    return Objects(
        boxes=boxes_M4[kept],
        labels=labels_M[kept],
        difficult=(none_M if difficult is None else np.asarray(difficult, dtype=bool))[kept],
        crowd=(none_M if crowd is None else np.asarray(crowd, dtype=bool))[kept],
        areas=box_areas(boxes_M4[kept]) if areas is None else np.asarray(areas, dtype=np.float32)[kept],
        masks=_some(masks, kept.tolist()),
        keypoints=None if keypoints is None else np.asarray(keypoints, dtype=np.float32)[kept],
    )


def _some(masks: Sequence[Mapping[str, Any]] | None, kept: Sequence[int]) -> Sequence[Mapping[str, Any]] | None:
    return masks if masks is None or len(kept) == len(masks) else tuple(masks[index] for index in kept)


def box_areas(boxes_M4: np.ndarray) -> np.ndarray:
    """Return float32 (M,), pixels."""
    return ((boxes_M4[:, 2] - boxes_M4[:, 0]) * (boxes_M4[:, 3] - boxes_M4[:, 1])).astype(np.float32)


def counted(mended: Counter[str]) -> dict[str, int]:
    """Return what was really changed."""
    return {what: count for what, count in sorted(mended.items()) if count}
