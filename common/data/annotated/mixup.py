"""Mixing of two images with the objects of both.

Zhang et al. 2018, "mixup"; for detection Zhang et al. 2019, "Bag of Freebies for Training Object Detection Neural Networks".
"""

from __future__ import annotations

import numpy as np

from common.data.annotated.samples import Sample

_ALPHA = 1.5


def mixed(first: Sample, second: Sample, seed: int) -> Sample:
    """Mix two samples of one size.

    Args:
        first: without a label map.
        second: likewise.
        seed: what the share of the first is drawn from, Beta(1.5, 1.5).

    Returns:
        The mean of both images, weighted by their shares, with the objects of both, each weighted by the share of its image.
    """
    share = float(np.random.default_rng(seed).beta(_ALPHA, _ALPHA))
    blend_HW3 = share * first.pixels.astype(np.float32) + (1 - share) * second.pixels.astype(np.float32)
    weights = [first.weights * np.float32(share), second.weights * np.float32(1 - share)]
    return Sample(
        np.rint(blend_HW3).astype(np.uint8),
        np.concatenate([first.boxes, second.boxes]),
        np.concatenate([first.labels, second.labels]),
        np.concatenate(weights).astype(np.float32),
        masks=None if first.masks is None or second.masks is None else np.concatenate([first.masks, second.masks]),
        keypoints=(
            None if first.keypoints is None or second.keypoints is None else np.concatenate([first.keypoints, second.keypoints])
        ),
        dropped=first.dropped + second.dropped,
    )
