"""A report's files for programs: results.csv (runs), summary.csv (arms), overlaps.csv (two masks a row), report.json."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from common.studies import statistics
from common.studies.analysis import Comparison, Curve, Finding, Group
from common.studies.contents import Contents, distinct
from common.studies.plan import is_done
from common.studies.provenance_page import command
from common.studies.results import Row
from common.studies.source_wording import differed, source_headlines
from common.studies.sources import SourceTask
from common.studies.study import Transfer
from common.studies.task_searches import TaskSearch
from common.studies.wording import against_dense, compared, headlines, reach
from common.studies.words import label

FORMAT = 1


def results_csv(contents: Contents) -> str:
    """Return one row per result: transfers, floors, and the rounds of searches."""
    sources = {transfer.name: transfer.source for transfer in contents.plan.study.transfers}
    return _csv(_result(row, sources.get(row.job.entry)) for row in contents.every_row)


def summary_csv(contents: Contents) -> str:
    """Return one row per transfer, arm and round, per round of a search on a task, and per floor: mean, deviation, verdict."""
    rows = [_summary(finding.transfer, group) for finding in contents.findings for group in finding.groups]
    rows += [_of_search(search.name, group) for search in contents.task_searches for group in search.groups]
    return _csv([*rows, *(_summary(None, group) for group in contents.floors)])


def overlaps_csv(contents: Contents) -> str:
    """Return one row per two masks of one round: overlap and both chance levels."""
    return _csv(
        {
            "round": pair.round, "one": pair.one.search, "seed_one": pair.one.seed, "density_one": pair.one.density,
            "other": pair.other.search, "seed_other": pair.other.seed, "density_other": pair.other.density,
            **asdict(pair.measured),
        }
        for pair in contents.pairs
    )  # fmt: skip


def report_json(contents: Contents, fingerprint: str) -> dict[str, Any]:
    """Return everything that the page says, for programs."""
    study = contents.plan.study
    return {
        "format": FORMAT,
        "fingerprint": fingerprint,
        "study": {
            "name": study.name,
            "title": study.title,
            "question": study.question,
            "seeds": list(study.seeds),
            "margin": study.margin,
        },
        "thresholds": {"margin": study.margin, "alpha": statistics.ALPHA, "min_seeds": statistics.MIN_SEEDS},
        "runs": {"total": len(contents.plan.jobs), "done": contents.done, "seconds": sum(contents.seconds.values())},
        "tasks": [_task(task) for task in contents.tasks],
        "transfers": [_finding(finding) for finding in contents.findings],
        "floors": [_group(group) for group in contents.floors],
        "task_searches": [_task_search(search) for search in contents.task_searches],
        "searches": [asdict(search) for search in contents.searches],
        "overlaps": [asdict(curve) for curve in contents.overlaps],
        "notes": [asdict(note) for note in contents.notes],
        "provenance": {key: distinct(contents.every_row, key) for key in ("commit", "versions", "device", "threads", "data")},
        "commands": [
            {"run": job.id, "command": command(job), "directory": str(job.run), "status": "done" if is_done(job) else job.status}
            for job in contents.plan.jobs
        ],
    }


def _csv(rows: Iterable[dict[str, Any]]) -> str:
    listed = list(rows)
    text = io.StringIO()
    if listed:
        writer = csv.DictWriter(text, list(listed[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(listed)
    return text.getvalue()


def _result(row: Row, source: str | None) -> dict[str, Any]:
    result, seed = row.result, row.result["seed"]
    return {
        "job": row.job.id, "kind": row.job.kind, "entry": row.job.entry, "folder": row.job.folder, "recipe": result["recipe"],
        "source": source,
        "control": result["control"], "round": row.round, "seed_ticket": seed.get("ticket"), "seed_task": seed.get("task"),
        "density": row.density, "metric": result["metric"], "value": row.value, "higher_is_better": result["higher_is_better"],
        "protocol": result["protocol"], "data": row.data, "split": result["split"], "split_hash": row.split_hash,
        "labels": row.labels,
        "flags": " ".join(map(str, result["flags"])), "seconds": result["seconds"], "device": result["device"],
        "threads": result.get("threads"), "commit": result.get("commit"), "ticket": result.get("ticket"),
        "mask_digest": result.get("mask_digest"), "file": str(row.file),
    }  # fmt: skip


def _summary(transfer: Transfer | None, group: Group) -> dict[str, Any]:
    return {
        "transfer": transfer.name if transfer is not None else "floor",
        "source": transfer.source if transfer is not None else None,
        "control": group.control, "round": group.round, "density": group.density, "n": group.n,
        "seeds": " ".join(map(str, sorted(group.values))), "mean": group.mean, "deviation": group.deviation,
        "winning": group.winning, "flags": " ".join(group.flags),
    }  # fmt: skip


def _of_search(name: str, group: Group) -> dict[str, Any]:
    return {**_summary(None, group), "transfer": name}


def _task_search(search: TaskSearch) -> dict[str, Any]:
    return {
        "name": search.name,
        "labels": search.first.labels,
        **{key: search.first.result[key] for key in ("metric", "data", "split", "higher_is_better")},
        "groups": [_group(group) for group in search.groups],
        "against": {
            name: {str(number): None if found is None else asdict(found) for number, found in rounds.items()}
            for name, rounds in search.against.items()
        },
    }


def _task(task: SourceTask) -> dict[str, Any]:
    return {
        "name": task.name,
        "sources": [finding.transfer.source for finding in task.findings],
        "in_words": source_headlines(task),
        "tests": task.tests,
        "differences": [{**asdict(difference), "in_words": differed(difference)} for difference in task.differences],
    }


def _finding(finding: Finding) -> dict[str, Any]:
    first = finding.first
    shared = (
        {} if first is None else {key: first.result[key] for key in ("protocol", "metric", "data", "split", "higher_is_better")}
    )
    return {
        "name": finding.transfer.name,
        "from": finding.transfer.source,
        "labels": first.labels if first is not None else None,
        **shared,
        "in_words": headlines(finding),
        "groups": [_group(group) for group in finding.groups],
        "floors": [group.control for group in finding.floors],
        "curves": [_curve(curve) for curve in finding.curves],
        "against_dense": [
            {"control": group.control, "round": group.round, "verdict": group.winning,
             "in_words": against_dense(group, finding.dense, higher_is_better=finding.higher_is_better)}
            for group in finding.groups if group.winning is not None
        ],
        "comparisons": [_comparison(comparison) for comparison in finding.comparisons],
        "non_inferiority": [asdict(level) for level in finding.non_inferiority],
    }  # fmt: skip


def _group(group: Group) -> dict[str, Any]:
    told = asdict(group)
    return {
        **told,
        "values": {str(seed): value for seed, value in group.values.items()},
        "flags": list(group.flags),
        "n": group.n,
    }


def _curve(curve: Curve) -> dict[str, Any]:
    return {**asdict(curve), "in_words": f"{label(curve.control)} {reach(curve)}"}


def _comparison(comparison: Comparison) -> dict[str, Any]:
    return {
        "round": comparison.round,
        "density": comparison.ticket.density,
        "other": comparison.other.control,
        "is_floor": comparison.is_floor,
        "relation": comparison.relation,
        "difference": comparison.difference,
        "interval": None if comparison.interval is None else list(comparison.interval),
        "in_words": compared(comparison),
    }


def verdict_lines(report: dict[str, Any]) -> list[str]:
    """Return the verdicts of a report.json as lines for a terminal."""
    lines: list[str] = []
    for task in report["tasks"]:
        lines.append(f"{task['name']}, {', '.join(task['sources'])}:")
        lines += [f"  {line}" for line in task["in_words"]]
    for transfer in report["transfers"]:
        lines.append(f"{transfer['name']}:")
        lines += [f"  {line}" for line in transfer["in_words"]]
        rows: Sequence[dict[str, Any]] = [row for row in transfer["against_dense"] if row["control"] == "ticket"]
        for row in rows:
            lines.append(f"  {row['in_words']}")
            others = [c for c in transfer["comparisons"] if c["round"] == row["round"] and c["other"] != "dense"]
            lines += [f"    {comparison['in_words']}" for comparison in others]
    return lines
