"""Several sources on one task: levels side by side, and paired differences computed again here with scipy and by hand."""

from __future__ import annotations

import csv
import html
import json
import re
import statistics

import pytest
from scipy import stats

from common.errors import InputError
from common.studies.analysis import NO_VERDICT, Finding, Group, findings
from common.studies.plan import is_done
from common.studies.report import write_report
from common.studies.results import read_results
from common.studies.run import run_plan
from common.studies.source_wording import differed, source_headlines
from common.studies.sources import levels, source_notes, source_tasks
from common.studies.statistics import ABOVE, FEW, NO_SPREAD, NOT_SHOWN
from common.studies.study import Transfer
from common.studies.words import number


def _words(page):
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", re.sub(r"<svg.*?</svg>", "", page, flags=re.DOTALL))))


def _task(plan):
    (task,) = source_tasks(findings(plan, read_results(plan)))
    return task


def _holm(chances):
    """Holm's procedure as its paper words it: step down, and never adjust a larger p to a smaller one."""
    adjusted, before = {}, 0.0
    for rank, (key, p) in enumerate(sorted(chances.items(), key=lambda item: item[1])):
        before = adjusted[key] = max(before, min(1.0, (len(chances) - rank) * p))
    return adjusted


def test_one_transfer_for_each_source_with_its_own_runs(source_jobs):
    jobs = {job.id: job for job in source_jobs}
    job = jobs["linear.moco/ticket/round_02/seed1"]
    search = jobs["moco/seed1"]
    assert job.needs == ("moco/seed1",)
    assert job.argv[2:4] == ("--ticket.file", str(search.run / "round_02" / "ticket.safetensors"))
    assert job.source == {"folder": "ToySearch", "recipe": "toy", "seed": 1, "round": 2}
    assert len({jobs[f"{name}/seed1"].run for name in ("simclr", "moco", "labels")}) == 3
    assert "linear.simclr/random/round_01/seed0" in jobs
    assert "linear.moco/random/round_01/seed0" not in jobs
    assert len(jobs) == 3 * 3 + 3 * (3 * 4 + 2) + 3


def test_differences_are_paired_t_tests_adjusted_by_holm(written_sources, source_levels):
    task = _task(written_sources)
    told = {(d.one, d.other, d.density): d for d in task.differences}
    assert list(told) == [
        (one, other, density)
        for one, other in (("simclr", "moco"), ("simclr", "labels"), ("moco", "labels"))
        for density in (1.0, 0.5, 0.25)
    ]
    chances = {}
    for (one, other, density), difference in told.items():
        key = {1.0: ("dense", 0), 0.5: ("ticket", 1), 0.25: ("ticket", 2)}[density]
        mine, theirs = source_levels[one][key], source_levels[other][key]
        assert difference.n == 3
        assert difference.difference == pytest.approx(statistics.mean(mine) - statistics.mean(theirs))
        if difference.verdict == NO_SPREAD:
            continue
        oracle = stats.ttest_rel(mine, theirs)
        interval = oracle.confidence_interval(0.95)
        assert difference.p == pytest.approx(oracle.pvalue, rel=1e-6)
        assert difference.interval == pytest.approx((interval.low, interval.high), rel=1e-6)
        chances[one, other, density] = oracle.pvalue
    assert task.tests == len(chances) == 8
    for key, adjusted in _holm(chances).items():
        assert told[key].p_holm == pytest.approx(adjusted, rel=1e-6)
        assert (told[key].verdict != NOT_SHOWN) == (adjusted < 0.05)


def test_verdicts_worked_by_hand(written_sources):
    told = {(d.one, d.other, d.density): d for d in _task(written_sources).differences}
    # .099, .100, .101: far from 0 beside a deviation of .001. .05 three times: nothing to test with.
    assert told["simclr", "moco", 0.5].verdict == ABOVE
    equal = told["simclr", "moco", 0.25]
    assert (equal.verdict, equal.p, equal.p_holm, equal.interval) == (NO_SPREAD, None, None, None)
    assert equal.difference == pytest.approx(0.05)


def test_only_seeds_that_both_have_are_paired(written_sources, toys):
    job = next(job for job in written_sources.jobs if job.id == "linear.moco/ticket/round_01/seed2")
    (job.run / "result.json").unlink()
    told = {(d.one, d.other, d.density): d for d in _task(toys.again(written_sources)).differences}
    assert (told["simclr", "moco", 0.5].n, told["simclr", "moco", 0.5].verdict) == (2, FEW)
    assert told["simclr", "moco", 0.5].difference is None
    assert told["simclr", "labels", 0.5].n == 3


@pytest.mark.parametrize("flag", ["source_saw_target", "source_saw_images"])
def test_a_source_that_saw_the_target_gets_no_verdict(written_sources, rewrite, source_levels, flag):
    for job in written_sources.of("linear.labels"):
        if job.control in ("ticket", "dense"):
            rewrite(job, source_levels["labels"][job.control, job.round][job.seed], flags=[flag])
    task = _task(written_sources)
    assert {d.verdict for d in task.differences if "labels" in (d.one, d.other)} == {NO_VERDICT}
    assert {d.difference for d in task.differences if "labels" in (d.one, d.other)} == {None}
    assert task.tests == 2
    assert "moco against labels: no verdict, as a source saw the target's classes, at all 3 levels" in source_headlines(task)[2]
    assert differed(task.differences[-1]) == "no verdict: a source saw the target's classes"


