"""Find tickets by training a task on annotated images: iterative magnitude pruning with the task's own loss.

Every round's network is measured on the split that the recipe names. Nothing is chosen by it: masks rank weights, epochs are
chosen on validation images, and rounds are not chosen at all.
"""

from __future__ import annotations

from typing import Any

from common.cli import Invocation
from common.identity import ticket_seed
from common.models.start_weights import StartWeights
from common.training.annotated_setting import AnnotatedTask, Kind, Setting, fresh_backbone, open_images
from common.training.given_head import load_whole_head_
from common.training.given_weights import fill_backbone_
from common.training.pretraining import describe_data
from common.training.records import Records
from common.training.search_run import run_rounds
from common.training.session import session
from common.training.transfer import source_flags


def find_tickets(invocation: Invocation, kind: Kind) -> None:
    """Search for tickets on the task, or continue the search, or say that it is done.

    `seed.ticket` draws the backbone's initialisation (and the scores of random pruning), `seed.task` the head, and the order and
    views of the images, as in a transfer.

    Raises:
        InputError: bad input; nothing is written.
        RunError: a loss is not finite.
    """
    config: Any = invocation.config
    with session(invocation) as device:
        if device is None:
            return
        dataset = open_images(config)
        backbone = fresh_backbone(config, seed=ticket_seed(config), stream="init")
        start: StartWeights | None = None
        flags: tuple[str, ...] = ()
        if config.start.weights is not None:
            start, flags = fill_backbone_(
                backbone, config.start, dataset.input, accept_mismatch=config.data.accept_input_mismatch
            )
            flags = (*flags, *(source_flags(start.origin, dataset) if start.origin is not None else ()))
        setting = Setting(config, dataset, backbone.to(device), device)
        task = kind.build(setting)
        _take_head(task, start, kind, setting)
        run_rounds(invocation, device, task, _records(setting, kind, task, start, flags), start)


def _take_head(task: AnnotatedTask, start: StartWeights | None, kind: Kind, setting: Setting) -> None:
    """Take the head of given weights where it was trained on this very task, or where `start.head` insists on it."""
    origin, dataset = (start.origin if start is not None else None) or {}, setting.dataset
    own, told = (kind.task, dataset.name, dataset.split_hash), tuple(origin.get(key) for key in ("objective", "data", "split"))
    against = None if own == told else f"start.weights was not found by {kind.task} on {dataset.name}"
    choice = setting.config.start.head
    load_whole_head_(task.network.head, start, choice, name=f"{kind.task} head", against=against)


def _records(setting: Setting, kind: Kind, task: AnnotatedTask, start: StartWeights | None, flags: tuple[str, ...]) -> Records:
    config, dataset = setting.config, setting.dataset
    drawn = "random" if config.prune.allocation == "global" else "random_layerwise"
    split = config.evaluation.split
    arch: Any = setting.backbone.arch
    return Records(
        kind.task,
        ticket_seed(config),
        arch,
        describe_data(dataset),
        dataset.input.to_json(),
        task=kind.task,
        protocol="imp",
        splits=("test", "validation") if split == "test" else (split,),
        control=drawn if config.prune.score == "random" else "ticket",
        parent=start.ticket.digest if start and start.ticket else None,
        start=start.facts if start else None,
        flags=flags,
        details={"mended": dict(dataset.mended), **task.facts()},
    )
