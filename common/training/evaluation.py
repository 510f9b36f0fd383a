"""`--evaluate`: judge weights that exist; nothing is trained."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from common.cli import Invocation
from common.config import StartConfig, TicketConfig
from common.data.datasets import Dataset
from common.errors import InputError
from common.files import read_json, sha256_file
from common.identity import run_directory
from common.models.features import reestimate_norm_statistics_
from common.tickets.header import is_ticket, read_header
from common.training.alarms import mask_alarms
from common.training.evaluation_head import load_head_
from common.training.frozen import normalised_batches
from common.training.pretraining import Setting, describe_data
from common.training.recorded import RecordedRun
from common.training.results import Outcome, write_result
from common.training.run import Facts, device_name
from common.training.task import Task
from common.training.transfer import Start, start_

LOOKS = "test_evaluations"


@dataclass(frozen=True)
class Subject:
    """What `--evaluate` was given.

    Attributes:
        path: as it was given: a run directory, a ticket or a file of weights.
        ticket: the ticket whose mask is in force, a run's last one; None for a file of weights.
        run: the run, where one was given.
        digest: names what is judged: the ticket's digest, or the SHA-256 of the file; 64 hex digits.
    """

    path: Path
    ticket: Path | None
    run: RecordedRun | None
    digest: str


def read_subject(path: Path, run: RecordedRun | None) -> Subject:
    """Say what a path is: a run of a search, a ticket, or a file of weights.

    Args:
        path: what `--evaluate` was given.
        run: the run that was read from it, if it is a directory.

    Raises:
        InputError: it is not there, is no ticket though it says so, or is a run without tickets.
    """
    if run is not None:
        tickets = sorted(path.glob("round_*/ticket.safetensors"), key=lambda file: int(file.parent.name.removeprefix("round_")))
        if not tickets:
            raise InputError(
                f"--evaluate: {path} is a run of {run.folder}, which left no tickets; "
                f"judge it with python -m {run.folder} --evaluate {path}"
            )
        return Subject(path, tickets[-1], run, str(read_header(tickets[-1])["digest"]))
    if not path.is_file():
        raise InputError(f"--evaluate: {path} is not there; expected a run directory, a ticket, or a file of weights")
    if is_ticket(path):
        return Subject(path, path, None, str(read_header(path)["digest"]))
    return Subject(path, None, None, sha256_file(path))


def as_ticket(subject: Subject, config: TicketConfig, weights: Literal["rewind", "trained"]) -> TicketConfig:
    """Return as what a subject is judged, with nothing left to defaults.

    Args:
        subject: what is judged.
        config: control, norm statistics and stem that are asked for.
        weights: rewind or trained.
    """
    asked = replace(config, file=str(subject.ticket) if subject.ticket else None, weights=weights)
    stored = config.norm_statistics is None and _has_own_statistics(subject, config)
    return replace(asked, norm_statistics="stored" if stored else asked.statistics("knn"))


def _has_own_statistics(subject: Subject, config: TicketConfig) -> bool:
    """Say whether the norm statistics that come with weights are those of the network that is judged.

    They are of a file, which is judged as it is, and of an imported ticket whose weights were trained under its mask, or which
    prunes nothing.
    """
    if subject.ticket is None:
        return True
    header = read_header(subject.ticket)
    whole = header["rewind"]["to"] == "final" or header["density"] == 1
    return is_imported(subject.ticket) and whole and config.control in (None, "ticket")


def is_imported(ticket: Path) -> bool:
    """Say whether a ticket was made of another system's checkpoint, and not by a search or as a control."""
    importer = read_header(ticket)["origin"]["importer"]
    return importer is not None and not str(importer).startswith("control:")


def start_subject_(
    subject: Subject,
    backbone: nn.Module,
    config: TicketConfig,
    dataset: Dataset,
    device: torch.device,
    *,
    seed: int,
    given: StartConfig,
    accept_mismatch: bool,
) -> Start:
    """Put a subject's weights and mask into a backbone, on the device.

    Args:
        subject: what is judged.
        backbone: with fresh weights.
        config: what `as_ticket` returned.
        dataset: for its input specification, and the training images that norm statistics are estimated on.
        device: where to compute.
        seed: of a control's draws.
        given: the weights of control mask_only, and how files are read; a file that is judged takes their place.
        accept_mismatch: judge weights that expect another input, and flag the result.

    Raises:
        InputError: as `common.training.transfer.start_`.
    """
    given = replace(given, weights=str(subject.path)) if subject.ticket is None else given
    start = start_(backbone, config, dataset, seed=seed, given=given, protocol="knn", accept_mismatch=accept_mismatch)
    backbone.to(device)
    if start.norm_statistics == "reestimate":
        reestimate_norm_statistics_(backbone, normalised_batches(dataset.train, dataset.input, device, equal=True))
    return start


