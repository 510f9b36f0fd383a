"""The scheduler, on real processes of a toy folder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from common.studies.plan import is_done
from common.studies.run import run_plan

ROOT = Path(__file__).resolve().parents[3]
SEARCH = {"folder": "ToySearch", "recipe": "toy", "rounds": 1}


def _transfers(**settings):
    arms = {"ticket": [1], "dense": [0]}
    return {"linear": {"folder": "ToyTask", "recipe": "toy", "from": "find", "arms": arms, **settings}}


def _small(toys, *, search=None, transfer=None, **changes):
    searches = {"find": {**SEARCH, **({"set": {"behave": search}} if search else {})}}
    transfers = _transfers(**({"set": {"behave": transfer}} if transfer else {}))
    return toys.plan(searches=searches, transfers=transfers, **{"floors": None, "seeds": [0, 1], **changes})


def test_everything_runs_with_needs_first_and_one_thread(toys):
    plan = toys.plan()
    assert run_plan(plan, 2) == {}
    again = toys.again(plan)
    assert all(is_done(job) for job in again.jobs)
    ran = [line[3] for line in toys.order()]
    assert sorted(ran) == sorted(str(job.run) for job in plan.jobs)
    places = {job.id: ran.index(str(job.run)) for job in plan.jobs}
    assert all(places[need] < places[job.id] for job in plan.jobs for need in job.needs)
    assert {line[2] for line in toys.order()} == {"1"}


def test_a_second_time_nothing_is_started(toys):
    plan = _small(toys)
    run_plan(plan, 1)
    before = toys.order()
    assert run_plan(toys.again(plan), 2) == {}
    assert toys.order() == before


def test_a_worker_keeps_its_folder_and_is_replaced_by_the_next(toys):
    plan = _small(toys, floors={"pixels": {"folder": "ToyTask", "recipe": "odd"}})
    run_plan(plan, 1)
    workers = list(dict.fromkeys((line[0], line[1]) for line in toys.order()))
    assert [folder for folder, _ in workers] == ["ToySearch", "ToyTask"]


def test_the_longest_chain_is_first(toys):
    floors = {"short": {"folder": "ToyTask", "recipe": "odd"}, "long": {"folder": "ToySearch", "recipe": "odd"}}
    plan = _small(
        toys,
        floors=floors,
        seeds=[0],
        expected={name: {"seconds": s} for name, s in (("find", 3), ("linear", 4), ("short", 1), ("long", 5))},
    )
    run_plan(plan, 1)
    first, second = [line[3] for line in toys.order()][:2]
    assert first == str(plan.of("find")[0].run)  # 3 + 4 > 5 > 1
    assert second == str(plan.of("long")[0].run)


def test_a_killed_worker_is_replaced_and_its_run_tried_again(toys, capsys):
    plan = _small(toys, search="die_once:1")
    assert run_plan(plan, 1) == {}
    assert all(is_done(job) for job in toys.again(plan).jobs)
    assert "the worker of find/seed1 was killed by SIGKILL; the run is tried once more" in capsys.readouterr().err


def test_a_run_that_kills_its_workers_fails_and_the_rest_goes_on(toys):
    plan = _small(toys, search="die:1")
    failed = run_plan(plan, 2)
    assert failed["find/seed1"].startswith("its worker was killed by SIGKILL, 2 times")
    assert failed["linear/ticket/round_01/seed1"] == "not run: it needs find/seed1, which failed"
    assert set(failed) == {"find/seed1", "linear/ticket/round_01/seed1", "linear/dense/round_00/seed1"}
    assert {job.id for job in toys.again(plan).jobs if is_done(job)} == {job.id for job in plan.jobs} - set(failed)


def test_a_failing_run_stops_nothing_else_and_is_run_again_next_time(toys):
    plan = _small(toys, transfer="fail:1")
    failed = run_plan(plan, 2)
    assert failed == dict.fromkeys(["linear/ticket/round_01/seed1", "linear/dense/round_00/seed1"], "the loss is not finite")
    count = len(toys.order())
    run_plan(toys.again(plan), 1)
    assert len(toys.order()) == count + 2


def test_a_run_without_a_result_has_failed(toys):
    plan = _small(toys, transfer="vanish", seeds=[0])
    failed = run_plan(plan, 1)
    assert "without an error and without" in failed["linear/dense/round_00/seed0"]


def test_a_run_that_was_cut_off_is_run_again(toys):
    plan = _small(toys, seeds=[0])
    run = plan.of("find")[0].run
    run.mkdir(parents=True)
    (run / "run.json").write_text('{"status": "running"}')
    (run / "result.json").write_text("{}")
    again = toys.again(plan)
    assert run_plan(again, 1) == {}
    assert str(run) in [line[3] for line in toys.order()]


def test_progress_and_logs(toys, capsys):
    plan = _small(toys, seeds=[0], expected={"find": {"seconds": 5}, "linear": {"seconds": 5}})
    run_plan(plan, 1)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("[1/3] find/seed0 done in")
    assert lines[0].endswith("about 10 s left")
    assert lines[-1].startswith("[3/3] linear/")
    log = (plan.folder / "logs" / "ToyTask-0.log").read_text()
    assert "a line for the log" in log
    assert "a line that is no report" in log


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_workers_and_leaves_the_rest_to_be_continued(toys, sign):
    _small(toys, search="sleep:1")
    command = [sys.executable, "-m", "common.studies", "run", "toys.yaml", "--out", "runs", "--workers", "2"]
    process = subprocess.Popen(
        command,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs are born ignoring it
    )
    deadline = time.monotonic() + 15
    while not any("seed1" in line[3] for line in toys.order()) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(sign)
    _, errors = process.communicate(timeout=15)
    assert process.returncode == 1
    assert errors.splitlines()[-1] == "common.studies: stopped; the same command continues where it was"
    for line in toys.order():
        with pytest.raises(ProcessLookupError):
            os.kill(int(line[1]), 0)
