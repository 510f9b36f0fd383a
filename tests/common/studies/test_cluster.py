"""Studies as jobs of a cluster: submitit's local executor, which starts, signals and requeues jobs as SLURM's does.

There is no SLURM here: what it alone does (sbatch, queues, partitions) is submitit's, and is not tested.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import yaml

from common.errors import InputError
from common.studies.cluster import run_on_cluster
from common.studies.cluster_config import ClusterConfig, load_cluster
from common.studies.plan import is_done
from common.studies.study import load_study

ROOT = Path(__file__).resolve().parents[3]
DEFAULT = {"timeout_min": 1}


@pytest.fixture(autouse=True)
def from_the_repository(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


def config(**fields) -> ClusterConfig:
    return ClusterConfig(**{"executor": "local", "poll_seconds": 0.02, "default": DEFAULT, **fields})


def plan_of(toys, *, search=None, transfer=None, seeds=(0, 1), **changes):
    find = {"folder": "ToySearch", "recipe": "toy", "rounds": 1, **({"set": {"behave": search}} if search else {})}
    linear = {"folder": "ToyTask", "recipe": "toy", "from": "find", "arms": {"ticket": [1], "dense": [0]}}
    linear |= {"set": {"behave": transfer}} if transfer else {}
    return toys.plan(searches={"find": find}, transfers={"linear": linear}, **{"floors": None, "seeds": list(seeds), **changes})


def test_everything_runs_with_needs_first_and_runs_that_share_jobs(toys, capsys):
    plan = plan_of(toys, seeds=[0])
    assert run_on_cluster(plan, config(runs_per_job=3, jobs_at_once=2)) == {}
    again = toys.again(plan)
    assert all(is_done(job) for job in again.jobs)
    ran = [line[3] for line in toys.order()]
    places = {job.id: ran.index(str(job.run)) for job in plan.jobs}
    assert all(places[need] < places[job.id] for job in plan.jobs for need in job.needs)
    processes = {line[0]: line[1] for line in toys.order()}
    assert [line[1] for line in toys.order()] == [processes["ToySearch"], *[processes["ToyTask"]] * 2]  # two jobs in all
    assert "[3/3]" in capsys.readouterr().err
    before = toys.order()
    assert run_on_cluster(again, config()) == {}
    assert toys.order() == before


@pytest.mark.slow
def test_a_run_that_fails_gives_its_reason_and_stops_what_needs_it(toys):
    failed = run_on_cluster(plan_of(toys, search="fail:1"), config())
    assert failed["find/seed1"] == "the loss is not finite"
    assert failed["linear/ticket/round_01/seed1"] == "not run: it needs find/seed1, which failed"
    assert len(failed) == 3


@pytest.mark.slow
def test_a_run_that_kills_its_process_once_is_started_again_and_always_is_given_up(toys, capsys):
    assert run_on_cluster(plan_of(toys, search="die_once:1"), config()) == {}
    assert "ended without a word of find/seed1; the run is tried once more" in capsys.readouterr().err
    failed = run_on_cluster(plan_of(toys, search="die", seeds=[2]), config())
    assert failed["find/seed2"].startswith("its job ended without a word of it, 2 times; see runs/studies/toys/cluster")


@pytest.mark.slow
def test_a_job_that_is_preempted_is_queued_again_and_goes_on(toys):
    plan = plan_of(toys, search="sleep_once", seeds=[0])
    done: list[dict[str, str]] = []
    # In a thread: the signal goes to the job's process, as a cluster sends it before time runs out.
    waits = threading.Thread(target=lambda: done.append(run_on_cluster(plan, config())), daemon=True)
    waits.start()
    deadline = time.monotonic() + 20
    while not toys.order() and time.monotonic() < deadline:
        time.sleep(0.05)
    worker = int(toys.order()[0][1])
    chunk = int(Path(f"/proc/{worker}/stat").read_text().rpartition(")")[2].split()[1])  # the process that the job is
    os.kill(chunk, signal.SIGUSR2)
    waits.join(20)
    assert done == [{}]
    assert [line[0] for line in toys.order()][:2] == ["ToySearch", "ToySearch"]
    with pytest.raises(ProcessLookupError):
        os.kill(worker, 0)
    log = "".join(file.read_text() for file in (plan.folder / "cluster" / "submitit").glob("*log.err"))
    assert "Caught signal SIGUSR2" in log


@pytest.mark.slow
def test_a_signal_cancels_the_jobs(toys):
    plan_of(toys, search="sleep", seeds=[0])
    Path("cluster.yaml").write_text(yaml.safe_dump({"executor": "local", "poll_seconds": 0.05, "default": DEFAULT}))
    command = [sys.executable, "-m", "common.studies", "run", "toys.yaml", "--slurm", "cluster.yaml"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 20
    while not toys.order() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 1
    assert "common.studies: stopped; the same command continues where it was" in errors.splitlines()
    deadline, worker = time.monotonic() + 10, int(toys.order()[0][1])
    while Path(f"/proc/{worker}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not Path(f"/proc/{worker}").exists()


@pytest.mark.slow
def test_runs_in_several_processes_are_started_by_torchrun(toys):
    plan = plan_of(toys, seeds=[0])
    assert run_on_cluster(plan, config(entries={"linear": {"processes": 2}}, runs_per_job=2)) == {}
    assert all(is_done(job) for job in toys.again(plan).jobs)
    failed = run_on_cluster(plan_of(toys, transfer="fail", seeds=[3]), config(entries={"linear": {"processes": 2}}))
    assert set(failed.values()) == {"the loss is not finite"}


@pytest.mark.parametrize(
    ("tree", "says"),
    [
        ({"partition": "gpu"}, "unknown key 'partition'; known keys are executor, jobs_at_once"),
        ({"executor": "cloud"}, "executor: got 'cloud', expected slurm or local"),
        ({"jobs_at_once": 0}, "jobs_at_once: got 0, expected an integer >= 1"),
        ({"runs_per_job": True}, "runs_per_job: got True"),
        ({"poll_seconds": 0}, "poll_seconds: got 0, expected a number > 0"),
        ({"default": {"mem_gb": 4}}, "default: timeout_min is missing"),
        ({"entries": {"lineal": {}}}, "entries: unknown name 'lineal'; the study's are find, linear, pixels"),
        ({"entries": {"linear": 4}}, "entries.linear: got 4, expected names and values"),
        ({"entries": {"linear": {"processes": 0}}}, "entries.linear.processes: got 0"),
    ],
)
def test_a_file_that_is_wrong_is_one_line(toys, tmp_path, tree, says):
    study = load_study(toys.study())
    file = tmp_path / "cluster.yaml"
    file.write_text(yaml.safe_dump({"default": DEFAULT, **tree}))
    with pytest.raises(InputError) as told:
        load_cluster(str(file), study)
    assert says in str(told.value)
    assert str(file) in str(told.value)


def test_what_an_entry_asks_for_is_laid_over_what_all_do(toys):
    study = load_study(toys.study())
    asks = ClusterConfig(
        default={"timeout_min": 5, "mem_gb": 8, "processes": 2}, entries={"find": {"timeout_min": 50, "processes": 8}}
    )
    assert asks.asked_for(study, "find") == (8, {"timeout_min": 50, "mem_gb": 8})
    assert asks.asked_for(study, "linear") == (2, {"timeout_min": 5, "mem_gb": 8})


def test_without_slurm_and_with_what_submitit_does_not_know_there_is_one_line(toys, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(InputError, match=r"^--slurm: submitit: .*srun"):
        run_on_cluster(plan_of(toys), config(executor="slurm"))
    with pytest.raises(InputError, match=r"^--slurm: submitit: .*unheard_of"):
        run_on_cluster(plan_of(toys), config(entries={"linear": {"unheard_of": 1}}))
    assert toys.order() == []
