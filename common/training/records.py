"""What a search leaves of every round: a ticket and a result."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from common.durations import canonical_duration
from common.files import read_json, sha256_file
from common.tickets.mask import Mask
from common.tickets.scope import Scope
from common.tickets.ticket import Description, Ticket, save_ticket
from common.tickets.trained import save_trained_weights
from common.tickets.weights_file import NetworkState
from common.training.alarms import mask_alarms
from common.training.results import Outcome, write_result
from common.training.run import Run
from common.training.task import Task


@dataclass(frozen=True)
class Records:
    """What every ticket and result of one search says of its task and data.

    Attributes:
        objective: the objective's name, for example "simclr".
        seed: seed of the search.
        arch: {"name", "stem", "in_chans", "variant"} of the backbone.
        data: {"name", "split_hash", "fingerprint"} of the data set.
        input: the input specification that the weights expect.
        task: what is searched on: pretraining, classification ...
        protocol: of the results: pretrain, or imp where tickets are found on a task itself.
        splits: the splits that every round's network is measured on; the first gives the result's value.
        control: what the masks are: "ticket", or "random" where they are drawn.
        parent: digest of the ticket that the search starts from, inside whose mask its tickets lie.
        start: what is recorded of given weights: layout, input, what matched.
        flags: what a reader of every result must know.
        details: what every result says besides, such as the number of labels.
    """

    objective: str
    seed: int
    arch: Mapping[str, Any]
    data: Mapping[str, Any]
    input: Mapping[str, Any]
    task: str = "pretraining"
    protocol: str = "pretrain"
    splits: tuple[str, ...] = ("validation",)
    control: str = "ticket"
    parent: str | None = None
    start: Mapping[str, Any] | None = None
    flags: tuple[str, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Round:
    """A round that has ended.

    Attributes:
        number: 0 for the first.
        mask: what was kept in it.
        rewind_to: the rewind point.
        seconds: what its training took.
        is_last: its result is the run's too.
        trained: its weights, where they are kept.
        details: what its result says besides; from_epoch and epochs at least.
    """

    number: int
    mask: Mask
    rewind_to: str
    seconds: float
    is_last: bool
    trained: NetworkState | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


def record_round(
    run: Run, records: Records, task: Task, scope: Scope, ended: Round, measured: Mapping[str, Mapping[str, float]]
) -> dict[str, Any]:
    """Write a round's ticket and result; the last round's is the run's result too.

    The trained weights of a round after round 0, if given, are written behind the ticket that they belong to and before the
    result that names them.

    Args:
        run: the run directory, locked.
        records: what every result and ticket of the run says.
        task: what was trained.
        scope: the prunable tensors.
        ended: the round.
        measured: {split: {metric: value}} of its trained network, for every split of `records`.

    Returns:
        The result.

    Raises:
        InputError: a file cannot be written.
    """
    ticket = _write_ticket(run, records, scope, ended)
    kept = save_trained_weights(ticket, ended.trained) if ended.trained is not None else None
    outcome, folder = _outcome(run, records, task, ended, ticket, measured), run.round_path(ended.number)
    result = write_result(folder / "result.json", run.facts, _naming(outcome, kept, ""), seconds=ended.seconds)
    if ended.is_last:
        write_result(run.path / "result.json", run.facts, _naming(outcome, kept, f"{folder.name}/"), seconds=ended.seconds)
    return result


def _outcome(
    run: Run, records: Records, task: Task, ended: Round, ticket: Ticket, measured: Mapping[str, Mapping[str, float]]
) -> Outcome:
    mask, split = ended.mask, records.splits[0]
    return Outcome(
        task=records.task,
        data=records.data,
        split=split,
        metric=task.main_metric,
        metrics={f"{name}/{metric}": value for name, values in measured.items() for metric, value in values.items()},
        protocol=records.protocol,
        density=mask.density,
        control=records.control,
        ticket=ticket.digest,
        mask_digest=mask.digest(),
        source={"folder": run.invocation.folder, "recipe": run.invocation.recipe, "seed": records.seed, "round": ended.number},
        flags=(
            *records.flags,
            *(_dense_less_trained(run, ended) if records.protocol == "imp" else ()),
            *mask_alarms(mask),
            *task.alarms(measured[split], split),
        ),
        details={
            "layer_density": {name: int(part.sum()) / part.numel() for name, part in mask.items()},
            "start": dict(records.start) if records.start else None,
            **records.details,
            **ended.details,
            **task.details(),
        },
    )


def _dense_less_trained(run: Run, ended: Round) -> tuple[str, ...]:
    """Flag a round on a task that had more training behind it than round 0, the dense run that it is judged against.

    That is every round which starts where round 0 or the last one ended, in whole or in part, and one that went on for longer
    than round 0.
    """
    if ended.number == 0:
        return ()
    epochs = float((read_json(run.round_path(0) / "result.json")["details"]).get("epochs", 0))  # not told: counts as less
    longer = ended.details["from_epoch"] + ended.details["epochs"] > epochs
    carried = bool(run.invocation.config.rewind.keep)
    return ("dense_less_trained",) if longer or carried or ended.rewind_to in ("round0", "final") else ()


def _naming(outcome: Outcome, kept: Mapping[str, str] | None, folder: str) -> Outcome:
    """Name the trained weights that a round kept, relative to where the result lies."""
    if kept is None:
        return outcome
    return replace(outcome, details={**(outcome.details or {}), "trained": {**kept, "file": folder + kept["file"]}})


def _write_ticket(run: Run, records: Records, scope: Scope, ended: Round) -> Ticket:
    folder, to = run.round_path(ended.number), ended.rewind_to
    rewind = run.invocation.config.rewind
    rewind_file = "../scores.safetensors" if to == "final" else "../rewind.safetensors"
    if ended.number and (to == "final" or rewind.keep):
        rewind_file = "rewind.safetensors"
    step = rewind.step
    origin = {
        "folder": run.invocation.folder,
        "objective": records.objective,
        "data": records.data["name"],
        "split": records.data["split_hash"],
        "recipe": run.invocation.recipe,
        "config": run.record["hash"],
        "seed": records.seed,
        "round": ended.number,
        "run": run.name,
        "importer": None,
    }
    description = Description(
        arch=records.arch,
        scope={"include": list(scope.include), "exclude": list(scope.exclude)},
        origin=origin,
        rewind={"to": to, "at": step if step is None else canonical_duration(step)},
        input=records.input,
        parent=records.parent,
        scores=_reference(folder, "../scores.safetensors"),
    )
    return save_ticket(folder / "ticket.safetensors", ended.mask, description, weights_file=_reference(folder, rewind_file))


def _reference(folder: Path, file: str) -> dict[str, str]:
    return {"file": file, "sha256": sha256_file(os.path.normpath(folder / file))}
