"""From a study to its runs: one job per run, what it needs, where it lives, and how far it has come."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from common.errors import InputError
from common.studies.folders import Answer, ask
from common.studies.study import Entry, Search, Study, Transfer


@dataclass(frozen=True)
class Job:
    """One run of a study.

    Attributes:
        id: name of the run in this study, such as "linear/random/round_06/seed1".
        kind: search, transfer or floor.
        entry: the study's name for it, such as "linear".
        folder: package that runs it.
        argv: the run's arguments, without `python -m FOLDER`.
        seed: of the search, or of the task and the search whose ticket it starts from.
        control: what is made of the ticket; None but for transfers.
        round: of the ticket; None but for transfers.
        source: what the ticket's origin must say: {"folder", "recipe", "seed", "round"}; None but for transfers.
        needs: ids of the jobs that must be done before.
        run: run directory.
        status: new, running (begun, perhaps cut off), done or failed.
        config: the run's whole configuration.
    """

    id: str
    kind: str
    entry: str
    folder: str
    argv: tuple[str, ...]
    seed: int
    control: str | None = None
    round: int | None = None
    source: Mapping[str, Any] | None = None
    needs: tuple[str, ...] = ()
    run: Path = Path()
    status: str = "new"
    config: Mapping[str, Any] | None = None

    @property
    def recipe(self) -> str:
        """The recipe's name, as the run directory has it."""
        return self.run.parent.name.rpartition("-")[0]


@dataclass(frozen=True)
class Plan:
    """Every run of a study under one root of runs, needs before what needs them."""

    study: Study
    out: Path
    jobs: tuple[Job, ...]

    def of(self, entry: str) -> list[Job]:
        """The jobs of one search, transfer or floor."""
        return [job for job in self.jobs if job.entry == entry]

    @property
    def folder(self) -> Path:
        """Where the study's own files go."""
        return study_folder(self.study, self.out)


def study_folder(study: Study, out: Path | str) -> Path:
    """Return where a study's own files go: OUT/studies/NAME."""
    return Path(out) / "studies" / study.name


def is_done(job: Job) -> bool:
    """Say whether a run is finished: its record said so when the plan was made, and its result is there."""
    return job.status == "done" and (job.run / "result.json").is_file()


def make_plan(study: Study, out: Path | str) -> Plan:
    """Expand a study to its jobs and ask the folders about them; nothing is run.

    Searches are asked first: the paths of their tickets are arguments of the transfers.

    Raises:
        InputError: a folder refuses runs; every reason is named once, with how many runs it concerns.
    """
    out = Path(out)
    asked = _answered([_search_job(entry, seed, out) for entry in study.searches for seed in study.seeds])
    searches = _with_task_seeds(asked)
    found = {(job.entry, job.seed): job for job in searches}
    tasks = [job for entry in study.transfers for job in _transfer_jobs(entry, study, found, out)]
    tasks += [_floor_job(entry, seed, out) for entry in study.floors for seed in study.seeds]
    return Plan(study, out, _same_runs_once((*searches, *_answered(tasks))))


def _search_job(entry: Search, seed: int, out: Path) -> Job:
    own = ["--prune.rounds", str(entry.rounds), "--seed.ticket", str(seed)]
    return Job(f"{entry.name}/seed{seed}", "search", entry.name, entry.folder, _argv(entry, own, out), seed)


def _with_task_seeds(searches: Sequence[Job]) -> list[Job]:
    """Give searches on a task their seed as the task's too: seed k has the labels and the order that transfers of seed k have.

    A folder whose configuration has a group `ticket` is a task's; for a pre-training objective the task's seed has no meaning.

    Raises:
        InputError: a search of a task's folder without rounds, which finds no ticket.
    """
    on_task = [job for job in searches if "ticket" in (job.config or {})]
    for job in on_task:
        if job.argv[job.argv.index("--prune.rounds") + 1] == "0":
            raise InputError(f"searches.{job.entry}: 0 rounds of {job.folder} find no ticket; give rounds, or make it a floor")
    told = {job.id: job for job in _answered([replace(job, argv=(*job.argv, "--seed.task", str(job.seed))) for job in on_task])}
    return [told.get(job.id, job) for job in searches]


def _floor_job(entry: Entry, seed: int, out: Path) -> Job:
    return Job(f"{entry.name}/seed{seed}", "floor", entry.name, entry.folder, _argv(entry, ["--seed.task", str(seed)], out), seed)


def _transfer_jobs(entry: Transfer, study: Study, found: Mapping[tuple[str, int], Job], out: Path) -> list[Job]:
    from_ = next(search for search in study.searches if search.name == entry.source)
    jobs = []
    for control, rounds in entry.arms:
        for round_ in rounds:
            for seed in study.seeds:
                search = found[entry.source, seed]
                ticket = search.run / f"round_{round_:02d}" / "ticket.safetensors"
                own = ["--ticket.file", str(ticket), "--ticket.control", control, "--seed.task", str(seed)]
                other = found[entry.weights, seed] if entry.weights is not None and control == "mask_only" else None
                if other is not None:
                    own += ["--start.weights", str(other.run / "round_00" / "ticket.safetensors")]
                needs = tuple(dict.fromkeys([search.id, *([other.id] if other is not None else [])]))
                name = f"{entry.name}/{control}/round_{round_:02d}/seed{seed}"
                source = {"folder": from_.folder, "recipe": from_.recipe, "seed": seed, "round": round_}
                argv = _argv(entry, own, out)
                jobs.append(Job(name, "transfer", entry.name, entry.folder, argv, seed, control, round_, source, needs))
    return jobs


def _argv(entry: Entry, own: Sequence[str], out: Path) -> tuple[str, ...]:
    overrides = [
        word
        for key, value in entry.overrides
        for word in ([f"--{key}={value}"] if value.startswith("-") else [f"--{key}", value])
    ]
    return ("--recipe", entry.recipe, *own, "--out", str(out), *overrides)


def _answered(jobs: Sequence[Job]) -> list[Job]:
    """Return the jobs with what their folders say of them, in the same order."""
    folders: dict[str, list[Job]] = {}
    for job in jobs:
        folders.setdefault(job.folder, []).append(job)
    answers = ask({folder: [job.argv for job in asked] for folder, asked in folders.items()})
    told = {job.id: answer for folder, asked in folders.items() for job, answer in zip(asked, answers[folder], strict=True)}
    _refuse(jobs, told)
    return [_with(job, told[job.id]) for job in jobs]


def _with(job: Job, answer: Answer) -> Job:
    if answer.run is None:
        raise InputError(f"python -m {job.folder} --dry_run named no run directory for {job.id}")
    return replace(job, run=answer.run, status=answer.status, config=answer.config)


def _refuse(jobs: Sequence[Job], told: Mapping[str, Answer]) -> None:
    """Raise what folders refuse: each reason of an entry once."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for job in jobs:
        error = told[job.id].error
        if error is not None:
            reasons.setdefault((job.entry, error), []).append(job.id)
    if reasons:
        texts = (
            f"{entry} ({ids[0]}{f' and {len(ids) - 1} more' if ids[1:] else ''}): {error}"
            for (entry, error), ids in reasons.items()
        )
        raise InputError("; ".join(texts))


def _same_runs_once(jobs: Sequence[Job]) -> tuple[Job, ...]:
    """Let a job whose run another job makes too wait for that one, after which it is done."""
    first: dict[Path, Job] = {}
    ordered = []
    for job in jobs:
        same = first.setdefault(job.run, job)
        ordered.append(job if same is job else replace(job, needs=(*job.needs, same.id)))
    return tuple(ordered)
