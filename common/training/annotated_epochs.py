"""What tasks on annotated images share in training: batches of an epoch, loaders, and the backbone's own rate."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from common.data.annotated.batch import AnnotatedBatch
from common.data.annotated.catalogue import size_of
from common.data.annotated.loader import AnnotatedLoader
from common.data.annotated.sets import AnnotatedSet
from common.models.heads import Network
from common.training.distributed import share


def loader_of_split(
    config: Any, dataset: AnnotatedSet, split: str, device: torch.device, *, varied: bool, with_maps: bool = False
) -> AnnotatedLoader:
    """Return a loader of one split, as `data` and `augment` of a configuration say.

    Args:
        config: an `AnnotatedTaskConfig`.
        dataset: of the images.
        split: its name.
        device: where batches come to lie.
        varied: as they train; else as they are evaluated.
        with_maps: whether batches carry label maps.

    Raises:
        InputError: there is no such split, or no label map in it.
    """
    data = config.data
    return AnnotatedLoader(
        dataset.split(split),
        dataset.input,
        size_of(data),
        device,
        workers=data.workers,
        augment=config.augment if varied else None,
        with_maps=with_maps,
        memory=data.memory,
    )


def epoch_batches(images: AnnotatedLoader, config: Any, round: int, epoch: int, first: int) -> Iterator[AnnotatedBatch]:
    """Yield an epoch's whole batches from optimizer step `first` on, varied; this process's part of each."""
    train, seed = config.train, config.seed.task
    own, start = share(train.batch_size), first * train.accumulate
    order = images.order(seed, "task_order", round, epoch)
    whole = [batch for batch in order.split(train.batch_size) if len(batch) == train.batch_size]
    yield from images.train_batches(
        whole[start:], seed=seed, stream="task_views", round=round, epoch=epoch, first=start, part=slice(own.start, own.stop)
    )


def groups_at_two_rates(network: Network, backbone_scale: float) -> list[dict[str, Any]]:
    """Return optimizer groups: the backbone's parameters at a multiple of the rate, and the head's."""
    return [
        {"params": list(network.backbone.parameters()), "lr_scale": backbone_scale},
        {"params": list(network.head.parameters())},
    ]
