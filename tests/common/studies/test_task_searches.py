"""Searches on a task in a report: verdicts against round 0 and paired differences between searches, worked by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from common.studies import statistics
from common.studies.plan import Plan
from common.studies.report import write_report
from common.studies.study import load_study

FOUND = {"folder": "ToySearch", "recipe": "toy", "rounds": 2}
SEARCHES = {name: {**FOUND, "set": {"method": name}} for name in ("magnitude", "drawn", "pretraining")}
VALUES = {
    "magnitude": [(0.80, 0.84, 0.79), (0.79, 0.82, 0.80), (0.60, 0.70, 0.65)],
    "drawn": [(0.80, 0.84, 0.79), (0.70, 0.72, 0.71), (0.55, 0.52, 0.60)],
}


@pytest.fixture
def report(toys, write_round):
    plan = toys.plan(searches=SEARCHES, transfers=None, floors=None)
    for job in plan.jobs:
        rounds = VALUES.get(job.entry, VALUES["drawn"])
        told = {} if job.entry == "pretraining" else {
            "protocol": "imp", "task": "classification", "split": "test", "metric": "top1",
            "control": "random" if job.entry == "drawn" else "ticket",
        }  # fmt: skip
        for number, seeds in enumerate(rounds):
            value = seeds[job.seed]
            metrics = {} if job.entry == "pretraining" else {"metrics": {"test/top1": value}}
            write_round(job, number, value, last=number == 2, **told, **metrics)
    done = Plan(load_study(plan.study.file), plan.out, tuple(replace(job, status="done") for job in plan.jobs))
    written = write_report(done)
    return written, (done.folder / "report.html").read_text(), (done.folder / "summary.csv").read_text()


def test_rounds_of_a_task_are_judged_against_round_0(report):
    searches = {search["name"]: search for search in report[0]["task_searches"]}
    assert set(searches) == {"magnitude", "drawn"}
    groups = searches["magnitude"]["groups"]
    assert [group["round"] for group in groups] == [0, 1, 2]
    for group, values in zip(groups, VALUES["magnitude"], strict=True):
        assert group["mean"] == pytest.approx(np.mean(values))
        assert group["deviation"] == pytest.approx(np.std(values, ddof=1))
    # round 0: .81 less .0265 is .7835; .8033 reaches it and .65 does not
    assert [group["winning"] for group in groups] == [None, statistics.WINNING, statistics.NOT_WINNING]


def test_searches_are_compared_round_by_round_and_seed_by_seed(report):
    found = next(search for search in report[0]["task_searches"] if search["name"] == "magnitude")["against"]
    assert set(found) == {"drawn"}
    for number in (1, 2):
        one, other = (np.array(VALUES[name][number]) for name in ("magnitude", "drawn"))
        low, high = stats.ttest_rel(one, other).confidence_interval()
        assert found["drawn"][str(number)]["difference"] == pytest.approx((one - other).mean())
        assert found["drawn"][str(number)]["interval"] == pytest.approx([low, high])


def test_the_page_and_the_table_show_them(report):
    _, page, summary = report
    section = page.partition("Tickets found on the task itself")[2].partition("The searches themselves")[0]
    assert "minus drawn" in section
    assert ".803 ± .015" in section
    assert "Masks are drawn at random." in section
    assert "pretraining" not in section
    rows = [line.split(",") for line in summary.splitlines()]
    assert [row[:4] for row in rows if row[0] == "drawn"] == [["drawn", "", "random", str(k)] for k in range(3)]


@pytest.mark.parametrize("flag", ["source_saw_target", "dense_less_trained"])
def test_some_flags_leave_no_verdict(flag, toys, write_round):
    plan = toys.plan(searches={"magnitude": SEARCHES["magnitude"]}, transfers=None, floors=None)
    for job in plan.jobs:
        for number, seeds in enumerate(VALUES["magnitude"]):
            metrics, flags = {"test/top1": seeds[job.seed]}, [flag] if number or flag == "source_saw_target" else []
            told = {"protocol": "imp", "split": "test", "metric": "top1", "flags": flags, "metrics": metrics}
            write_round(job, number, seeds[job.seed], last=number == 2, **told)
    done = Plan(load_study(plan.study.file), plan.out, tuple(replace(job, status="done") for job in plan.jobs))
    groups = write_report(done)["task_searches"][0]["groups"]
    assert [group["winning"] for group in groups] == [None, "no verdict", "no verdict"]
    said = "more training behind them than round 0" in (done.folder / "report.html").read_text()
    assert said == (flag == "dense_less_trained")
