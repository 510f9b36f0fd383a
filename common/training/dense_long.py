"""Control `dense_long`: the dense network, trained on the task for the epochs that the ticket's search took besides its own.

A search trains many times before it has a ticket. What the dense network would make of that time, spent on the task, is what this
control says. It starts where `dense` does, from the ticket's rewind point before anything was pruned, and trains for the task's
epochs and for those of the rounds whose end gave the mask: rounds 0 to k - 1 of the ticket of round k, round 0 alone where all
was pruned at once after it (`prune.schedule` one_shot), none where masks are drawn (`prune.score` random). What its starting
weights have behind them already is subtracted (all of round 0 if they are its end; the steps before the rewind step).

Epochs are counted, each over the images of its own set: of the search's there, of the task's here. Time on the pre-training
objective instead is another question: `python -m SimCLR --prune.rounds 0 --train.epochs N`, transferred with control dense.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from common.config import RunConfig
from common.durations import steps
from common.files import read_json
from common.tickets.errors import TicketError
from common.tickets.ticket import Ticket, load_ticket

Config = TypeVar("Config", bound=RunConfig)


def search_epochs(ticket: Ticket) -> float:
    """Return the epochs that the search of a ticket took beyond those behind the weights that the dense network starts from.

    Returns:
        A number >= 0; 0 for a ticket of round 0, and for one whose mask was drawn.

    Raises:
        TicketError: no search wrote the ticket, or it was continued from another ticket's mask, whose epochs are not known, or
            the record and results of its run do not lie beside it, or are of another run.
    """
    if ticket.header["origin"]["importer"] is not None:
        raise TicketError(f"{ticket.path} was not written by a search, so control dense_long does not know its epochs")
    _require_whole_search(ticket)
    if ticket.round == 0:
        return 0.0
    rounds = [_round(ticket, number) for number in range(_deciding(ticket))]
    if not rounds:
        return 0.0
    to = ticket.header["rewind"]["to"]
    behind = 0.0
    if to in ("round0", "final"):
        behind = rounds[0]["epochs"]
    elif to == "step":
        behind = _round(ticket, ticket.round)["from_epoch"]
    return max(0.0, math.fsum(told["epochs"] for told in rounds) - behind)


def _require_whole_search(ticket: Ticket) -> None:
    """Raise where the search went on inside the mask of another ticket, whose own search took epochs that are not known here."""
    if ticket.header["parent"] is None:
        return
    first = ticket if ticket.round == 0 else load_ticket(ticket.path.parent.parent / "round_00/ticket.safetensors")
    if first.mask.kept < first.mask.size:
        raise TicketError(
            f"{ticket.path} is of a search that started from a ticket, whose own search took epochs that control dense_long does "
            f"not know; use a ticket of a search that started densely"
        )


def _deciding(ticket: Ticket) -> int:
    """Return how many rounds, from round 0 on, were trained to find the mask of a ticket."""
    file = ticket.path.parent.parent / "run.json"
    if not file.is_file():
        raise TicketError(f"{file} is missing, which says how {ticket.path} was found; control dense_long needs it")
    record = read_json(file)
    _require_same_run(ticket, file, record)
    prune = (record.get("config") or {}).get("prune") or {}
    for key in ("score", "schedule"):
        if key not in prune:
            raise TicketError(f"{file} does not say prune.{key}, which control dense_long needs; run the search again")
    if prune["score"] == "random":
        return 0
    return 1 if prune["schedule"] == "one_shot" else ticket.round


def _require_same_run(ticket: Ticket, file: Path, told: Mapping[str, Any]) -> None:
    if told.get("run") != ticket.header["origin"]["run"]:
        raise TicketError(f"{file} is of the run {told.get('run')}, {ticket.path} of {ticket.header['origin']['run']}")


def _round(ticket: Ticket, number: int) -> Mapping[str, float]:
    """Return the epochs of a round as its result has them."""
    file = ticket.path.parent.parent / f"round_{number:02d}" / "result.json"
    if not file.is_file():
        raise TicketError(f"{file} is missing, which says how many epochs round {number} took; control dense_long needs it")
    result = read_json(file)
    _require_same_run(ticket, file, result)
    details = result.get("details") or {}
    for key in ("epochs", "from_epoch"):
        if not isinstance(details.get(key), int | float):
            raise TicketError(f"{file} does not say details.{key}: it was written by an earlier version; run the search again")
    return {key: float(details[key]) for key in ("epochs", "from_epoch")}


def lengthened(config: Config, epochs: float, steps_per_epoch: int) -> Config:
    """Return a configuration that trains for more epochs, its schedule stretched in proportion; the warm-up stays.

    Args:
        config: of the task.
        epochs: to add, rounded to whole ones.
        steps_per_epoch: of the task.
    """
    total = config.train.epochs + round(epochs)
    ratio = total / config.train.epochs
    milestones = tuple(f"{round(steps(text, steps_per_epoch) * ratio)}it" for text in config.optim.milestones)
    changed: Any = replace(config, train=replace(config.train, epochs=total), optim=replace(config.optim, milestones=milestones))
    return changed
