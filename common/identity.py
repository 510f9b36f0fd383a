"""Where a run lives: its identity, its directory, and how far it has come. Needs no torch."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from common.canonical import config_hash
from common.data.inputs import NORMALISATIONS
from common.errors import InputError
from common.files import read_json, sha256_file
from common.models.names import published_library
from common.tickets.header import is_ticket, read_header

if TYPE_CHECKING:
    from common.cli import Invocation

_RUN_PATH = re.compile(
    r"(?P<run>[A-Z]\w*/[^/]+-[0-9a-f]{12})/seed(?P<ticket>\d+)-(?P<task>\d+)/round_(?P<round>\d+)/ticket\.safetensors$"
)


def run_directory(invocation: Invocation) -> Path:
    """Return the directory of a run: OUT/FOLDER/RECIPE-HASH12/seed<ticket>-<task>.

    Raises:
        InputError: the ticket's seed contradicts seed.ticket, a ticket that no run wrote is missing, or as `config_hash`.
    """
    config, reference, seed = invocation.config, None, None
    weights = _start_weights(config)
    ticket_file = getattr(getattr(config, "ticket", None), "file", None)
    if ticket_file is not None:
        reference, seed = _ticket_reference(ticket_file, config.seed.task)
        config = replace(config, ticket=replace(config.ticket, file=reference))
    config, start_seed = _with_start_reference(config, seed)
    own = _seed(config.seed.ticket, *((seed, ticket_file) if ticket_file else (start_seed, weights)))
    name = f"{invocation.recipe}-{config_hash(invocation.folder, config)}"
    return Path(config.out) / invocation.folder / name / f"seed{own}-{config.seed.task}"


def ticket_seed(config: Any) -> int:
    """Return the search seed of a run: its ticket's where it starts from one, else seed.ticket, else 0.

    The ticket is that of `ticket.file`, else that of `start.weights`.

    Raises:
        InputError: as `run_directory`.
    """
    ticket_file = getattr(getattr(config, "ticket", None), "file", None) or start_ticket(config)
    found = _ticket_reference(ticket_file, config.seed.task)[1] if ticket_file else None
    return _seed(config.seed.ticket, found, ticket_file)


def _seed(asked: int | None, found: int | None, ticket_file: str | None) -> int:
    if asked is not None and found is not None and asked != found:
        raise InputError(f"seed.ticket is {asked}, but {ticket_file} was found with seed {found}; leave seed.ticket out")
    return next((seed for seed in (asked, found) if seed is not None), 0)


def _ticket_reference(file: str, task_seed: int) -> tuple[str, int | None]:
    """Name a ticket as <run>@<round> when a run wrote it (or will), else by its digest; and its search seed.

    The seed is no part of the reference: seed k of a task transfers the ticket of search seed k, under one identity. Nor is the
    task seed of a search on a task, where it is the transfer's own; searches on a pre-training objective have none, which is 0.
    """
    match = _place_in_run(file)
    if match is not None:
        other = "" if int(match["task"]) in (0, task_seed) else f", task seed {int(match['task'])}"
        return f"{match['run']}@{int(match['round'])}{other}", int(match["ticket"])
    header = read_header(file)
    return str(header["digest"]), header["origin"]["seed"]


def _place_in_run(file: str) -> re.Match[str] | None:
    # An absolute path names the run wherever this process stands; `..` is followed as the system does it, through links.
    path = os.path.realpath(file) if ".." in PurePath(file).parts else os.path.abspath(file)
    return _RUN_PATH.search(PurePath(path).as_posix())


def start_ticket(config: Any) -> str | None:
    """Return the ticket file that `start.weights` names, by its place in a run or by its content; None where it names none."""
    weights = _start_weights(config)
    if weights is None or published_library(weights) is not None:
        return None
    return weights if _place_in_run(weights) is not None or is_ticket(weights) else None


def _start_weights(config: Any) -> str | None:
    return getattr(getattr(config, "start", None), "weights", None)


def _with_start_reference(config: Any, seed: int | None) -> tuple[Any, int | None]:
    """Name what a run starts from by what it is; return the changed configuration, and the search seed of a ticket among it.

    A ticket is named as those of `ticket.file` are, and its seed too if it is another than `seed`, which the run is known by;
    published weights by their own name beside `model.name`; other files, of weights and of input specifications, by content: a
    moved file is the same run and a changed one another.
    """
    weights = _start_weights(config)
    if weights is None:
        return config, None
    ticket, found = start_ticket(config), None
    if ticket is not None:
        reference, found = _ticket_reference(ticket, config.seed.task)
        reference += f", seed {found}" if seed is not None and found != seed else ""
    elif published_library(weights) is not None:
        reference = weights
    else:
        reference = _content(weights, "start.weights")
    said = config.start.input
    input = said if said in (None, "data", *NORMALISATIONS) else _content(said, "start.input")
    return replace(config, start=replace(config.start, weights=reference, input=input)), found


def _content(file: str, key: str) -> str:
    if Path(file).is_dir():
        raise InputError(f"{key}: {file} is a directory; name a file, of a run a round's ticket.safetensors")
    try:
        return f"sha256:{sha256_file(file)}"
    except (OSError, ValueError) as error:
        raise InputError(f"{key}: cannot read {file}: {getattr(error, 'strerror', None) or error}") from error


def run_status(directory: Path, ticket_file: str | None = None, start_file: str | None = None) -> str:
    """Say how far a run has come: new, running (begun, perhaps cut off), done, failed, or stale.

    Done is a run whose record says so and whose result is there. A result that was made from another ticket than the one which
    now lies under its path is stale.

    Args:
        directory: the run directory.
        ticket_file: the ticket that the run starts from, if any.
        start_file: the ticket that its `start.weights` names, if any.

    Raises:
        InputError: run.json, the result or a ticket is damaged.
    """
    file = directory / "run.json"
    if not file.exists():
        return "new"
    status, result = str(read_json(file).get("status", "running")), directory / "result.json"
    if status != "done":
        return status
    if not result.is_file():
        return "running"
    made_from = read_json(result)
    started_from = (made_from.get("details") or {}).get("start") or {}
    for ticket, digest in ((ticket_file, made_from.get("ticket")), (start_file, started_from.get("ticket"))):
        if ticket is not None and Path(ticket).is_file() and read_header(ticket)["digest"] != digest:
            return "stale"
    return "done"


def invocation_status(invocation: Invocation) -> str:
    """Say how far the run of an invocation has come; see `run_status`."""
    config = invocation.config
    return run_status(run_directory(invocation), getattr(getattr(config, "ticket", None), "file", None), start_ticket(config))
