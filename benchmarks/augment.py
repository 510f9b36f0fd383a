"""Views per second of the batched augmentation against `lightly`'s SimCLR transform: `python -m benchmarks.augment`.

Two views of 256 images of 32 px, the same operations with the same ranges, one thread each.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Sequence

import torch

from benchmarks.measure import arguments, interleaved, report
from common.data.augment import AugmentConfig, two_views
from common.randomness import generator

IMAGES = 256
PEER_IMAGES = 64
SIZE = 32


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; return 0."""
    options = arguments("augment", __doc__ or "", argv, repeats=15)
    torch.set_num_threads(1)
    images = torch.randint(0, 256, (IMAGES, 3, SIZE, SIZE), dtype=torch.uint8, generator=generator(0, "benchmark"))
    seconds = interleaved({"ours": _ours(images), "lightly": _lightly(images)}, options.repeats)
    ours = 2 * IMAGES / statistics.median(seconds["ours"])
    peer = 2 * PEER_IMAGES / statistics.median(seconds["lightly"])
    report({"augment_32px": ours / peer}, {"views_per_second": ours, "views_per_second_lightly": peer}, options.json)
    return 0


def _ours(images: torch.Tensor) -> Callable[[], object]:
    config = AugmentConfig()
    return lambda: two_views(images, config, SIZE, generator(0, "benchmark_views"))


def _lightly(images: torch.Tensor) -> Callable[[], object]:
    from lightly.transforms import SimCLRTransform
    from PIL import Image

    transform = SimCLRTransform(input_size=SIZE, cj_strength=0.5, gaussian_blur=0.0, normalize=None)
    pictures = [Image.fromarray(image.permute(1, 2, 0).numpy()) for image in images[:PEER_IMAGES]]
    return lambda: [transform(picture) for picture in pictures]


if __name__ == "__main__":
    sys.exit(main())
