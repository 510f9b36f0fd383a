"""The target of a run, and a fresh network for it."""

from __future__ import annotations

from typing import Any

from torch import nn

from common.data.datasets import Dataset, open_data
from common.errors import InputError
from common.models.backbones import configured_backbone
from common.models.heads import linear_head
from Downstream.config import DownstreamConfig
from Downstream.labels import Labelled, labelled_images


def open_target(config: DownstreamConfig) -> tuple[Dataset, Labelled]:
    """Load the target, and choose the images whose labels may be used.

    Raises:
        InputError: an unknown set, a root that is not there, fewer than two classes, or more labels than there are.
    """
    dataset = open_data(config.data)
    labelled = labelled_images(dataset, config.data, config.seed.task)
    if len(dataset.classes) < 2:
        raise InputError(f"data.name: {dataset.name} has one class, expected at least 2 to tell apart")
    return dataset, labelled


def fresh_backbone(
    config: DownstreamConfig, dataset: Dataset, *, seed: int | None = None, stream: str = "fresh", width: float | None = None
) -> nn.Module:
    """Build the backbone with fresh random weights.

    Args:
        config: which backbone.
        dataset: the target.
        seed: of the weights; None: the task's.
        stream: of the draws; see `build_backbone`.
        width: None: model.width.

    Raises:
        InputError: unknown backbone or stem.
    """
    return configured_backbone(
        config.model,
        seed=config.seed.task if seed is None else seed,
        stream=stream,
        in_chans=dataset.input.channels,
        size=dataset.input.size,
        width=width,
    )


def fresh_head(backbone: nn.Module, dataset: Dataset, seed: int) -> nn.Linear:
    """Return a linear head of the task's seed for the classes of the target."""
    features: Any = backbone.num_features
    return linear_head(int(features), len(dataset.classes), seed=seed)
