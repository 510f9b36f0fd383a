"""The page's section on tickets that were found on a task itself."""

from __future__ import annotations

from collections.abc import Sequence

from common.studies import statistics
from common.studies.analysis import Group
from common.studies.html import Markup, joined, table, tag
from common.studies.statistics import PairedDifference
from common.studies.task_searches import TaskSearch
from common.studies.wording import about
from common.studies.words import label, number, percent

_COLOURS = {statistics.WINNING: "good", statistics.NOT_WINNING: "bad"}
_LESS_TRAINED = (
    "Rounds of this search had more training behind them than round 0, so what they gain on it may be training alone: no verdict "
    "against round 0 is given for them."
)


def task_searches_section(searches: Sequence[TaskSearch]) -> Markup:
    """Return a table per search: every round, against round 0 and against the other searches on the task."""
    if not searches:
        return Markup("")
    said = (
        "Every round was trained on the task and measured on its test images once; nothing was chosen by that. Round 0 keeps "
        "everything. Differences to another search are paired by seed at rounds that keep equally much, with their 95% interval, "
        "not adjusted for their number."
    )
    parts = [tag("h2", "Tickets found on the task itself"), tag("p", said, class_="soft")]
    for search in searches:
        first = search.first
        labels = f"{first.labels} labels" if first.labels is not None else "all labels"
        drawn = " Masks are drawn at random." if search.groups[0].control != "ticket" else ""
        parts.append(tag("h3", f"{search.name}: {first.data}, {labels}"))
        parts.append(
            tag("p", f"{label(str(first.result['metric']))} on the {first.result['split']} images.{drawn}", class_="soft")
        )
        if any(group.dense_less_trained for group in search.groups):
            parts.append(tag("p", _LESS_TRAINED, class_="soft"))
        parts.append(_table(search))
    return joined(parts)


def _table(search: TaskSearch) -> Markup:
    others = list(search.against)
    rows = [_row(search, group, others) for group in search.groups]
    headings = ("round", "kept", "mean ± deviation", "n", "against round 0", *(f"minus {name}" for name in others))
    return table(headings, rows, numbers=(0, 1, 3, *range(5, 5 + len(others))))


def _row(search: TaskSearch, group: Group, others: Sequence[str]) -> tuple[object, ...]:
    verdict = tag("td", group.winning or "", class_=_COLOURS.get(group.winning or "", ""))
    differences = [_difference(search.against[name].get(group.round or 0)) for name in others]
    return str(group.round), percent(group.density), about(group), str(group.n), verdict, *differences


def _difference(found: PairedDifference | None) -> str:
    if found is None:
        return "–"
    if found.interval is None:
        return f"{found.difference:+.3f}"
    return f"{found.difference:+.3f} ({number(found.interval[0])} to {number(found.interval[1])})"
