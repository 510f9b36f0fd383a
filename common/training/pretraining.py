"""What every pre-training folder does around its objective: data, backbone, start weights, run directory, search, evaluation."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from common.cli import Invocation
from common.config import SearchConfig
from common.data.annotated.sets import AnnotatedSet
from common.data.datasets import Dataset, open_data
from common.errors import InputError
from common.identity import ticket_seed
from common.models.backbones import configured_backbone
from common.models.start_weights import StartWeights
from common.training.device import choose_device, threads
from common.training.given_weights import fill_backbone_
from common.training.precision import float32_products
from common.training.recorded import check_images, read_run, request_of
from common.training.records import Records
from common.training.search_run import run_rounds
from common.training.session import session
from common.training.task import Task


@dataclass(frozen=True)
class Setting:
    """What a folder makes its task from.

    Attributes:
        config: the run's configuration.
        backbone: the trunk with its weights of round 0's start, on the device.
        dataset: images by split.
        device: where to compute.
        seed: seed of the search.
        start: the weights that round 0 starts from, as they were read; None: fresh random ones.
        flags: what a reader of the results must know of them.
    """

    config: Any
    backbone: nn.Module
    dataset: Dataset
    device: torch.device
    seed: int
    start: StartWeights | None = None
    flags: tuple[str, ...] = ()


class BuildTask(Protocol):
    """Make a folder's task, network on the device, from a setting."""

    def __call__(self, setting: Setting) -> Task:
        """Return the task."""
        ...


def run_search(invocation: Invocation, objective: str, build_task: BuildTask) -> None:
    """Run a folder's search, or continue it, or say that it is done.

    Args:
        invocation: the request; its configuration extends `SearchConfig`.
        objective: the objective's name for tickets, for example "simclr".
        build_task: makes the task.

    Raises:
        InputError: bad input; nothing is written.
        RunError: a loss is not finite.
    """
    config = invocation.config
    with session(invocation) as device:
        if device is None:
            return
        setting = build_setting(config, device)
        task = build_task(setting)
        run_rounds(invocation, device, task, _records(setting, objective), setting.start)


def build_setting(config: SearchConfig, device: torch.device, *, starts: bool = True) -> Setting:
    """Load the data and build the backbone with the weights that round 0 starts from.

    Args:
        config: of the run.
        device: where to compute.
        starts: False leaves the file of start.weights alone, for weights that come from elsewhere.

    Raises:
        InputError: unknown data set or backbone, a root that is not there, or weights that do not fit.
    """
    dataset = open_data(config.data)
    seed = ticket_seed(config)
    backbone = configured_backbone(config.model, seed=seed, in_chans=dataset.input.channels, size=dataset.input.size)
    start: StartWeights | None = None
    flags: tuple[str, ...] = ()
    if starts and config.start.weights is not None:
        start, flags = fill_backbone_(backbone, config.start, dataset.input, accept_mismatch=config.data.accept_input_mismatch)
    return Setting(config, backbone.to(device), dataset, device, seed, start, flags)


def describe_data(dataset: Dataset | AnnotatedSet) -> dict[str, Any]:
    """Return what tickets and results record of a data set; `skipped` where images that cannot be read were left out."""
    skipped = {"skipped": list(dataset.skipped)} if dataset.skipped else {}
    return {"name": dataset.name, "split_hash": dataset.split_hash, "fingerprint": dataset.fingerprint, **skipped}


def _records(setting: Setting, objective: str) -> Records:
    arch: Any = setting.backbone.arch
    data, start = describe_data(setting.dataset), setting.start
    return Records(
        objective,
        setting.seed,
        arch,
        data,
        setting.dataset.input.to_json(),
        parent=start.ticket.digest if start and start.ticket else None,
        start=start.facts if start else None,
        flags=setting.flags,
    )


def evaluate_search(invocation: Invocation, what: str, build_task: BuildTask) -> None:
    """Judge a run, ticket or file of weights by the objective's metrics on validation images; nothing is trained.

    A run is judged by the trained weights of its last round, with its own configuration (see `request_of`); a ticket by its
    rewound, masked weights with norm statistics re-estimated on the training images; a file by its weights as they are.

    Raises:
        InputError: `what` is none of these, is a run of another folder, or does not fit the backbone or the line.
    """
    from common.training.evaluation import evaluate_subject, read_subject

    path = Path(what)
    if "start.weights" in invocation.given:
        raise InputError(
            "--start.weights has no meaning with --evaluate, which trains nothing; judge the file by --evaluate FILE"
        )
    run = read_run(path) if path.is_dir() else None
    if run is not None and run.folder != invocation.folder:
        raise InputError(f"--evaluate: {path} is a run of {run.folder}; judge it with python -m {run.folder} --evaluate {path}")
    subject = read_subject(path, run)
    request = request_of(run, invocation) if run is not None else invocation
    train = request.config.train
    with threads(train.threads), float32_products(train.precision):
        setting = build_setting(request.config, choose_device(train.device), starts=False)
        if run is not None:
            check_images(run, describe_data(setting.dataset))
        evaluate_subject(request, subject, build_task(setting), setting)