def _finding(source, densities):
    groups = tuple(
        Group("ticket", round_, density, {0: 0.5, 1: 0.6, 2: 0.4 + density / 10}, 0.5, 0.1, ())
        for round_, density in enumerate(densities, start=1)
    )
    return Finding(Transfer(f"t.{source}", "F", "r", (), "t", source, ()), None, groups, (), (), (), ())


def test_levels_are_matched_by_density_and_not_by_round():
    # Rates .5 and .3: rounds 2 and 4 keep .25 and .2401, 4% apart; rounds 1 and 2 keep .5 and .49; 1% is the tolerance.
    (task,) = source_tasks([_finding("a", [0.5, 0.25, 0.1]), _finding("b", [0.7, 0.49, 0.343, 0.249, 0.0999])])
    assert [difference.density for difference in task.differences] == [0.25, 0.1]
    groups = [group for finding in task.findings for group in finding.groups]
    assert levels(groups) == [0.7, 0.5, 0.49, 0.343, 0.25, 0.1]


def test_a_task_from_one_source_is_no_comparison(written):
    assert source_tasks(findings(written, read_results(written))) == []


def test_sources_that_were_measured_differently_are_refused(written_sources, rewrite):
    for job in written_sources.of("linear.labels"):
        rewrite(job, details={"labels": 200})
    with pytest.raises(InputError, match="such values are never averaged"):
        read_results(written_sources)


def test_a_result_from_another_source_is_damaged(written_sources, rewrite):
    job = written_sources.of("linear.moco")[0]
    rewrite(job, source={**job.source, "folder": "Elsewhere"})
    (note,) = read_results(written_sources).notes
    assert (note.kind, note.job) == ("damaged", job.id)
    assert "'folder': 'ToySearch'" in note.text


def test_sources_found_on_different_data_are_named(written_sources):
    assert source_notes(written_sources, read_results(written_sources)) == []
    for job in written_sources.of("moco"):
        for file in job.run.glob("round_*/result.json"):
            result = json.loads(file.read_text())
            file.write_text(json.dumps({**result, "data": {**result["data"], "name": "digits:0-4"}}))
    (note,) = source_notes(written_sources, read_results(written_sources))
    assert note.job == "linear"
    assert "moco on {" in note.text
    assert "simclr, labels on {" in note.text


def test_the_page_shows_every_source_on_the_same_axes(reported_sources, source_levels):
    text = _words(reported_sources.page).replace("\xa0", " ")
    assert "Transfer linear from simclr, moco and labels: a linear head on the frozen network, digits:6-9, 40 labels" in text
    for told in source_levels.values():
        for values in told.values():
            assert f"{number(statistics.mean(values))} ± {number(statistics.stdev(values))} (3)" in text
    assert "simclr against moco: above at 50.0% of weights" in text
    assert "not tested, as the differences of all seeds are equal, at 25.0% of weights" in text
    assert "adjusted by Holm for 8 comparisons" in text
    assert "simclr - moco 25.0% 3 +0.050 – – – no test: all differences are equal" in text
    drawing = re.search(
        r'<svg[^>]*aria-label="top1 against remaining weights, linear from every source".*?</svg>',
        reported_sources.page,
        re.DOTALL,
    )
    assert drawing is not None
    for name in ("simclr", "moco", "labels", "ticket", "random", "dense", "scratch", "pixels (floor)"):
        assert f">{name}</text>" in drawing[0]
    names = {file.name for file in (reported_sources.folder / "figures").iterdir()}
    assert {"sources_linear.png", "searches.png", "overlap.png", "transfer_linear.moco.png", "layers_labels.png"} <= names
    identifiers = re.findall(r'\bid="([^"]+)"', reported_sources.page)
    assert len(identifiers) == len(set(identifiers))


def test_tables_name_the_source(reported_sources):
    (task,) = reported_sources.report["tasks"]
    assert task["sources"] == ["simclr", "moco", "labels"]
    assert [d["in_words"] for d in task["differences"][:3]][1:] == ["simclr above", "no test: all differences are equal"]
    for name in ("results.csv", "summary.csv"):
        with (reported_sources.folder / name).open() as file:
            found = {row["source"] for row in csv.DictReader(file)}
        assert found == {"simclr", "moco", "labels", ""}


def test_a_report_before_anything_ran(planned_sources):
    write_report(planned_sources)
    text = _words((planned_sources.folder / "report.html").read_text())
    assert "Transfer linear from simclr, moco and labels No results yet." in text


@pytest.mark.parametrize("arm", [("dense", 0), ("scratch", 0), ("random", 2), ("ticket", 1)])
def test_a_report_of_a_single_arm(planned_sources, toys, rewrite, arm):
    for job in planned_sources.of("linear.simclr"):
        if (job.control, job.round) == arm:
            rewrite(job, 0.5 + 0.01 * job.seed)
    plan = toys.again(planned_sources)
    write_report(plan)
    text = _words((plan.folder / "report.html").read_text())
    assert "3 of 54 runs done" in text
    assert ".510 ± .010" in text


def test_a_study_of_two_sources_runs(toys):
    search = {"folder": "ToySearch", "recipe": "toy", "rounds": 1}
    transfer = {"folder": "ToyTask", "recipe": "toy", "from": ["a", "b"], "arms": {"ticket": [1], "dense": [0]}}
    plan = toys.plan(searches={"a": search, "b": {**search, "set": {"x": 1}}}, transfers={"t": transfer}, floors=None, seeds=[0])
    assert run_plan(plan, 2) == {}
    assert all(is_done(job) for job in toys.again(plan).jobs)
    assert len(toys.order()) == 2 + 4
