"""Plan a grid of runs, run it, follow it, report on it: `python -m common.studies plan|run|status|report STUDY.yaml`.

`python -m common.studies published RESULTS` prints results beside published numbers.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from common.errors import InputError
from common.files import require_writable
from common.studies.estimate import Estimate, Forecast, estimates, forecast
from common.studies.gpus import choose_gpus
from common.studies.plan import Plan, is_done, make_plan, study_folder
from common.studies.published.command import add_parser as add_published
from common.studies.published.command import run_published
from common.studies.report import PAGE, current_report, write_report
from common.studies.run import run_plan
from common.studies.study import load_study
from common.studies.tables import verdict_lines
from common.studies.words import columns, counted, duration, size
from common.subcommands import Parser, run


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code: 0 done, 1 runs failed, 2 bad input."""
    return run(_parser(), argv, _act)


def _parser() -> Parser:
    parser = Parser(prog="common.studies", description="Plan a grid of runs, run it, follow it, report on it.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="plan|run|status|report|published")
    about = {
        "plan": ("list what is to run, with time and disk where they are known; runs nothing", _plan),
        "run": ("run what is not done, then write the report", _run),
        "status": ("say how far every run is", _status),
        "report": ("write the report from what is there", _report),
    }
    for name, (text, action) in about.items():
        command = commands.add_parser(name, help=text)
        command.add_argument("study", help="study file, such as studies/digits.yaml")
        command.add_argument("--out", default="runs", help="root of runs (default: runs)")
        command.set_defaults(action=action)
        if name in ("plan", "run"):
            command.add_argument("--workers", type=int, help="processes of one thread (default: one per core, or GPU of --gpus)")
        if name == "run":
            command.add_argument("--gpus", help="bind each process to one GPU: auto (all), a number, or a list such as 0,1")
            command.add_argument("--slurm", metavar="FILE", help="run as jobs of a SLURM cluster; FILE says what they ask for")
        if name in ("plan", "status"):
            command.add_argument("--json", action="store_true", help="print JSON")
    add_published(commands)
    return parser


def _act(words: argparse.Namespace) -> int:
    if words.command == "published":
        return run_published(words)
    study = load_study(words.study)
    if words.command in ("plan", "run"):
        _choose_workers(words)
        for folder in (Path(words.out), study_folder(study, words.out)):
            require_writable(folder)
    return int(words.action(words, make_plan(study, words.out)))


def _choose_workers(words: argparse.Namespace) -> None:
    """Fill in the number of workers and the GPUs that they are bound to."""
    slurm, gpus = getattr(words, "slurm", None), getattr(words, "gpus", None)
    if slurm is not None and (words.workers is not None or gpus is not None):
        raise InputError(f"--slurm: leave --workers and --gpus out; {slurm} says jobs_at_once and gpus_per_node in their place")
    words.gpus = choose_gpus(gpus) if gpus is not None else []
    words.workers = words.workers if words.workers is not None else len(words.gpus) or os.cpu_count() or 1
    if words.workers < 1:
        raise InputError(f"--workers: got {words.workers}, expected an integer >= 1")


def _plan(words: argparse.Namespace, plan: Plan) -> int:
    known = estimates(plan)
    left = forecast(plan, known, words.workers)
    print(
        json.dumps(_plan_json(plan, known, left, words.workers), indent=1)
        if words.json
        else _plan_text(plan, known, left, words.workers)
    )
    return 0


def _plan_json(plan: Plan, known: dict[str, Estimate], left: Forecast, workers: int) -> dict[str, Any]:
    entries = [
        {"name": e.name, "folder": e.folder, "recipe": e.recipe, **_counts(plan, e.name), **known[e.name].__dict__}
        for e in plan.study.entries
    ]
    return {"study": plan.study.name, "workers": workers, "entries": entries, "left": left.__dict__, "jobs": _jobs(plan)}


def _jobs(plan: Plan) -> list[dict[str, Any]]:
    return [
        {
            "id": j.id,
            "kind": j.kind,
            "folder": j.folder,
            "argv": list(j.argv),
            "run": str(j.run),
            "status": _state(j),
            "needs": list(j.needs),
        }
        for j in plan.jobs
    ]


def _state(job: Any) -> str:
    return "done" if is_done(job) else "new" if job.status == "done" else str(job.status)


def _counts(plan: Plan, entry: str | None = None) -> dict[str, int]:
    jobs = plan.of(entry) if entry is not None else plan.jobs
    counts = {"runs": len(jobs), "done": 0, "running": 0, "failed": 0, "new": 0}
    for job in jobs:
        counts[_state(job)] = counts.get(_state(job), 0) + 1
    return counts


def _plan_text(plan: Plan, known: dict[str, Estimate], left: Forecast, workers: int) -> str:
    rows = [("name", "folder", "recipe", "runs", "done", "time a run", "disk a run")]
    for entry in plan.study.entries:
        counts, told = _counts(plan, entry.name), known[entry.name]
        time = f"{duration(told.seconds)} ({told.basis})" if told.seconds is not None else "unknown"
        rows.append((entry.name, entry.folder, entry.recipe, str(counts["runs"]), str(counts["done"]), time, size(told.bytes)))
    counts = _counts(plan)
    wall = (
        f"about {duration(left.wall_seconds)} with {counted(workers, 'worker')}, without their start"
        if left.wall_seconds is not None
        else "unknown"
    )
    return "\n".join(
        [
            plan.study.title,
            *columns(rows),
            f"{counted(counts['runs'], 'run')}: {counts['done']} done, {counts['runs'] - counts['done']} to run",
            f"core time {duration(left.core_seconds)}; on the clock {wall}; disk {size(left.bytes)}",
        ]
    )


def _run(words: argparse.Namespace, plan: Plan) -> int:
    try:
        failed = _run_all(words, plan)
    except KeyboardInterrupt:
        print("common.studies: stopped; the same command continues where it was", file=sys.stderr)
        return 1
    after = make_plan(plan.study, plan.out) if any(not is_done(job) for job in plan.jobs) else plan
    report = current_report(after) or write_report(after)
    print("\n".join(verdict_lines(report)))
    for name, reason in failed.items():
        print(f"common.studies: {name}: {reason}", file=sys.stderr)
    print(f"report: {after.folder / PAGE}")
    return 1 if failed else 0


def _run_all(words: argparse.Namespace, plan: Plan) -> dict[str, str]:
    """Run what is not done, here or on a cluster; return why runs failed."""
    if words.slurm is None:
        return run_plan(plan, words.workers, words.gpus)
    from common.studies.cluster import run_on_cluster
    from common.studies.cluster_config import load_cluster

    return run_on_cluster(plan, load_cluster(words.slurm, plan.study))


def _status(words: argparse.Namespace, plan: Plan) -> int:
    if words.json:
        print(json.dumps({"study": plan.study.name, **_counts(plan), "jobs": _jobs(plan)}, indent=1))
        return 0
    rows: list[tuple[str, ...]] = [("name", "runs", "done", "begun", "failed", "new")]
    for entry in plan.study.entries:
        counts = _counts(plan, entry.name)
        rows.append((entry.name, *(str(counts[key]) for key in ("runs", "done", "running", "failed", "new"))))
    print("\n".join(columns(rows)))
    for job in plan.jobs:
        if _state(job) == "failed":
            print(f"failed: {job.id} ({job.run})")
    return 0


def _report(words: argparse.Namespace, plan: Plan) -> int:
    report = write_report(plan)
    print("\n".join(verdict_lines(report)))
    print(f"report: {plan.folder / PAGE}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
