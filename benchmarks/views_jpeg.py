"""Images per second that become two training views of 224 px, from JPEG files: `python -m benchmarks.views_jpeg`.

2,000 JPEGs of 500 x 375 px are made anew (`benchmarks.photos`).

Ours is `TrainViews` on images in files. The others are torchvision's ImageFolder and DataLoader with as many processes, where the
image is decoded once for both views too: its transforms on PIL images, as most published code has them, and its v2 transforms on
uint8 tensors. The views are SimCLR's for ImageNet without blur, normalised, float32. Whole epochs in turn, all on the CPU.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.measure import arguments, interleaved, median_ratio, report
from benchmarks.photos import write_photos
from common.config import TrainConfig
from common.data.datasets import Dataset, load_data
from common.data.loaders import loader_of
from common.data.reading import Reading
from common.data.view_tables import IMAGENET_VIEWS
from common.training.views import TrainViews

IMAGES = 2_000
BATCH, SIZE = 64, 224


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; return 0."""
    options = arguments("views_jpeg", __doc__ or "", argv, repeats=5)
    torch.set_num_threads(1)
    workers = Reading().processes()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        places = [f"{'test' if index == IMAGES else 'train'}/photo/{index:04d}.jpg" for index in range(IMAGES + 1)]
        size = write_photos(root, places)
        data = load_data("folder", root=folder, size=SIZE, storage="files", reading=Reading(workers))
        cases = {
            "ours": _ours(data),
            "torchvision": _torchvision(root, workers, *_pil_transforms(data)),
            "torchvision_v2": _torchvision(root, workers, *_tensor_transforms(data)),
        }
        seconds = interleaved(cases, options.repeats)
    ratios = {"views_jpeg": median_ratio(seconds["torchvision"], seconds["ours"])}
    other = {"views_jpeg_over_v2": median_ratio(seconds["torchvision_v2"], seconds["ours"])}
    count = len(data.train) // BATCH * BATCH
    rates = {f"images_per_second_{name}": count / statistics.median(times) for name, times in seconds.items()}
    report(ratios, {**other, **rates, "workers": workers, "mean_jpeg_kB": size}, options.json)
    return 0


def _ours(data: Dataset) -> Callable[[], object]:
    views = TrainViews(loader_of(data.train, "cpu"), data.input, IMAGENET_VIEWS, TrainConfig(batch_size=BATCH), seed=0, views=2)
    epochs = iter(range(1_000_000))

    def epoch() -> None:
        for _ in views.batches(0, next(epochs), 0):
            pass

    return epoch


class _Twice:
    """Two views of an image that was decoded once."""

    def __init__(self, transform: Callable[[Any], Any]) -> None:
        self.transform = transform

    def __call__(self, image: Any) -> tuple[Any, Any]:
        return self.transform(image), self.transform(image)


def _pil_transforms(data: Dataset) -> tuple[Callable[[Any], Any], Callable[[str], Any]]:
    from torchvision import transforms
    from torchvision.datasets.folder import default_loader

    a = IMAGENET_VIEWS
    jitter = transforms.ColorJitter(a.brightness, a.contrast, a.saturation, a.hue)
    steps = [
        transforms.RandomResizedCrop(SIZE, a.crop_scale, a.crop_ratio),
        transforms.RandomHorizontalFlip(a.flip),
        transforms.RandomApply([jitter], a.jitter_probability),
        transforms.RandomGrayscale(a.gray_probability),
        transforms.ToTensor(),
        transforms.Normalize(data.input.mean, data.input.std),
    ]
    return transforms.Compose(steps), default_loader


def _tensor_transforms(data: Dataset) -> tuple[Callable[[Any], Any], Callable[[str], Any]]:
    from torchvision.io import ImageReadMode, decode_image
    from torchvision.transforms import v2

    a = IMAGENET_VIEWS
    steps = [
        v2.RandomResizedCrop(SIZE, a.crop_scale, a.crop_ratio, antialias=True),
        v2.RandomHorizontalFlip(a.flip),
        v2.RandomApply([v2.ColorJitter(a.brightness, a.contrast, a.saturation, a.hue)], a.jitter_probability),
        v2.RandomGrayscale(a.gray_probability),
        v2.ToDtype(torch.float32, scale=True),
        v2.Normalize(data.input.mean, data.input.std),
    ]
    return v2.Compose(steps), lambda path: decode_image(path, mode=ImageReadMode.RGB)


def _torchvision(root: Path, workers: int, transform: Callable[[Any], Any], read: Callable[[str], Any]) -> Callable[[], object]:
    from torch.utils.data import DataLoader, Subset
    from torchvision.datasets import ImageFolder

    folder = ImageFolder(str(root / "train"), _Twice(transform), loader=read)
    # As many images as ours, which holds a tenth out.
    images = Subset(folder, range(round(0.9 * len(folder))))
    loader = DataLoader(images, BATCH, shuffle=True, num_workers=workers, drop_last=True, persistent_workers=True)

    def epoch() -> None:
        for _ in loader:
            pass

    return epoch


if __name__ == "__main__":
    sys.exit(main())
