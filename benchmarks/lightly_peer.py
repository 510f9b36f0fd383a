"""The peer of `benchmarks.pretrain`: the same pre-training with `lightly`'s transforms, loss and momentum update.

Written as `lightly` documents it: a PIL data set, a PyTorch DataLoader with its transform in the workers, both views through the
network at once. Backbone, head, optimizer, learning rate, batch, precision and threads are those of our side.
"""

from __future__ import annotations

import copy
import itertools
import time
from collections.abc import Callable

import torch
from lightly.loss import NTXentLoss
from lightly.models.utils import deactivate_requires_grad, update_momentum
from lightly.transforms import SimCLRTransform
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from common.config import RunConfig
from common.data.augment_config import AugmentConfig
from common.data.datasets import Images
from common.data.inputs import InputSpec
from common.models.heads import Network
from common.training.optim import Schedule, build_optimizer, set_rate
from common.training.precision import autocast

Loss = Callable[[tuple[Tensor, Tensor]], Tensor]


class Pictures(TorchDataset[tuple[list[Tensor], int]]):
    """Images as PIL pictures in memory, with a transform that makes two views of each."""

    def __init__(self, images: Images, transform: Callable[[Image.Image], list[Tensor]]) -> None:
        self._pictures = [Image.fromarray(image.permute(1, 2, 0).numpy()) for image in images.images]
        self._labels, self._transform = images.labels.tolist(), transform

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> tuple[list[Tensor], int]:
        return self._transform(self._pictures[index]), self._labels[index]


def transform(views: AugmentConfig, input: InputSpec, size: int) -> SimCLRTransform:
    """Return `lightly`'s transform with our operations and strengths; MoCo v2's is the same class with other defaults.

    Raises:
        ValueError: our views have what its transform has not, so that the two sides would not do the same.
    """
    if views.pad is not None or views.crop_scale[1] != 1.0 or views.crop_ratio != (3 / 4, 4 / 3):
        raise ValueError(f"lightly's transform has no such crop: {views}")
    return SimCLRTransform(
        input_size=size,
        cj_prob=views.jitter_probability,
        cj_strength=1.0,
        cj_bright=views.brightness,
        cj_contrast=views.contrast,
        cj_sat=views.saturation,
        cj_hue=views.hue,
        min_scale=views.crop_scale[0],
        random_gray_scale=views.gray_probability,
        gaussian_blur=views.blur_probability,
        sigmas=views.blur_sigma,
        hf_prob=views.flip,
        normalize={"mean": list(input.mean), "std": list(input.std)},
    )


def loader(images: Images, views: AugmentConfig, input: InputSpec, batch: int, workers: int, *, pin: bool) -> DataLoader:
    """Return a shuffling DataLoader of (two views, labels); its workers stay from epoch to epoch."""
    pictures = Pictures(images, transform(views, input, images.images.shape[-1]))
    return DataLoader(
        pictures, batch, shuffle=True, drop_last=True, num_workers=workers, persistent_workers=workers > 0, pin_memory=pin
    )


def simclr(network: Network, temperature: float) -> Loss:
    """Return SimCLR's loss of a pair of views: both through the network at once."""
    criterion = NTXentLoss(temperature=temperature)

    def loss(views: tuple[Tensor, Tensor]) -> Tensor:
        first, second = network(torch.cat(views)).chunk(2)
        return criterion(first, second)

    return loss


def moco(network: Network, temperature: float, bank: tuple[int, int], momentum: float) -> Loss:
    """Return MoCo's loss of a pair of views: the second through a momentum encoder, which moves first, and a bank of negatives.

    Args:
        network: the query encoder; the key encoder starts as a copy of it.
        temperature: of the similarities.
        bank: keys in the memory bank, and their width.
        momentum: of the key encoder.
    """
    keys = copy.deepcopy(network)
    deactivate_requires_grad(keys)
    criterion = NTXentLoss(temperature=temperature, memory_bank_size=bank)

    def loss(views: tuple[Tensor, Tensor]) -> Tensor:
        update_momentum(network, keys, m=momentum)
        with torch.no_grad():
            key = keys(views[1])
        return criterion(network(views[0]), key)

    return loss


def training(network: Network, config: RunConfig, schedule: Schedule, data: DataLoader, loss: Loss) -> Callable[[], None]:
    """Return one epoch of training, to be called again and again."""
    device = next(network.parameters()).device
    layout = torch.channels_last if config.train.channels_last else torch.contiguous_format
    network.train()
    optimizer = build_optimizer([{"params": list(network.parameters())}], config.optim)
    steps = itertools.count()

    def epoch() -> None:
        for views, _ in data:
            set_rate(optimizer, schedule(next(steps)))
            first, second = (view.to(device, non_blocking=True, memory_format=layout) for view in views)
            optimizer.zero_grad(set_to_none=True)
            with autocast(device, config.train.precision):
                value = loss((first, second))
            value.backward()
            optimizer.step()

    return epoch


def best_workers(candidates: dict[int, Callable[[], object]], repeats: int = 2) -> int:
    """Return the number of workers whose epoch is fastest, by the best of some epochs after one that starts the workers."""
    seconds: dict[int, float] = {}
    for workers, epoch in candidates.items():
        epoch()
        times = []
        for _ in range(repeats):
            started = time.perf_counter()
            epoch()
            times.append(time.perf_counter() - started)
        seconds[workers] = min(times)
    return min(seconds, key=lambda workers: seconds[workers])
