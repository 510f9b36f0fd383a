"""Where a run lives: its identity, its directory, and how far it has come. Needs no torch."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from common.canonical import config_hash
from common.errors import InputError
from common.files import read_json, sha256_file
from common.tickets.header import read_header

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
    ticket_file = getattr(getattr(config, "ticket", None), "file", None)
    if ticket_file is not None:
        reference, seed = _ticket_reference(ticket_file)
        config = replace(config, ticket=replace(config.ticket, file=reference))
    weights = getattr(getattr(config, "start", None), "weights", None)
    if weights is not None:
        config = replace(config, start=replace(config.start, weights=_weights_reference(weights)))
    own = _seed(config.seed.ticket, seed, ticket_file)
    name = f"{invocation.recipe}-{config_hash(invocation.folder, config)}"
    return Path(config.out) / invocation.folder / name / f"seed{own}-{config.seed.task}"


def ticket_seed(config: Any) -> int:
    """Return the search seed of a run: its ticket's where it starts from one, else seed.ticket, else 0.

    Raises:
        InputError: as `run_directory`.
    """
    ticket_file = getattr(getattr(config, "ticket", None), "file", None)
    return _seed(config.seed.ticket, _ticket_reference(ticket_file)[1] if ticket_file else None, ticket_file)


def _seed(asked: int | None, found: int | None, ticket_file: str | None) -> int:
    if asked is not None and found is not None and asked != found:
        raise InputError(f"seed.ticket is {asked}, but {ticket_file} was found with seed {found}; leave seed.ticket out")
    return next((seed for seed in (asked, found) if seed is not None), 0)


def _ticket_reference(file: str) -> tuple[str, int | None]:
    """Name a ticket as <run>@<round> when a run wrote it (or will), else by its digest; and its search seed.

    The seed is no part of the reference: seed k of a task transfers the ticket of search seed k, under one identity.
    """
    # An absolute path names the run wherever this process stands; `..` is followed as the system does it, through links.
    path = os.path.realpath(file) if ".." in PurePath(file).parts else os.path.abspath(file)
    match = _RUN_PATH.search(PurePath(path).as_posix())
    if match is not None:
        return f"{match['run']}@{int(match['round'])}", int(match["ticket"])
    header = read_header(file)
    return str(header["digest"]), header["origin"]["seed"]


def _weights_reference(file: str) -> str:
    """Name a file of weights by its content, so that a moved file is the same run and a changed one another."""
    try:
        return f"sha256:{sha256_file(file)}"
    except OSError as error:
        raise InputError(f"start.weights: cannot read {file}: {error.strerror}") from error


def run_status(directory: Path, ticket_file: str | None = None) -> str:
    """Say how far a run has come: new, running (begun, perhaps cut off), done, failed, or stale.

    Done is a run whose record says so and whose result is there. A result that was made from another ticket than the one which
    now lies under its path is stale.

    Args:
        directory: the run directory.
        ticket_file: the ticket that the run starts from, if any.

    Raises:
        InputError: run.json, the result or the ticket is damaged.
    """
    file = directory / "run.json"
    if not file.exists():
        return "new"
    status, result = str(read_json(file).get("status", "running")), directory / "result.json"
    if status != "done":
        return status
    if not result.is_file():
        return "running"
    if ticket_file is not None and Path(ticket_file).is_file():
        return "done" if read_json(result).get("ticket") == read_header(ticket_file)["digest"] else "stale"
    return "done"


def invocation_status(invocation: Invocation) -> str:
    """Say how far the run of an invocation has come; see `run_status`."""
    return run_status(run_directory(invocation), getattr(getattr(invocation.config, "ticket", None), "file", None))
