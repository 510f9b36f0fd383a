"""Expansion to jobs, and what folders are asked."""

from __future__ import annotations

import pytest

from common.errors import InputError
from common.studies.plan import is_done


def test_every_run_is_there_once(toys):
    plan = toys.plan()
    assert len(plan.of("find")) == 3
    assert len(plan.of("linear")) == 3 * (2 + 1 + 2 + 1)
    assert len(plan.of("pixels")) == 3
    assert len({job.id for job in plan.jobs}) == len(plan.jobs) == len({job.run for job in plan.jobs})
    assert all(job.status == "new" and not is_done(job) for job in plan.jobs)


def test_arguments(toys):
    plan = toys.plan(searches={"find": {"folder": "ToySearch", "recipe": "toy", "rounds": 2, "set": {"train.epochs": 4}}})
    jobs = {job.id: job for job in plan.jobs}
    out = str(toys.out)
    search = jobs["find/seed1"]
    assert search.argv == ("--recipe", "toy", "--prune.rounds", "2", "--seed.ticket", "1", "--out", out, "--train.epochs", "4")
    ticket = str(search.run / "round_02" / "ticket.safetensors")
    transfer = jobs["linear/random/round_02/seed1"]
    own = ("--ticket.file", ticket, "--ticket.control", "random", "--seed.task", "1")
    assert transfer.argv == ("--recipe", "toy", *own, "--out", out)
    assert transfer.needs == ("find/seed1",)
    assert transfer.run.name == "seed1-1"
    assert transfer.recipe == "toy"
    assert jobs["pixels/seed2"].argv == ("--recipe", "odd", "--seed.task", "2", "--out", out)
    assert jobs["pixels/seed2"].needs == ()


def test_an_override_that_begins_with_a_dash_stays_one_word(toys):
    plan = toys.plan(
        searches={"find": {"folder": "ToySearch", "recipe": "toy", "rounds": 2, "set": {"x": -1}}}, transfers=None, floors=None
    )
    assert plan.jobs[0].argv[-1] == "--x=-1"


def test_an_error_of_many_runs_is_reported_once(toys):
    with pytest.raises(InputError) as caught:
        toys.plan(searches={"find": {"folder": "ToySearch", "recipe": "wrong", "rounds": 2}})
    text = str(caught.value)
    assert text.count("unknown recipe 'wrong'; known recipes are odd, toy") == 1
    assert text.startswith("find (find/seed0 and 2 more): ")


def test_a_folder_that_does_not_exist_is_one_line(toys):
    with pytest.raises(InputError, match=r"python -m Nowhere --dry_run: .*No module named Nowhere") as caught:
        toys.plan(searches={"find": {"folder": "Nowhere", "recipe": "toy", "rounds": 2}})
    assert "\n" not in str(caught.value)


def test_two_jobs_of_one_run_wait_for_one_another(toys):
    floor = {"folder": "ToyTask", "recipe": "odd"}
    plan = toys.plan(floors={"first": floor, "second": floor}, transfers=None)
    jobs = {job.id: job for job in plan.jobs}
    assert jobs["first/seed0"].run == jobs["second/seed0"].run
    assert jobs["second/seed0"].needs == ("first/seed0",)
    assert jobs["first/seed0"].needs == ()


def test_a_search_on_a_task_has_its_seed_as_the_tasks_too(toys):
    """A folder whose configuration has the group `ticket` is a task's."""
    found = {"folder": "ToySearch", "recipe": "toy", "rounds": 2}
    plan = toys.plan(searches={"find": found, "task": {**found, "set": {"ticket": "none"}}}, floors=None)
    jobs = {job.id: job for job in plan.jobs}
    assert "--seed.task" not in jobs["find/seed1"].argv
    assert jobs["task/seed2"].argv[-2:] == ("--seed.task", "2")
    assert (jobs["find/seed2"].run.name, jobs["task/seed2"].run.name) == ("seed2-0", "seed2-2")


def test_a_search_on_a_task_needs_rounds(toys):
    with pytest.raises(InputError, match=r"searches\.find: 0 rounds of ToySearch find no ticket"):
        toys.plan(
            searches={"find": {"folder": "ToySearch", "recipe": "toy", "rounds": 0, "set": {"ticket": "none"}}},
            transfers=None,
            floors=None,
        )


def test_mask_only_takes_the_weights_of_another_search(toys):
    found = {"folder": "ToySearch", "recipe": "toy", "rounds": 2}
    arms = {"ticket": [2], "mask_only": [1]}
    transfer = {"folder": "ToyTask", "recipe": "toy", "from": "moco", "arms": arms, "weights": "simclr"}
    searches = {"moco": {**found, "set": {"method": "moco"}}, "simclr": {**found, "set": {"method": "simclr"}}}
    jobs = {job.id: job for job in toys.plan(searches=searches, transfers={"linear": transfer}, floors=None).jobs}
    job, weights = jobs["linear/mask_only/round_01/seed2"], jobs["simclr/seed2"].run / "round_00" / "ticket.safetensors"
    assert job.argv[job.argv.index("--start.weights") + 1] == str(weights)
    assert job.argv[job.argv.index("--ticket.file") + 1] == str(jobs["moco/seed2"].run / "round_01" / "ticket.safetensors")
    assert set(job.needs) == {"moco/seed2", "simclr/seed2"}
    assert "--start.weights" not in jobs["linear/ticket/round_02/seed2"].argv
    assert jobs["linear/ticket/round_02/seed2"].needs == ("moco/seed2",)


def test_finished_runs_are_seen(toys, rewrite):
    plan = toys.plan()
    rewrite(plan.jobs[-1])
    again = toys.again(plan)
    assert [job.id for job in again.jobs if is_done(job)] == [plan.jobs[-1].id]
    (plan.jobs[-1].run / "result.json").unlink()
    assert not any(is_done(job) for job in toys.again(plan).jobs)
