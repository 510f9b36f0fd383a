"""Find tickets by training a task on annotated images: iterative magnitude pruning with the task's own loss.

Every round's network is measured on the split that the recipe names. Nothing is chosen by it: masks rank weights, epochs are
chosen on validation images, and rounds are not chosen at all.
"""

from __future__ import annotations

from typing import Any

from common.cli import Invocation
from common.errors import InputError
from common.identity import ticket_seed
from common.models.start_weights import StartWeights
from common.tickets.rewind import restore_
from common.training.annotated_setting import AnnotatedTask, Kind, Setting, describe_images, fresh_backbone, open_images
from common.training.given_weights import fill_backbone_
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
        if task.average is not None:
            task.average.begin_()
        run_rounds(invocation, device, task, _records(setting, kind, task, start, flags), start)


def _take_head(task: AnnotatedTask, start: StartWeights | None, kind: Kind, setting: Setting) -> None:
    """Take the head of given weights where it was trained on this very task, or where `start.head` insists on it.

    Raises:
        InputError: start.head is given, and there is none that fits.
    """
    if start is None:
        return
    choice, origin, head = setting.config.start.head, start.origin or {}, task.network.head
    own = {name: tuple(tensor.shape) for name, tensor in head.state_dict().items()}
    fits = bool(start.head) and own == {name: tuple(tensor.shape) for name, tensor in start.head.items()}
    is_own = tuple(origin.get(key) for key in ("objective", "data", "split")) == (
        kind.task,
        setting.dataset.name,
        setting.dataset.split_hash,
    )
    if choice == "given" and not fits:
        raise InputError(
            f"start.head: got given, but start.weights has no head of this {kind.task} network; expected fresh or null"
        )
    taken = fits and choice != "fresh" and (is_own or choice == "given")
    start.facts["head"] = {"taken": taken, "why": "it is this task's own" if is_own else f"start.head is {choice}"}
    if taken:
        restore_(head, dict(start.head))


def _records(setting: Setting, kind: Kind, task: AnnotatedTask, start: StartWeights | None, flags: tuple[str, ...]) -> Records:
    config, dataset = setting.config, setting.dataset
    drawn = "random" if config.prune.allocation == "global" else "random_layerwise"
    split = config.evaluation.split
    arch: Any = setting.backbone.arch
    return Records(
        kind.task,
        ticket_seed(config),
        arch,
        describe_images(dataset),
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
