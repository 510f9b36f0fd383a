"""What a task on annotated images is made from: its data, its backbone, and what a folder builds of them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from common.annotated_config import AnnotatedTaskConfig
from common.data.annotated.catalogue import open_annotated
from common.data.annotated.loader import AnnotatedLoader
from common.data.annotated.sets import AnnotatedSet
from common.models.backbones import configured_backbone
from common.training.contact_sheet import save_sheet, sheet_tensor
from common.training.logs import Log
from common.training.selecting import SelectingTask

SHEET = "predictions.png"


@dataclass(frozen=True)
class Setting:
    """What a folder makes its task from.

    Attributes:
        config: the run's configuration.
        dataset: annotated images by split.
        backbone: the trunk, its weights those that training starts from, on the device.
        device: where to compute.
    """

    config: Any
    dataset: AnnotatedSet
    backbone: nn.Module
    device: torch.device


class AnnotatedTask(SelectingTask):
    """A task whose network a folder trains on annotated images, and draws the findings of.

    Attributes:
        images: what reads the training images.
    """

    images: AnnotatedLoader

    @property
    def leaves_weights_out(self) -> bool:  # type: ignore[override]
        """Models of timm's other than ResNets may have layers behind their last feature map, which nothing here runs."""
        return not hasattr(self.network.backbone, "layer1")

    shares_evaluation = True
    judges_head = True

    def facts(self) -> Mapping[str, Any]:
        """Return what results say of how the task was set up, such as anchors."""
        return {}

    @abstractmethod
    def train_batches(self, round: int, epoch: int, first: int) -> Iterator[Any]:
        """Yield an epoch's batches from step `first` on; see `common.training.task.Task`."""

    @abstractmethod
    def loss(self, batch: Any) -> dict[str, Tensor]:
        """Return {"total": scalar to minimise, further parts}."""

    @abstractmethod
    def evaluate(self, split: str) -> dict[str, float]:
        """Return {metric: value} on a split; every process calls it and looks at its share of the images."""

    @abstractmethod
    def draw(self, split: str, count: int) -> np.ndarray:
        """Return truth and findings of the first images of a split, drawn, uint8 (H, W, 3)."""

    def show(self, split: str, folder: Path, log: Log, position: tuple[int, int]) -> None:
        """Draw truth and findings into predictions.png and the log, if the recipe asks for it."""
        if not self.config.evaluation.draw:
            return
        with self.best():
            sheet = self.draw(split, self.config.evaluation.draw)
        save_sheet(folder / SHEET, sheet)
        log.image(*position, "predictions", sheet_tensor(sheet))


class BuildTask(Protocol):
    """Make a folder's task, a fresh head of the task's seed on the backbone."""

    def __call__(self, setting: Setting) -> AnnotatedTask:
        """Return the task."""
        ...


@dataclass(frozen=True)
class Kind:
    """What a folder says of itself.

    Attributes:
        task: "detection" or "segmentation": the objective of its tickets, and the task of its results.
        build: makes the task.
    """

    task: str
    build: BuildTask


def fresh_backbone(config: AnnotatedTaskConfig, *, seed: int, stream: str, width: float | None = None) -> nn.Module:
    """Build the backbone with fresh random weights; images have three channels.

    Raises:
        InputError: unknown backbone or stem.
    """
    return configured_backbone(config.model, seed=seed, stream=stream, width=width)


def open_images(config: AnnotatedTaskConfig) -> AnnotatedSet:
    """Load the data set; errors as `open_annotated`."""
    dataset = open_annotated(config.data)
    told = [f"{count} {what.replace('_', ' ')}" for what, count in dataset.mended.items() if count]
    if told:
        print(f"{dataset.name}: {', '.join(told)}")
    return dataset
