"""Many runs in one process, dry runs, and what a real process prints where."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from common.cli import main
from common.config import as_tree
from common.errors import RunError

ROOT = Path(__file__).resolve().parents[2]


def test_dry_run_says_where_and_what_without_writing(folder: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(folder.command(), ["--dry_run", "--recipe", "other", "--seed.ticket", "4"]) == 0
    out = capsys.readouterr().out
    told = json.loads(out)
    assert out.count("\n") == 1
    assert list(told) == ["run", "status", "recipe", "config"]
    assert Path(told["run"]).parts[:2] == ("runs", "SimCLR")
    assert Path(told["run"]).name == "seed4-0"
    assert (told["status"], told["recipe"]) == ("new", "other")
    assert told["config"] == as_tree(folder.resolve("--recipe", "other", "--seed.ticket", "4"))
    assert list(Path.cwd().iterdir()) == []
    Path(told["run"]).mkdir(parents=True)
    (Path(told["run"]) / "run.json").write_text('{"status": "done"}')
    main(folder.command(), ["--dry_run", "--recipe=other", "--seed.ticket=4"])
    assert json.loads(capsys.readouterr().out)["status"] == "running"  # its result is not there
    (Path(told["run"]) / "result.json").write_text("{}")
    main(folder.command(), ["--dry_run", "--recipe=other", "--seed.ticket=4"])
    assert json.loads(capsys.readouterr().out)["status"] == "done"


def jobs_file(tmp_path: Path, *lines: object) -> str:
    file = tmp_path / "jobs.jsonl"
    file.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines) + "\n", encoding="utf-8")
    return str(file)


def test_jobs_run_one_after_another_and_answer_a_line_each(
    folder: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = ["--prune.rate", "2"]
    lines = ["--seed.task", "1"], bad, "no json", "", '["--out", 3]', ["--jobs", "x"], ["--recipe", "other"], ["--evaluate", "x"]
    assert main(folder.command(), ["--train.epochs", "3", "--jobs", jobs_file(tmp_path, *lines), "--out", "elsewhere"]) == 1
    out, err = capsys.readouterr()
    answers = [json.loads(line) for line in out.splitlines()]
    assert all(list(answer) == ["job", "code", "seconds", "run", "error"] for answer in answers)
    assert [answer["job"] for answer in answers] == list(range(7))
    assert [answer["code"] for answer in answers] == [0, 2, 2, 2, 2, 0, 0]
    assert answers[0]["run"].startswith("elsewhere/SimCLR/digits-")
    assert answers[0]["run"].endswith("/seed0-1")
    assert answers[0]["error"] is None
    assert answers[1]["error"] == "prune.rate: got 2.0, expected a fraction in (0, 1)"
    assert "expected a JSON list of texts" in answers[2]["error"]
    assert "--jobs cannot be given inside a job" in answers[4]["error"]
    assert [run.recipe for run in folder.runs] == ["digits", "other"]
    assert [run.config.train.epochs for run in folder.runs] == [3, 3]
    assert folder.evaluated == ["x"]
    assert "training" in err
    assert "training" not in out


def test_jobs_exit_codes_and_interruption(folder: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(folder.command(), ["--jobs", jobs_file(tmp_path, [], [])]) == 0
    assert main(folder.command(), ["--jobs", jobs_file(tmp_path)]) == 0
    folder.failure = RunError("loss is nan")
    capsys.readouterr()
    assert main(folder.command(), ["--jobs", jobs_file(tmp_path, [], [])]) == 1
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(answer["code"], answer["error"]) for answer in answers] == [(1, "loss is nan")] * 2
    assert all(answer["run"] for answer in answers)
    folder.failure = KeyboardInterrupt()
    assert main(folder.command(), ["--jobs", jobs_file(tmp_path, [], [])]) == 130
    assert [json.loads(line)["code"] for line in capsys.readouterr().out.splitlines()] == [130]


def test_dry_jobs_answer_as_dry_runs(folder: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = jobs_file(tmp_path, ["--seed.task", "1"], ["--prune.rat", "2"], "{", [])
    assert main(folder.command(), ["--dry_run", "--jobs", file]) == 1
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    main(folder.command(), ["--dry_run", "--seed.task", "1"])
    assert answers[0] == json.loads(capsys.readouterr().out)
    assert [list(answer) for answer in answers[1:3]] == [["job", "code", "error"]] * 2
    assert [(answer["job"], answer["code"]) for answer in answers[1:3]] == [(1, 2), (2, 2)]
    assert answers[3]["status"] == "new"
    assert folder.runs == []


PROGRAM = """
import os, subprocess, sys
from dataclasses import dataclass
from pathlib import Path
from common.cli import Command, main
from common.config import PruneConfig, SeedConfig, option

@dataclass(frozen=True)
class Schema:
    prune: PruneConfig = option(PruneConfig, "how")
    seed: SeedConfig = option(SeedConfig, "seeds")
    out: str = option("runs", "folder", identity=False)

def run(invocation):
    print("printed")
    os.write(1, b"written\\n")
    subprocess.run(["echo", "by a child"], check=True)

code = main(Command("Demo", "About.", Schema, Path(sys.argv.pop(1)), run, lambda invocation, what: None))
assert "torch" not in sys.modules and "numpy" not in sys.modules
sys.exit(code)
"""


def program(folder: Any, tmp_path: Path, *argv: str) -> list[str]:
    file = tmp_path / "program.py"
    file.write_text(PROGRAM)
    (folder.recipes / "digits.yaml").write_text("about: Small.\n")
    (folder.recipes / "other.yaml").unlink()
    return [sys.executable, str(file), str(folder.recipes), *argv]


@pytest.mark.parametrize(
    ("argv", "code"), [(["--help"], 0), (["--dry_run"], 0), (["--list"], 0), (["--prune.rat", "1"], 2), (["x"], 2)]
)
def test_a_process_answers_without_torch(folder: Any, tmp_path: Path, argv: list[str], code: int) -> None:
    ended = subprocess.run(
        program(folder, tmp_path, *argv), capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False
    )
    assert ended.returncode == code
    assert ended.stderr.count("\n") == (1 if code else 0)
    assert bool(ended.stdout) == (code == 0)


def test_a_worker_reads_jobs_as_they_come_and_keeps_output_for_answers(folder: Any, tmp_path: Path) -> None:
    process = subprocess.Popen(
        program(folder, tmp_path, "--jobs", "-"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    for task in range(2):
        process.stdin.write(json.dumps(["--seed.task", str(task)]) + "\n")
        process.stdin.flush()
        answer = json.loads(process.stdout.readline())
        assert (answer["job"], answer["code"], Path(answer["run"]).name) == (task, 0, f"seed0-{task}")
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (0, "")
    assert sorted(err.splitlines()) == sorted(["printed", "written", "by a child"] * 2)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("argv", [["--print_config"], ["--jobs", "-"]])
def test_a_full_disk_is_one_line(folder: Any, tmp_path: Path, argv: list[str]) -> None:
    with open("/dev/full", "w") as full:
        ended = subprocess.run(
            program(folder, tmp_path, *argv),
            input="[]\n",
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            check=False,
        )
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1] == "Demo: error: No space left on device"
    assert "Traceback" not in ended.stderr
    assert "Exception ignored" not in ended.stderr
