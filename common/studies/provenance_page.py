"""The end of a report's page: what is missing or odd, and exactly what was run."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence

from common.studies import statistics
from common.studies.contents import Contents, distinct
from common.studies.html import Markup, joined, table, tag, terms
from common.studies.plan import Job, is_done
from common.studies.results import Row
from common.studies.words import counted, duration, number, percent

_FOLDED = 4
"""More runs than these that share a note are folded up."""


def notes_section(contents: Contents) -> Markup:
    """Name every missing, failed, damaged or flagged run."""
    if not contents.notes:
        return joined([tag("h2", "Notes"), tag("p", "Every run of the study is here; none failed, none carries a flag.")])
    same: dict[tuple[str, str], list[str]] = {}
    for note in contents.notes:
        same.setdefault((note.kind, note.text), []).append(note.job)
    rows = [(kind, _runs(jobs), text) for (kind, text), jobs in same.items()]
    return joined([tag("h2", "Notes"), table(("what", "run", "why"), rows)])


def _runs(jobs: Sequence[str]) -> Markup:
    """Name the runs of one note; many of them are folded up."""
    named = joined(tag("div", tag("code", job)) for job in jobs)
    return named if len(jobs) <= _FOLDED else tag("details", tag("summary", counted(len(jobs), "run")), named)


def provenance_section(contents: Contents) -> Markup:
    """Say with what, where and how the numbers were made, and list every run with its command."""
    study = contents.plan.study
    rows = contents.every_row
    seeds = ", ".join(map(str, study.seeds))
    facts: list[tuple[object, object]] = [
        ("study", tag("code", study.file)),
        ("seeds", f"{seeds}; the task's seed k starts from the search with seed k"),
        (
            "thresholds",
            f"margin {number(study.margin)}, level {number(statistics.ALPHA)} (one-sided for non-inferiority, two-sided for "
            f"differences between sources), {statistics.MIN_SEEDS} seeds or more for a verdict",
        ),
        ("data", _measured_on(contents)),
        ("code", _listed(distinct(rows, "commit"), "not recorded")),
        (
            "versions",
            "; ".join(", ".join(f"{k} {v}" for k, v in version.items()) for version in distinct(rows, "versions"))
            or "no results",
        ),
        (
            "device",
            f"{_listed(distinct(rows, 'device'), 'no results')}; threads {_listed(distinct(rows, 'threads'), 'not recorded')}",
        ),
        ("time", f"{duration(math.fsum(contents.seconds.values()))} in all, {counted(len(contents.seconds), 'finished run')}"),
    ]
    runs = table(
        ("run", "status", "time", "command and run directory"), [_run(contents, job) for job in contents.plan.jobs], numbers=(2,)
    )
    every = tag("details", tag("summary", f"Every run with its command ({len(contents.plan.jobs)})"), runs)
    return joined([tag("h2", "What was run"), terms(facts), _entries(contents), every])


def _listed(values: Sequence[object], nothing: str) -> str:
    return ", ".join(str(value) for value in values if value is not None) or nothing


def _measured_on(contents: Contents) -> Markup:
    texts: dict[str, list[str]] = {}
    for entry in contents.plan.study.entries:
        rows = contents.results.of(entry.name)
        if rows:
            texts.setdefault(_data(rows[0]), []).append(entry.name)
    lines = [f"{', '.join(names)}: {text}" for text, names in texts.items()]
    return joined(tag("div", line) for line in lines or ["no results"])


def _data(row: Row) -> str:
    labels = (
        ""
        if row.result["task"] == "pretraining"
        else f", {counted(row.labels, 'label')}"
        if row.labels is not None
        else ", all labels"
    )
    return f"{row.data}, {row.result['split']} images, split {row.split_hash or 'not recorded'}{labels}"


def _entries(contents: Contents) -> Markup:
    rows = []
    for entry in contents.plan.study.entries:
        jobs = contents.plan.of(entry.name)
        done = sum(is_done(job) for job in jobs)
        taken = [contents.seconds[job.id] for job in jobs if job.id in contents.seconds]
        settings = " ".join(f"{key}={value}" for key, value in entry.overrides) or "as the recipe"
        kept = percent(min(row.density for row in found)) if (found := contents.results.of(entry.name)) else "–"
        cells = (
            entry.name,
            entry.folder,
            entry.recipe,
            settings,
            f"{done} of {len(jobs)}",
            kept,
            duration(math.fsum(taken)) if taken else "–",
        )
        rows.append(cells)
    return table(("name", "folder", "recipe", "settings", "runs done", "least kept", "time"), rows, numbers=(4, 5, 6))


def _run(contents: Contents, job: Job) -> tuple[object, ...]:
    where = joined([tag("div", tag("code", command(job))), tag("div", tag("code", job.run))])
    return (
        tag("code", job.id),
        "done" if is_done(job) else job.status,
        duration(contents.seconds.get(job.id)) if is_done(job) else "–",
        where,
    )


def command(job: Job) -> str:
    """Return a run's command line, to be copied into a shell."""
    return shlex.join(["python", "-m", job.folder, *job.argv])
