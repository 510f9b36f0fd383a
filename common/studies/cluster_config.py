"""The file of `--slurm`: what to ask a cluster for. Imports no torch.

```yaml
jobs_at_once: 64          # in the queue or running
runs_per_job: 8           # transfers and floors of one entry that share a job; a search has its own
restarts: 20              # how often a job that ran out of time, or was preempted, is queued again
default:                  # what every job asks for, by submitit's names; those of SLURM alone begin with slurm_
  {timeout_min: 240, gpus_per_node: 1, cpus_per_task: 8, mem_gb: 48, slurm_partition: gpu}
entries:                  # and what the runs of one search, transfer or floor ask for beyond that
  simclr: {timeout_min: 2880, processes: 8, gpus_per_node: 8, cpus_per_task: 64}
```

`processes` is the project's own: a run by torchrun in so many processes, whose directory is that of the same run in one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from common.errors import InputError
from common.recipes import read_yaml
from common.studies.study import Study

EXECUTORS = ("slurm", "local")


@dataclass(frozen=True)
class ClusterConfig:
    """What a study asks a cluster for.

    Attributes:
        executor: slurm; or local, which runs jobs on this machine in the same way, to try a study out.
        jobs_at_once: jobs in the queue or running, >= 1.
        runs_per_job: transfers or floors of one entry that share a job, >= 1; a search has a job of its own.
        restarts: how often a job that ran out of time or was preempted is queued again, >= 0.
        poll_seconds: between two looks at the jobs, > 0.
        default: what every job asks for, by submitit's names.
        entries: for an entry of the study, what its jobs ask for beyond that.
    """

    executor: str = "slurm"
    jobs_at_once: int = 64
    runs_per_job: int = 1
    restarts: int = 20
    poll_seconds: float = 15.0
    default: Mapping[str, Any] = field(default_factory=dict)
    entries: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def asked_for(self, study: Study, name: str) -> tuple[int, dict[str, Any]]:
        """Return the processes of a run of an entry, and what its jobs ask submitit for.

        A transfer from several searches is known by its written name, and each of them by its own.
        """
        written = next((transfer.written for transfer in study.transfers if transfer.name == name), name)
        asked = {"processes": 1, **self.default, **self.entries.get(written, {}), **self.entries.get(name, {})}
        return asked.pop("processes"), asked


def load_cluster(path: str, study: Study) -> ClusterConfig:
    """Read and check the file of `--slurm`.

    Raises:
        InputError: the file is absent, no YAML, or holds an unknown key, entry or value.
    """
    tree = read_yaml(path)
    known = [one.name for one in fields(ClusterConfig)]
    for key in tree:
        _require(key in known, path, f"unknown key {key!r}; known keys are {', '.join(known)}")
    config = ClusterConfig(**tree)
    _require(config.executor in EXECUTORS, path, f"executor: got {config.executor!r}, expected {' or '.join(EXECUTORS)}")
    for name, least in (("jobs_at_once", 1), ("runs_per_job", 1), ("restarts", 0)):
        got = getattr(config, name)
        _require(type(got) is int and got >= least, path, f"{name}: got {got!r}, expected an integer >= {least}")
    poll = config.poll_seconds
    _require(type(poll) in (int, float) and poll > 0, path, f"poll_seconds: got {poll!r}, expected a number > 0")
    _check_asked(config.default, path, "default")
    _require("timeout_min" in config.default, path, "default: timeout_min is missing, the minutes that a job may take")
    _require(_is_table(config.entries), path, f"entries: got {config.entries!r:.60}, expected names and values")
    names = list(dict.fromkeys([*(entry.name for entry in study.entries), *study.tasks]))
    for name, asked in config.entries.items():
        _require(name in names, path, f"entries: unknown name {name!r}; the study's are {', '.join(names)}")
        _check_asked(asked, path, f"entries.{name}")
    return config


def _check_asked(asked: Any, path: str, where: str) -> None:
    _require(_is_table(asked), path, f"{where}: got {asked!r:.60}, expected names and values")
    processes = asked.get("processes", 1)
    whole = type(processes) is int and processes >= 1
    _require(whole, path, f"{where}.processes: got {processes!r}, expected an integer >= 1")


def _is_table(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(key, str) for key in value)


def _require(holds: bool, path: str, message: str) -> None:
    if not holds:
        raise InputError(f"{path}: {message}")
