"""Images per second of pre-training, from the data to the moved weights: `python -m benchmarks.pretrain`.

Our task and our loop against the same training with `lightly` (see `benchmarks.lightly_peer`): same images, operations, network,
batch, precision, optimizer and threads, epochs in turn. The peer's DataLoader gets the number of workers that suits it best.
Threads are torch's own number (OMP_NUM_THREADS=1 for one); `taskset -c 0` gives both sides one core.
On a GPU, where there is one, ResNet-18 on images of CIFAR-10's size in bf16 too, and our rate over that of the same steps on
views that are on the device already.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks import lightly_peer
from benchmarks.measure import arguments, interleaved, median_ratio, report
from common.cli import Command, resolve
from common.data.catalogue import entry_of
from common.data.datasets import Dataset, Images, content_fingerprint, load_data
from common.models.backbones import build_backbone
from common.randomness import generator
from common.training.device import threads
from common.training.logs import Log
from common.training.loop import Rules, Span, fit
from common.training.optim import build_optimizer, build_schedule
from common.training.precision import float32_products
from common.training.pretraining import BuildTask, Setting
from common.training.pretraining_task import PretrainingTask
from common.training.views import Batch, TrainViews
from MoCo.main import COMMAND as MOCO
from MoCo.task import build_task as build_moco
from SimCLR.main import COMMAND as SIMCLR
from SimCLR.task import build_task as build_simclr

VALIDATION = 256


@dataclass(frozen=True)
class Case:
    """What is trained.

    Attributes:
        name: of the ratio.
        command: the folder, whose recipe is trained.
        build_task: the folder's.
        loss: the peer's, of the task's network.
        words: flags over the recipe.
        device: where.
        epochs: epochs in one timing.
        synthetic: training images of random pixels in place of the recipe's data; None: the recipe's.
        repeats: timings at most.
    """

    name: str
    command: Command
    build_task: BuildTask
    loss: Callable[[PretrainingTask], lightly_peer.Loss]
    words: tuple[str, ...]
    device: torch.device
    epochs: int
    synthetic: int | None = None
    repeats: int = 1000


def cases() -> Iterator[Case]:
    """Yield the cases that this machine can measure."""
    cpu, resnet18 = torch.device("cpu"), "--recipe=cifar10_resnet18"
    yield Case("pretrain_simclr_digits", SIMCLR, build_simclr, _simclr_loss, (), cpu, epochs=4)
    yield Case("pretrain_moco_digits", MOCO, build_moco, _moco_loss, (), cpu, epochs=4)
    words = (resnet18, "--train.batch_size=64")
    yield Case("pretrain_simclr_resnet18", SIMCLR, build_simclr, _simclr_loss, words, cpu, epochs=1, synthetic=128, repeats=5)
    if torch.cuda.is_available():
        words = (resnet18, "--train.batch_size=512", "--train.precision=bf16", "--train.channels_last=true")
        gpu = torch.device("cuda")
        yield Case("pretrain_simclr_resnet18_gpu", SIMCLR, build_simclr, _simclr_loss, words, gpu, epochs=1, synthetic=20 * 512)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; return 0."""
    options = arguments("pretrain", __doc__ or "", argv, repeats=9)
    ratios: dict[str, float] = {}
    other: dict[str, float] = {}
    for case in cases():
        with tempfile.TemporaryDirectory() as folder, ExitStack() as logs:
            _measure(case, min(options.repeats, case.repeats), Path(folder), logs, ratios, other)
    report(ratios, other, options.json)
    return 0


def _measure(case: Case, repeats: int, folder: Path, logs: ExitStack, ratios: dict[str, float], other: dict[str, float]) -> None:
    """Time a case; put what a bound is set for into `ratios` and the rest into `other`."""
    config: Any = resolve(case.command, [*case.words, "--log.progress=false"]).config
    dataset = _dataset(config, case.synthetic)
    with threads(config.train.threads), float32_products(config.train.precision):
        ours, kept = _task(case, config, dataset), _task(case, config, dataset)
        kept.views = KeptViews(kept.views)
        peers = {number: _peer(case, config, dataset, number) for number in _worker_numbers(case.device)}
        workers = lightly_peer.best_workers(peers)
        peer = peers[workers]
        peers.clear()  # ends the other peers' workers
        timed = {
            "ours": _training(ours, config, folder / "ours", logs, case),
            "lightly": _waiting(case.device, peer, case.epochs),
            "step": _training(kept, config, folder / "step", logs, case),
            "views": _waiting(case.device, _views_alone(ours), case.epochs),
        }
        seconds = interleaved(timed, repeats)
    images = case.epochs * ours.steps_per_epoch * config.train.batch_size
    ratios[case.name] = median_ratio(seconds["lightly"], seconds["ours"])
    limit = median_ratio(seconds["step"], seconds["ours"])
    if case.device.type == "cuda":
        ratios["step_limit"] = limit
    else:
        other[f"{case.name}_step_limit"] = limit
    for part, times in seconds.items():
        other[f"{case.name}_{part}_per_s"] = images / statistics.median(times)
    other[f"{case.name}_lightly_workers"] = workers


