"""`--evaluate`: judge weights that exist; nothing is trained."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from common.canonical import config_hash
from common.cli import Invocation
from common.data.datasets import Dataset
from common.data.inputs import accept_input
from common.errors import InputError
from common.files import read_json, sha256_file
from common.models.features import reestimate_norm_statistics_
from common.models.start import StartWeights, load_start_weights_, read_start_weights
from common.tickets.container import parse_container, read_bytes
from common.tickets.ticket import Ticket, load_ticket
from common.tickets.weights_file import NetworkState
from common.training.evaluation_head import load_head_
from common.training.frozen import normalised_batches
from common.training.pretraining import Setting, describe_data
from common.training.results import Outcome, write_result
from common.training.run import Facts, device_name
from common.training.task import Task


@dataclass(frozen=True)
class Subject:
    """What `--evaluate` was given.

    Attributes:
        path: the run directory or file.
        ticket: the ticket whose mask is in force; None for a file of dense weights.
        trained: the trained network of a run; None for a ticket or a file.
        start: weights of a file that is no ticket.
        config: the run's own configuration, as JSON values; None for a ticket or a file.
        recipe: the run's recipe.
    """

    path: Path
    ticket: Ticket | None = None
    trained: NetworkState | None = None
    start: StartWeights | None = None
    config: Mapping[str, Any] | None = None
    recipe: str | None = None


def read_subject(path: Path) -> Subject:
    """Read a run directory, a ticket, or a file of weights.

    Raises:
        InputError: it is none of these, is damaged, or the run kept no trained weights.
    """
    if path.is_dir():
        return _read_run(path)
    if path.suffix == ".safetensors" and "ticket" in parse_container(read_bytes(path), str(path)).metadata:
        return Subject(path, ticket=load_ticket(path))
    if not path.exists():
        raise InputError(f"--evaluate: {path} is not there; expected a run directory, a ticket, or a file of weights")
    return Subject(path, start=read_start_weights(path))


def _read_run(path: Path) -> Subject:
    record = read_json(path / "run.json")
    rounds = sorted(path.glob("round_*/ticket.safetensors"))
    if record.get("status") != "done" or not rounds:
        raise InputError(
            f"--evaluate: {path} is not finished (status {record.get('status')}); run the same command again to continue it"
        )
    ticket = load_ticket(rounds[-1])
    recipe = str(record["run"]).split("/")[1].rpartition("-")[0]
    return Subject(path, ticket=ticket, trained=ticket.trained_weights(), config=record["config"], recipe=recipe)


def prepare_backbone_(
    subject: Subject, backbone: nn.Module, dataset: Dataset, device: torch.device, *, accept_mismatch: bool
) -> str:
    """Put a subject's weights and mask into a backbone; return which norm statistics it has, "stored" or "reestimate".

    Raises:
        InputError: another architecture, stem or input.
    """
    expects = subject.ticket.header["input"] if subject.ticket else subject.start.input if subject.start else None
    accept_input(str(subject.path), expects, dataset.input, accept_mismatch=accept_mismatch)
    if subject.ticket is None:
        if subject.start is None:
            raise InputError(f"--evaluate: {subject.path} holds neither a ticket nor weights")
        load_start_weights_(backbone, subject.start, str(subject.path))
        return "stored"
    subject.ticket.apply_to(backbone, weights=subject.trained or "rewind")
    if subject.trained is not None:
        return "stored"
    reestimate_norm_statistics_(backbone, normalised_batches(dataset.train, dataset.input, device, equal=True))
    return "reestimate"


def evaluate_subject(invocation: Invocation, subject: Subject, task: Task, setting: Setting) -> None:
    """Judge a subject by a pre-training task's metrics on the validation split and write the result.

    Raises:
        InputError: the subject does not fit, or the result cannot be written.
    """
    started = time.monotonic()
    accept = invocation.config.data.accept_input_mismatch
    statistics = prepare_backbone_(subject, task.backbone, setting.dataset, setting.device, accept_mismatch=accept)
    load_head_(task, subject, setting.dataset.name)
    metrics = {f"validation/{name}": value for name, value in task.evaluate("validation").items()}
    outcome = Outcome(
        task="pretraining",
        data=describe_data(setting.dataset),
        split="validation",
        metric=task.main_metric,
        metrics=metrics,
        protocol="pretrain",
        density=subject.ticket.density if subject.ticket else 1.0,
        control="ticket" if subject.ticket else "dense",
        ticket=subject.ticket.digest if subject.ticket else None,
        mask_digest=subject.ticket.header["mask_digest"] if subject.ticket else None,
        details={"norm_statistics": statistics, "evaluated": str(subject.path)},
    )
    write_evaluation(invocation, subject, outcome, setting.device, seconds=time.monotonic() - started)


def write_evaluation(invocation: Invocation, subject: Subject, outcome: Outcome, device: torch.device, *, seconds: float) -> None:
    """Write an evaluation's result to OUT/FOLDER/evaluations/ and say what it is.

    Raises:
        InputError: it cannot be written.
    """
    content = subject.ticket.digest if subject.ticket else sha256_file(subject.path)
    kind = "trained" if subject.trained else "rewound" if subject.ticket else "file"
    name = f"{invocation.recipe}-{config_hash(invocation.folder, invocation.config)}-{kind}-{content[:12]}"
    path = Path(invocation.config.out) / invocation.folder / "evaluations" / f"{name}.json"
    facts = Facts(f"{invocation.folder}/evaluations/{name}", invocation, device_name(device), torch.get_num_threads())
    result = write_result(path, facts, outcome, seconds=seconds)
    print("\n".join(f"{metric} {value:.4f}" for metric, value in sorted(result["metrics"].items())))
    print(f"result: {path}")
