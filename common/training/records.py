"""What a search leaves of every round: a ticket and a result."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from common.durations import canonical_duration
from common.files import sha256_file
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
        split: the split that rounds are evaluated on.
        parent: digest of the ticket that the search starts from, inside whose mask its tickets lie.
        start: what is recorded of given weights: layout, input, what matched.
        flags: what a reader of every result must know.
    """

    objective: str
    seed: int
    arch: Mapping[str, Any]
    data: Mapping[str, Any]
    input: Mapping[str, Any]
    split: str = "validation"
    parent: str | None = None
    start: Mapping[str, Any] | None = None
    flags: tuple[str, ...] = ()


def record_round(
    run: Run,
    records: Records,
    task: Task,
    scope: Scope,
    mask: Mask,
    round_: int,
    rewind_to: str,
    *,
    seconds: float,
    is_last: bool,
    trained: NetworkState | None = None,
) -> dict[str, Any]:
    """Write a round's ticket, evaluate its trained network, write its result; the last round's is the run's result too.

    The trained weights of a round after round 0, if given, are written behind the ticket that they belong to and before the
    result that names them.

    Returns:
        The result.

    Raises:
        InputError: a file cannot be written.
    """
    ticket = _write_ticket(run, records, scope, mask, round_, rewind_to)
    kept = save_trained_weights(ticket, trained) if trained is not None else None
    measured = task.evaluate(records.split)
    outcome = Outcome(
        task="pretraining",
        data=records.data,
        split=records.split,
        metric=task.main_metric,
        metrics={f"{records.split}/{name}": value for name, value in measured.items()},
        protocol="pretrain",
        density=mask.density,
        control="ticket",
        ticket=ticket.digest,
        mask_digest=mask.digest(),
        source={"folder": run.invocation.folder, "recipe": run.invocation.recipe, "seed": records.seed, "round": round_},
        flags=(*records.flags, *mask_alarms(mask), *task.alarms(measured, records.split)),
        details={
            "layer_density": {name: int(part.sum()) / part.numel() for name, part in mask.items()},
            "start": dict(records.start) if records.start else None,
        },
    )
    folder = run.round_path(round_)
    result = write_result(folder / "result.json", run.facts, _naming(outcome, kept, ""), seconds=seconds)
    if is_last:
        write_result(run.path / "result.json", run.facts, _naming(outcome, kept, f"{folder.name}/"), seconds=seconds)
    return result


def _naming(outcome: Outcome, kept: Mapping[str, str] | None, folder: str) -> Outcome:
    """Name the trained weights that a round kept, relative to where the result lies."""
    if kept is None:
        return outcome
    return replace(outcome, details={**(outcome.details or {}), "trained": {**kept, "file": folder + kept["file"]}})


def _write_ticket(run: Run, records: Records, scope: Scope, mask: Mask, round_: int, rewind_to: str) -> Ticket:
    folder = run.round_path(round_)
    rewind_file = {"final": "rewind.safetensors" if round_ else "../scores.safetensors"}.get(rewind_to, "../rewind.safetensors")
    step = run.invocation.config.rewind.step
    origin = {
        "folder": run.invocation.folder,
        "objective": records.objective,
        "data": records.data["name"],
        "split": records.data["split_hash"],
        "recipe": run.invocation.recipe,
        "config": run.record["hash"],
        "seed": records.seed,
        "round": round_,
        "run": run.name,
        "importer": None,
    }
    description = Description(
        arch=records.arch,
        scope={"include": list(scope.include), "exclude": list(scope.exclude)},
        origin=origin,
        rewind={"to": rewind_to, "at": step if step is None else canonical_duration(step)},
        input=records.input,
        parent=records.parent,
        scores=_reference(folder, "../scores.safetensors"),
    )
    return save_ticket(folder / "ticket.safetensors", mask, description, weights_file=_reference(folder, rewind_file))


def _reference(folder: Path, file: str) -> dict[str, str]:
    return {"file": file, "sha256": sha256_file(os.path.normpath(folder / file))}
