"""A linear head on features that were extracted once, over through the frozen backbone: `python -m benchmarks.linear`.

192 real digits, ResNet-20, batches of 64, optimizer and 150 epochs of the recipe sparse-transfer-2022-linear. Both sides take the
same steps with the same loop, from the same head, and their heads are compared before anything is reported. Ours pays for the
extraction in every timing. Nothing is extrapolated: both sides train every epoch.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.measure import arguments, interleaved, median_ratio, report
from common.cli import resolve
from common.config import TrainConfig
from common.data.datasets import Dataset, load_data
from common.models.backbones import build_backbone
from common.models.heads import linear_head
from common.training.device import threads
from common.training.logs import Log
from common.training.loop import Rules, Span, fit
from common.training.optim import build_optimizer, build_schedule
from common.training.task import NetworkTask
from Downstream.features import Features
from Downstream.head_task import HeadTask
from Downstream.labels import Labelled
from Downstream.main import COMMAND

IMAGES = 192
BACKBONE = "resnet20"
RECIPE = ("--recipe=sparse-transfer-2022-linear", "--data.name=digits", "--data.input=own", "--data.size=null", "--select=last")


class Through(HeadTask):
    """The same head, trained through the frozen backbone: every batch passes it in every epoch."""

    def prepare_(self, config: TrainConfig) -> None:
        """Extract nothing."""
        NetworkTask.prepare_(self, config)

    def train_batches(self, round: int, epoch: int, first: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield (normalised images (B, C, S, S), labels (B,)), in the order that the features have."""
        images: Any = self.labelled.train
        size = self.config.train.batch_size
        for index_B in self._images.batches(
            self.seed, "task_order", round, epoch, batch_size=size, drop_last=True, first_batch=first
        ):
            yield self.features.dataset.input.normalise(images.images[index_B]), images.labels[index_B]

    def loss(self, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        """Return {"total": cross-entropy}."""
        images_NCHW, labels_N = batch
        with torch.no_grad():
            features_ND = self.features.backbone(images_NCHW)
        return {"total": functional.cross_entropy(self.forward(features_ND), labels_N)}


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; return 0."""
    options = arguments("linear", __doc__ or "", argv, repeats=5)
    config = resolve(COMMAND, [*RECIPE, "--log.progress=false", "--log.tensorboard=false"]).config
    dataset, backbone = load_data("digits"), build_backbone(BACKBONE, seed=0).eval()
    few = replace(dataset, splits={**dataset.splits, "train": dataset.train.subset(torch.arange(IMAGES))})
    heads: dict[str, nn.Module] = {}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as logs, threads(config.train.threads):
        cases = {
            name: _training(config, few, backbone, build, Path(folder) / name, logs, heads)
            for name, build in (("features", HeadTask), ("through", Through))
        }
        seconds = interleaved(cases, options.repeats)
    for ours, theirs in zip(heads["features"].parameters(), heads["through"].parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-3, rtol=1e-3)
    ratio = median_ratio(seconds["through"], seconds["features"])
    other = {f"linear_{name}_seconds": sorted(times)[len(times) // 2] for name, times in seconds.items()}
    report({"linear": ratio}, {**other, "linear_epochs": config.train.epochs, "linear_images": IMAGES}, options.json)
    return 0


def _training(
    config: Any,
    dataset: Dataset,
    backbone: nn.Module,
    build: type[HeadTask],
    folder: Path,
    logs: ExitStack,
    heads: dict[str, nn.Module],
) -> Callable[[], None]:
    """Return the whole protocol, to be called again and again: a fresh head, features where there are any, every epoch."""
    folder.mkdir()
    log = Log(folder, resumed_at=(0, 0), every=config.train.log_every, tensorboard=False)
    logs.callback(log.close)
    width: Any = backbone.num_features

    def run() -> None:
        features = Features(backbone, dataset, torch.device("cpu"), standardise=config.linear.standardise)
        head = linear_head(int(width), len(dataset.classes), seed=0)
        task = build(config, head, Labelled(dataset.train, None), features, torch.device("cpu"), 0)
        task.prepare_(config.train)
        last = config.train.epochs * task.steps_per_epoch
        optimizer = build_optimizer(task.parameter_groups(), config.optim)
        schedule = build_schedule(config.optim, last, task.steps_per_epoch)
        fit(task, optimizer, schedule, Span(0, 0, last), log=log, rules=Rules(config.train.accumulate, config.optim.clip))
        heads[folder.name] = head

    return run


if __name__ == "__main__":
    sys.exit(main())
