"""`--evaluate RUN` of a task on annotated images: judge the network that a run kept; nothing is trained."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from common.cli import Invocation
from common.errors import InputError
from common.files import sha256_file
from common.tickets.rewind import restore_
from common.tickets.ticket import load_ticket
from common.tickets.trained import TRAINED, recorded_sha256
from common.tickets.weights_file import NetworkState, read_weights
from common.training.annotated_setting import Kind, Setting, fresh_backbone, open_images
from common.training.device import choose_device, threads
from common.training.evaluation import Subject, read_subject, write_evaluation
from common.training.precision import float32_products
from common.training.pretraining import describe_data
from common.training.recorded import RecordedRun, check_images, read_run, request_of
from common.training.results import Outcome
from common.training.small_dense import width_of


def evaluate_run(invocation: Invocation, what: str, kind: Kind) -> None:
    """Judge a finished run of the folder, a search's by its last round; write the result under OUT/FOLDER/evaluations/.

    Raises:
        InputError: `what` is no finished run of this folder, its images are others now, or it kept no trained network.
    """
    path = Path(what)
    if not path.is_dir():
        raise InputError(
            f"--evaluate: {what} is no run directory; expected one of python -m {invocation.folder}: tickets and files of "
            f"weights carry no trained {kind.task} head, so train one on them with --ticket.file or --start.weights"
        )
    run = read_run(path)
    if run.folder != invocation.folder:
        raise InputError(f"--evaluate: {path} is a run of {run.folder}; judge it with python -m {run.folder} --evaluate {path}")
    request = request_of(run, invocation)
    config: Any = request.config
    device = choose_device(config.train.device)
    started = time.monotonic()
    with threads(config.train.threads), float32_products(config.train.precision):
        dataset = open_images(config)
        check_images(run, describe_data(dataset))
        subject, state = _network_of(run)
        details = run.result.get("details") or {}
        backbone = fresh_backbone(config, seed=config.seed.task, stream="fresh", width=width_of(details))
        task = kind.build(Setting(config, dataset, backbone.to(device), device))
        restore_(task.network, state.joined())
        task.prepare_(config.train)
        task.average = None  # what a run kept is what it was judged by
        split = config.evaluation.split
        metrics = {f"{split}/{name}": value for name, value in task.evaluate(split).items()}
        kept: dict[str, Any] = {
            key: run.result[key] for key in ("protocol", "density", "control", "ticket", "mask_digest", "source", "flags")
        }
        outcome = Outcome(kind.task, describe_data(dataset), split, task.main_metric, metrics, **kept)
        write_evaluation(request, subject, outcome, device, seconds=time.monotonic() - started)


def _network_of(run: RecordedRun) -> tuple[Subject, NetworkState]:
    """Return what a run's result was measured on.

    Raises:
        InputError: it was not kept.
    """
    if run.result.get("protocol") == "imp":
        told = run.result.get("details") or {}
        if "selected_epoch" in told or (run.config.get("train") or {}).get("average") is not None:
            raise InputError(
                f"--evaluate: {run.path} was measured on the best epoch of its last round, or on averaged weights, and a search "
                f"keeps the last ones; run it with select last and train.average null to judge it again"
            )
        subject = read_subject(run.path, run)
        return subject, load_ticket(subject.ticket).trained_weights() if subject.ticket is not None else NetworkState({}, {})
    file = run.path / TRAINED
    if not file.exists():
        raise InputError(f"--evaluate: {file} is missing: the run kept no network; run it with keep.trained last")
    state = read_weights(file, recorded_sha256(run.path / "result.json", file), named_by="the run's result").state
    return Subject(run.path, None, run, sha256_file(file)), state
