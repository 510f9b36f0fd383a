"""A search from its checks to its end, in its run directory: the same for pre-training objectives and for tasks."""

from __future__ import annotations

import time

import torch

from common.cli import Invocation
from common.errors import InputError
from common.models.start_weights import StartWeights
from common.training.records import Records
from common.training.run import Run, open_run
from common.training.search import check_search, search
from common.training.task import Task


def run_rounds(invocation: Invocation, device: torch.device, task: Task, records: Records, start: StartWeights | None) -> None:
    """Run a search, or continue it.

    Args:
        invocation: the request; its configuration extends `SearchConfig`.
        device: where it is computed.
        task: what is trained, in its state at the start of round 0.
        records: what tickets and results say of task and data.
        start: the weights that round 0 starts from, as they were read; None: fresh random ones.

    Raises:
        InputError: a search that could not be finished, of which nothing is written; or a run that began from other weights.
        RunError: a loss is not finite.
    """
    config = invocation.config
    first = check_search(task, config, start.ticket if start else None)
    with open_run(invocation, device, records.data) as run:
        if run is None:
            return
        started = time.monotonic()
        if start is not None:
            _record_start(run, start)
        task.prepare_(config.train)
        search(task, config, run, records, first)
        if run.writes:
            print(f"{run.path}: {config.prune.rounds + 1} tickets in {time.monotonic() - started:.0f} s")


def _record_start(run: Run, start: StartWeights) -> None:
    """Write what a run starts from into its record.

    Raises:
        InputError: the run was begun from a file of other content.
    """
    begun_from = (run.record.get("start") or {}).get("digest")
    if run.checkpoint.exists() and begun_from != start.digest:
        raise InputError(
            f"start.weights: {run.path} was begun from a file of other content (its digest was {begun_from}, now it is "
            f"{start.digest}); bring that file back, or delete the run to begin it anew"
        )
    run.mark(start=start.facts)
