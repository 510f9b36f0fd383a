"""The command line, in processes of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


def _run(*words):
    command = [sys.executable, "-m", "common.studies", *words]
    return subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=60)


def test_plan_run_status_report(toys):
    toys.study(expected={name: {"seconds": 1.0} for name in ("find", "linear", "pixels")})
    planned = _run("plan", "toys.yaml", "--workers", "3", "--json")
    told = json.loads(planned.stdout)
    assert [(entry["name"], entry["runs"], entry["basis"]) for entry in told["entries"]] == [
        ("find", 3, "declared"), ("linear", 18, "declared"), ("pixels", 3, "declared"),
    ]  # fmt: skip
    assert told["left"] == {"core_seconds": 24.0, "wall_seconds": 8.0, "bytes": None}
    assert "core time 24 s; on the clock about 8.0 s with 3 workers" in _run("plan", "toys.yaml", "--workers", "3").stdout
    ran = _run("run", "toys.yaml", "--workers", "2")
    assert ran.returncode == 0, ran.stderr
    # The toys' results are no results of format 1: the report says so of each of them.
    assert (toys.out / "studies" / "toys" / "report.html").read_text().count("damaged") >= 18
    assert json.loads(_run("status", "toys.yaml", "--json").stdout)["done"] == 24


def test_a_finished_study_prints_its_verdicts_and_starts_nothing(written):
    first = _run("report", "toys.yaml")
    assert first.returncode == 0, first.stderr
    again = _run("run", "toys.yaml", "--workers", "2")
    assert again.returncode == 0
    assert again.stdout == first.stdout
    assert "is above random (.420 ± .020)" in again.stdout
    assert again.stdout.splitlines()[-1] == f"report: {Path('runs/studies/toys/report.html')}"
    assert not Path("runs/order.txt").exists()


def test_failed_runs_are_exit_code_1(toys):
    search = {"folder": "ToySearch", "recipe": "toy", "rounds": 2, "set": {"behave": "fail:1"}}
    toys.study(searches={"find": search})
    ran = _run("run", "toys.yaml", "--workers", "2")
    assert ran.returncode == 1
    assert "common.studies: find/seed1: the loss is not finite" in ran.stderr
    assert "failed: find/seed1" in _run("status", "toys.yaml").stdout


def test_bad_input_is_one_line_and_exit_code_2(toys):
    toys.study(margin=7)
    for words in (["plan", "toys.yaml"], ["plan", "none.yaml"], ["run", "toys.yaml", "--worker", "1"], ["fly"], []):
        done = _run(*words)
        assert done.returncode == 2
        assert len(done.stderr.splitlines()) == 1
        assert done.stderr.startswith("common.studies: error: ")
    toys.study()
    assert "--workers: got 0" in _run("run", "toys.yaml", "--workers", "0").stderr
    assert "--gpus: got 'some'" in _run("run", "toys.yaml", "--gpus", "some").stderr
    both = _run("run", "toys.yaml", "--slurm", "cluster.yaml", "--workers", "2")
    assert both.returncode == 2
    assert "--slurm: leave --workers and --gpus out; cluster.yaml says" in both.stderr
    assert "cannot read cluster.yaml" in _run("run", "toys.yaml", "--slurm", "cluster.yaml").stderr


@pytest.mark.parametrize("out", ["toys.yaml", "toys.yaml/below", "/proc/nowhere"])
def test_a_folder_that_cannot_be_written_is_bad_input(toys, out):
    toys.study()
    for command in ("plan", "run"):
        done = _run(command, "toys.yaml", "--out", out)
        assert done.returncode == 2
        assert done.stdout == ""
        assert done.stderr.splitlines() == [done.stderr.strip()]
        assert done.stderr.startswith(f"common.studies: error: cannot write {out}: ")
        assert "--out" in done.stderr


def test_a_file_where_the_study_s_own_folder_belongs_is_bad_input(toys):
    toys.study()
    (toys.out / "studies").write_text("")
    for command in ("plan", "run"):
        done = _run(command, "toys.yaml")
        assert done.returncode == 2
        assert done.stderr.startswith("common.studies: error: cannot write runs/studies/toys: Not a directory")
    assert list(toys.out.iterdir()) == [toys.out / "studies"]


def test_no_torch_is_imported(written):
    program = (
        "import sys; from common.studies.__main__ import main; code = main(['run', 'toys.yaml']); "
        "heavy = {'torch', 'torchvision', 'timm', 'sklearn'} & set(sys.modules); print(code, sorted(heavy))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert done.stdout.splitlines()[-1] == "0 []", done.stderr