def _dataset(config: Any, synthetic: int | None) -> Dataset:
    """Return the recipe's data, or random pixels that stand in for them."""
    if synthetic is None:
        return load_data(config.data.name)
    entry, draws = entry_of(config.data.name), generator(0, "benchmark")
    size = entry.input.size or 32
    splits = {}
    for name, count in (("train", synthetic), ("validation", VALIDATION)):
        pixels = torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8, generator=draws)
        splits[name] = Images(pixels, torch.arange(count) % 10)
    return Dataset(config.data.name, tuple("0123456789"), entry.input, splits, "", content_fingerprint(splits))


def _task(case: Case, config: Any, dataset: Dataset) -> Any:
    """Build the folder's task."""
    backbone = build_backbone(config.model.name, stem=config.model.stem, seed=0, size=dataset.input.size)
    return case.build_task(Setting(config, backbone.to(case.device), dataset, case.device, 0))


class KeptViews:
    """Views that were made beforehand: the first epoch's, on the device, again and again."""

    def __init__(self, views: TrainViews) -> None:
        self.input = views.input
        self._batches = list(views.batches(0, 0, 0))

    def batches(self, round: int, epoch: int, first_step: int) -> Iterator[Batch]:
        """Yield the kept batches from `first_step` on."""
        del round, epoch
        return iter(self._batches[first_step:])


def _training(task: PretrainingTask, config: Any, folder: Path, logs: ExitStack, case: Case) -> Callable[[], None]:
    """Return some epochs of our loop with the log of a run, which `logs` closes, to be called again and again."""
    folder.mkdir()
    task.prepare_(config.train)
    optimizer = build_optimizer(task.parameter_groups(), config.optim)
    log = Log(folder, resumed_at=(0, 0), every=config.train.log_every, tensorboard=config.log.tensorboard)
    logs.callback(log.close)
    rules = Rules(config.train.accumulate, config.optim.clip, config.train.precision)
    count = case.epochs * task.steps_per_epoch
    schedule = build_schedule(config.optim, config.train.epochs * task.steps_per_epoch, task.steps_per_epoch)
    spans = (Span(0, first, first + count) for first in range(0, sys.maxsize, count))
    return _waiting(case.device, lambda: fit(task, optimizer, schedule, next(spans), log=log, rules=rules), 1)


def _views_alone(task: PretrainingTask) -> Callable[[], None]:
    """Return an epoch's views made and dropped."""

    def epoch() -> None:
        for _ in task.train_batches(0, 0, 0):
            pass

    return epoch


def _peer(case: Case, config: Any, dataset: Dataset, workers: int) -> Callable[[], None]:
    """Return an epoch of the peer, on a network of its own with the same start: as it was built, with plain batch norms."""
    task = _task(case, config, dataset)
    task.network.to(memory_format=torch.channels_last if config.train.channels_last else torch.contiguous_format)
    schedule = build_schedule(config.optim, config.train.epochs * task.steps_per_epoch, task.steps_per_epoch)
    pin = case.device.type == "cuda"
    data = lightly_peer.loader(dataset.train, config.augment, dataset.input, config.train.batch_size, workers, pin=pin)
    return _waiting(case.device, lightly_peer.training(task.network, config, schedule, data, case.loss(task)), 1)


def _simclr_loss(task: PretrainingTask) -> lightly_peer.Loss:
    return lightly_peer.simclr(task.network, task.config.objective.temperature)


def _moco_loss(task: PretrainingTask) -> lightly_peer.Loss:
    objective, keys = task.config.objective, task.config.queue.size
    return lightly_peer.moco(task.network, objective.temperature, (keys, objective.head[-1]), objective.key_momentum)


def _worker_numbers(device: torch.device) -> tuple[int, ...]:
    """Return the numbers of workers that the peer may choose from: no more than cores, and more beside a GPU."""
    cores = len(os.sched_getaffinity(0))
    wanted = (0, 1, 2) if device.type == "cpu" else (0, 2, 4, 8, cores // 2, cores)
    return tuple(sorted({number for number in wanted if number <= cores}))


def _waiting(device: torch.device, action: Callable[[], object], times: int) -> Callable[[], None]:
    """Return an action done some times that ends when the GPU has."""

    def run() -> None:
        for _ in range(times):
            action()
        if device.type == "cuda":
            torch.cuda.synchronize()

    return run


if __name__ == "__main__":
    sys.exit(main())