def evaluate_subject(invocation: Invocation, subject: Subject, task: Task, setting: Setting) -> None:
    """Judge a subject by a pre-training task's metrics on the validation split and write the result.

    Raises:
        InputError: the subject does not fit, or the result cannot be written.
    """
    started = time.monotonic()
    config = invocation.config
    as_what = as_ticket(subject, TicketConfig(), "trained" if subject.run is not None else "rewind")
    start = start_subject_(
        subject,
        task.backbone,
        as_what,
        setting.dataset,
        setting.device,
        seed=config.seed.task,
        given=replace(config.start, weights=None),
        accept_mismatch=config.data.accept_input_mismatch,
    )
    if config.train.channels_last:  # convolutions round otherwise in another layout
        task.backbone.to(memory_format=torch.channels_last)
    load_head_(task, subject, start.ticket, setting.dataset.name)
    measured = task.evaluate("validation")
    told = () if subject.run is not None else start.flags  # a run and its own images are no source and target
    outcome = Outcome(
        task="pretraining",
        data=describe_data(setting.dataset),
        split="validation",
        metric=task.main_metric,
        metrics={f"validation/{name}": value for name, value in measured.items()},
        protocol="pretrain",
        density=start.density,
        control=start.control,
        ticket=start.ticket.digest if start.ticket else None,
        mask_digest=start.mask.digest() if start.mask else None,
        flags=(*told, *(mask_alarms(start.mask) if start.mask else ()), *task.alarms(measured, "validation")),
        details={"norm_statistics": start.norm_statistics, "start": start.given},
    )
    write_evaluation(invocation, subject, outcome, setting.device, seconds=time.monotonic() - started)


def write_evaluation(invocation: Invocation, subject: Subject, outcome: Outcome, device: torch.device, *, seconds: float) -> None:
    """Write an evaluation's result to OUT/FOLDER/evaluations/ and say what it is; a look at test images is counted.

    The file is named by recipe, configuration and seeds as a run directory is, and by what was judged. It is written over when
    the same is judged again, and remembers how often it was.

    Raises:
        InputError: it cannot be written, or a file among the evaluations is none.
    """
    run = subject.run if subject.run is not None and subject.run.folder == invocation.folder else None
    directory = run_directory(invocation).parts[-2:] if run is None else run.name.split("/")[1:]
    kind = "run" if subject.run is not None else "ticket" if subject.ticket is not None else "file"
    name = "-".join((*directory, kind, subject.digest[:12]))
    folder = Path(invocation.config.out) / invocation.folder / "evaluations"
    details = {**(outcome.details or {}), "evaluated": str(subject.path), "subject": subject.digest}
    if outcome.split == "test":
        details[LOOKS] = count_looks(folder, name, subject.digest, outcome.data)
    seed = run.seeds[0] if run is not None else None
    facts = Facts(f"{invocation.folder}/evaluations/{name}", invocation, device_name(device), torch.get_num_threads(), seed)
    result = write_result(folder / f"{name}.json", facts, replace(outcome, details=details), seconds=seconds)
    print("\n".join(f"{metric} {value:.4f}" for metric, value in sorted(result["metrics"].items())))
    if looks := details.get(LOOKS):
        print(f"looks at these test images by --evaluate: {looks['all']}, at this subject {looks['subject']}")
    print(f"result: {folder / name}.json")


def count_looks(folder: Path, name: str, subject: str, data: Mapping[str, Any]) -> dict[str, int]:
    """Count how often evaluations looked at the test images of a split, this look included.

    The numbers are over the files in the folder: a choice among many looks at test images is a choice on them, and whoever reads
    a value should see among how many.

    Args:
        folder: OUT/FOLDER/evaluations.
        name: of the evaluation's file, without its ending.
        subject: digest of what is judged.
        data: {"split_hash"} of the images.

    Returns:
        {"same": looks of this evaluation, "subject": of this subject however it was judged, "all": of every subject}.

    Raises:
        InputError: a file of the folder is no evaluation's result.
    """
    looks = {"same": 1, "subject": 1, "all": 1}
    for file in sorted(folder.glob("*.json")):
        result = read_json(file)
        details, images = result.get("details"), result.get("data")
        if not isinstance(details, dict) or not isinstance(images, dict):
            raise InputError(f"{file} is no evaluation's result; test looks cannot be counted beside it, so move it away")
        if LOOKS not in details or images.get("split_hash") != data["split_hash"]:
            continue
        count = int(details[LOOKS]["same"])
        looks["all"] += count
        looks["subject"] += count * (details.get("subject") == subject)
        looks["same"] += count * (file.stem == name)
    return looks
