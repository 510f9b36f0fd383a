"""Run directory: one run's files, its lock, and how far it has come."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from common.cli import Invocation
from common.config import as_tree
from common.files import read_json, write_json
from common.identity import invocation_status, run_directory
from common.locks import locked
from common.provenance import commit, host
from common.training.distributed import broadcast, is_first, world_size
from common.training.same_images import compare_listed_images, require_same_images

FORMAT = 1


@dataclass(frozen=True)
class Facts:
    """Who measured a result, where: the run's name, its request, the device and the threads.

    `seed` is the search's seed where it is known; None: it follows from the request.
    """

    run: str
    invocation: Invocation
    device: str
    threads: int
    seed: int | None = None


@dataclass
class Run:
    """A run that this process holds the lock of.

    Attributes:
        path: the run directory.
        invocation: folder, recipe and configuration.
        record: the content of run.json.
        writes: this process writes the run's files; of several that train together only the first does.
    """

    path: Path
    invocation: Invocation
    record: dict[str, Any] = field(default_factory=dict)
    writes: bool = True

    @property
    def name(self) -> str:
        """The run without the root of runs: FOLDER/RECIPE-HASH/SEEDS."""
        return "/".join(self.path.parts[-3:])

    @property
    def checkpoint(self) -> Path:
        """The file that a killed run continues from."""
        return self.path / "checkpoint.pt"

    @property
    def facts(self) -> Facts:
        """What results record of this run."""
        return Facts(self.name, self.invocation, self.record["attempts"][-1]["device"], self.record["threads"])

    def round_path(self, round_: int) -> Path:
        """The folder of a round's ticket and result."""
        return self.path / f"round_{round_:02d}"

    def mark(self, **changes: Any) -> None:
        """Change fields of run.json and write it."""
        self.record.update(changes)
        if self.writes:
            write_json(self.path / "run.json", self.record)


def is_done(invocation: Invocation) -> bool:
    """Say whether a run is finished already, the same on every process, and tell the user where.

    Raises:
        InputError: it was made from other images than its folder holds now.
    """
    directory = run_directory(invocation)
    done = broadcast(invocation_status(invocation) == "done")
    if done:
        known = compare_listed_images(directory, read_json(directory / "run.json"), invocation.config.data)
        if is_first():
            print(f"{directory} is done already; nothing to run{known}")
    return done


@contextmanager
def open_run(invocation: Invocation, device: torch.device, data: Mapping[str, Any]) -> Iterator[Run | None]:
    """Take a run's lock, record the attempt, and keep run.json true whatever happens inside the block.

    Args:
        invocation: the request.
        device: where it is computed.
        data: {"name", "split_hash", "fingerprint"} of its images; a run that was begun before must have begun with the same.

    Yields:
        The run, or None if another process finished it while this one waited for the lock.

    Raises:
        InputError: the directory cannot be made or written, or the run began with other images.
    """
    directory = run_directory(invocation)
    if not is_first():
        record: dict[str, Any] = broadcast({})
        if record:
            torch.set_num_threads(record["threads"])
        yield Run(directory, invocation, record, writes=False) if record else None
        return
    with locked(directory / "lock", str(directory), "choose another folder with --out"):
        status, file = invocation_status(invocation), directory / "run.json"
        record = read_json(file) if file.exists() else {}
        if record and status != "stale":
            require_same_images(directory, record, data)
        if status == "done":
            print(f"{directory} was finished by another process; nothing to run")
            broadcast({})
            yield None
            return
        if status == "stale":
            print(f"{directory} was made from another ticket than the one that is there now; it is run anew")
            (directory / "checkpoint.pt").unlink(missing_ok=True)
        run = _begin(Run(directory, invocation, record), device, data)
        torch.set_num_threads(run.record["threads"])  # another process may have begun the run while this one waited
        broadcast(run.record)
        try:
            yield run
        except Exception as error:
            run.mark(status="failed", error=str(error))
            raise


def recorded_threads(invocation: Invocation) -> int | None:
    """Return the thread count that an unfinished run began with, which a resume keeps; None for a new run."""
    file = run_directory(invocation) / "run.json"
    return broadcast(read_json(file).get("threads") if file.exists() else None)


def _begin(run: Run, device: torch.device, data: Mapping[str, Any]) -> Run:
    """Record an attempt."""
    record = run.record
    attempt = {
        "commit": commit(),
        **host(),
        "torch": torch.__version__,
        "device": device_name(device),
        "world_size": world_size(),
        "started": datetime.now(UTC).isoformat(timespec="milliseconds"),
    }
    run.mark(
        format=FORMAT,
        run=run.name,
        config=as_tree(run.invocation.config),
        data=dict(data),
        hash=run.path.parent.name.rpartition("-")[2],
        status="running",
        error=None,
        round=record.get("round", 0),
        step=record.get("step", 0),
        threads=record.get("threads") or torch.get_num_threads(),
        attempts=[*record.get("attempts", []), attempt],
    )
    return run


def device_name(device: torch.device) -> str:
    """Name a device for results: "cpu", or the GPU's model."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
