"""Time and disk: measured before declared before unknown, and the clock along the longest chain."""

from __future__ import annotations

import random

import pytest

from common.studies.estimate import chains, estimates, forecast, run_seconds, wall_time
from common.studies.plan import Job


def _job(name, needs=()):
    return Job(name, "search", "e", "F", (), 0, needs=tuple(needs))


def test_chains_count_what_waits():
    jobs = [_job("a"), _job("b", ["a"]), _job("c", ["a"]), _job("d", ["b"])]
    assert chains(jobs, {"a": 10, "b": 1, "c": 5, "d": 2}) == {"a": 15, "b": 3, "c": 5, "d": 2}


def test_the_clock_by_hand():
    jobs = [_job("a"), _job("b"), _job("c"), _job("d", ["a"])]
    seconds = {"a": 4.0, "b": 3.0, "c": 3.0, "d": 5.0}
    assert wall_time(jobs, seconds, 1) == 15
    assert wall_time(jobs, seconds, 2) == 9  # a then d; beside them b then c
    assert wall_time(jobs, seconds, 9) == 9


def test_declared_and_unknown(toys):
    plan = toys.plan(expected={"find": {"seconds": 40}})
    known = estimates(plan)
    assert (known["find"].seconds, known["find"].basis) == (40.0, "declared")
    assert (known["linear"].seconds, known["linear"].basis, known["linear"].bytes) == (None, "unknown", None)
    assert forecast(plan, known, 2).core_seconds is None


def test_declared_megabytes_say_what_disk_a_plan_needs(toys):
    expected = {"find": {"seconds": 40, "megabytes": 1.5}, "linear": {"megabytes": 0.25}}
    plan = toys.plan(expected=expected, floors=None)
    known = estimates(plan)
    assert [(known[name].bytes, known[name].basis) for name in ("find", "linear")] == [(1.5e6, "declared"), (0.25e6, "unknown")]
    searches, transfers = (sum(job.entry == name for job in plan.jobs) for name in ("find", "linear"))
    assert forecast(plan, known, 2).bytes == searches * 1.5e6 + transfers * 0.25e6
    assert searches
    assert transfers
    assert forecast(plan, known, 2).core_seconds is None


def test_measured_runs_replace_what_is_declared(written, toys):
    expected = {name: {"seconds": 1000, "megabytes": 1e6} for name in ("find", "linear", "pixels")}
    plan = toys.plan(expected=expected, seeds=[0, 1, 2, 3])
    known = estimates(plan)
    assert known["find"].basis == "measured"
    assert known["find"].seconds == pytest.approx(3 * 1.5)  # three rounds of 1.5 s, not the last one alone
    assert known["linear"].seconds == 1.5
    assert 0 < known["find"].bytes < 1e6
    left = forecast(plan, known, 1)
    assert left.core_seconds == left.wall_seconds == pytest.approx(4.5 + 6 * 1.5 + 1.5)
    assert forecast(plan, known, 8).wall_seconds == pytest.approx(4.5 + 1.5)


def test_runs_of_the_same_recipe_with_other_settings_are_a_guess(written, toys):
    changed = {"find": {"folder": "ToySearch", "recipe": "toy", "rounds": 2, "set": {"a": 1}}}
    known = estimates(toys.plan(searches=changed, transfers=None))
    assert (known["find"].seconds, known["find"].basis) == (4.5, "measured")


def test_a_finished_search_took_all_its_rounds(written):
    assert run_seconds(written.of("find")[0].run) == 4.5
    assert run_seconds(written.of("pixels")[0].run) == 1.5


def test_the_time_on_the_clock_is_that_of_a_plain_simulation():
    """Against the same rule, spelled out naively: at every moment the ready job with the longest chain is begun."""

    def naive(jobs, seconds, workers):
        longest = {
            job.id: seconds[job.id]
            + max((longest_from(other, jobs, seconds) for other in jobs if job.id in other.needs), default=0)
            for job in jobs
        }
        waiting, running, clock = list(jobs), {}, 0.0
        while waiting or running:
            unfinished = {job.id for job in waiting} | set(running)
            ready = [job for job in waiting if not unfinished & set(job.needs)]
            for job in sorted(ready, key=lambda job: -longest[job.id])[: workers - len(running)]:
                waiting.remove(job)
                running[job.id] = clock + seconds[job.id]
            clock = min(running.values())
            running.pop(min(running, key=lambda name: (running[name], name)))
        return clock

    def longest_from(job, jobs, seconds):
        return seconds[job.id] + max((longest_from(other, jobs, seconds) for other in jobs if job.id in other.needs), default=0)

    for seed in range(20):
        draw = random.Random(seed)
        names = [f"job{number}" for number in range(12)]
        jobs = [_job(name, draw.sample(names[:number], min(number, draw.randrange(3)))) for number, name in enumerate(names)]
        seconds = {name: float(draw.randrange(1, 9)) for name in names}
        for workers in (1, 2, 3):
            assert wall_time(jobs, seconds, workers) == naive(jobs, seconds, workers)
        assert wall_time(jobs, seconds, 1) == sum(seconds.values())


def test_a_run_that_two_entries_ask_for_is_counted_once(toys):
    arms = {"folder": "ToyTask", "recipe": "toy", "from": "find", "arms": {"ticket": [1], "dense": [0]}}
    expected = {"find": {"seconds": 8}, "one": {"seconds": 1}, "two": {"seconds": 1}}
    plan = toys.plan(transfers={"one": arms, "two": arms}, floors=None, expected=expected)
    assert forecast(plan, estimates(plan), 1).core_seconds == 3 * (8 + 1 + 1)
