"""Killed runs end with the same tickets; two processes on one run do not work against each other."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from common.tickets import load_ticket

REPOSITORY = Path(__file__).parents[3]


class Started:
    """A process of its own, its output in files beside its runs."""

    def __init__(self, out: Path, words: tuple[str, ...], *more: str, folder: str = "SimCLR") -> None:
        out.mkdir(exist_ok=True)
        self._files = [out / f"{time.monotonic_ns()}.{kind}" for kind in ("out", "err")]
        with open(self._files[0], "w") as stdout, open(self._files[1], "w") as stderr:
            command = [sys.executable, "-m", folder, *words, f"--out={out}", *more]
            self.process = subprocess.Popen(command, cwd=REPOSITORY, stdout=stdout, stderr=stderr)

    def wait(self) -> tuple[int, str, str]:
        """Wait for the end; return exit code, stdout, stderr."""
        return self.process.wait(), *(file.read_text() for file in self._files)

    def wait_until(self, holds: Callable[[], bool]) -> None:
        """Wait for a condition while the process runs."""
        while not holds():
            assert self.process.poll() is None, self.wait()
            time.sleep(0.002)

    def kill(self) -> None:
        """SIGKILL: no handler, no clean-up."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


def digests(run: Path) -> list[str]:
    return [load_ticket(path).digest for path in sorted(run.glob("round_*/ticket.safetensors"))]


def position(out: Path) -> tuple[int, int]:
    for file in out.glob("*/*/*/run.json"):
        record = json.loads(file.read_text())
        return record["round"], record["step"]
    return 0, 0


def as_if_slow(run: Path) -> int:
    """Rewrite a killed run's checkpoint as if its steps had taken 1,000 s more; return its round."""
    content = torch.load(run / "checkpoint.pt", weights_only=True)
    assert 0 < content["seconds"] < 1000
    torch.save({**content, "seconds": content["seconds"] + 1000}, run / "checkpoint.pt")
    return content["round"]


def test_killed_at_a_random_moment_of_round_2_ends_with_the_same_tickets(
    tmp_path: Path, small_words: tuple[str, ...], paradigm: str, paradigm_search: Path
) -> None:
    out = tmp_path / "killed"
    process = Started(out, small_words, "--train.checkpoint_every=1it", folder=paradigm)
    process.wait_until(lambda: position(out) >= (2, 1))
    time.sleep(random.SystemRandom().uniform(0, 0.08))
    process.kill()
    killed_at = position(out)
    (run,) = out.glob(f"{paradigm}/*/*")
    assert not (run / "result.json").exists(), f"the run was over before the kill: {killed_at}"
    slow = as_if_slow(run)
    code, _, error = Started(out, small_words, "--train.checkpoint_every=1it", folder=paradigm).wait()
    assert code == 0, error
    assert digests(run) == digests(paradigm_search)
    ours, theirs = (json.loads((folder / "result.json").read_text())["metrics"] for folder in (run, paradigm_search))
    assert ours == theirs
    seconds = [json.loads((run / f"round_{k:02d}/result.json").read_text())["seconds"] for k in range(4)]
    assert [k for k in range(4) if seconds[k] > 1000] == [slow], "seconds of every attempt, in their round"
    record = json.loads((run / "run.json").read_text())
    assert (record["status"], len(record["attempts"])) == ("done", 2)
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    positions = [(x["round"], x["step"]) for x in lines]
    assert positions == sorted(set(positions)), "no losses and no evaluation twice"


def test_two_processes_on_the_same_run(tmp_path: Path, small_words: tuple[str, ...], small_search: Path) -> None:
    out = tmp_path / "shared"
    ends = [process.wait() for process in [Started(out, small_words) for _ in range(2)]]
    assert [code for code, *_ in ends] == [0, 0], ends
    (run,) = out.glob("SimCLR/*/*")
    assert digests(run) == digests(small_search)
    assert len(json.loads((run / "run.json").read_text())["attempts"]) == 1
    said = "".join(out for _, out, _ in ends)
    assert "finished by another process" in said or "is done already" in said


def test_a_finished_run_is_not_run_again(small_search: Path, small_words: tuple[str, ...]) -> None:
    before = {path: path.stat().st_mtime_ns for path in small_search.rglob("*") if path.is_file()}
    command = [sys.executable, "-m", "SimCLR", *small_words, f"--out={small_search.parents[2]}"]
    again = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert "is done already" in again.stdout
    assert {path: path.stat().st_mtime_ns for path in small_search.rglob("*") if path.is_file()} == before


def test_a_resume_keeps_the_thread_count(tmp_path: Path, small_words: tuple[str, ...]) -> None:
    words = tuple(word for word in small_words if "threads" not in word)
    out = tmp_path / "threads"
    process = Started(out, words, "--train.threads=1", "--train.checkpoint_every=1it")
    process.wait_until(lambda: position(out) >= (0, 2))
    process.kill()
    assert Started(out, words, "--train.threads=2").wait()[0] == 0
    (file,) = out.glob("SimCLR/*/*/run.json")
    assert json.loads(file.read_text())["threads"] == 1


def test_a_damaged_checkpoint_is_one_clear_line(tmp_path: Path, small_words: tuple[str, ...]) -> None:
    out = tmp_path / "damaged"
    process = Started(out, small_words, "--train.checkpoint_every=1it")
    process.wait_until(lambda: position(out) >= (0, 3))
    process.kill()
    (file,) = out.glob("SimCLR/*/*/checkpoint.pt")
    os.truncate(file, file.stat().st_size // 2)
    code, _, error = Started(out, small_words).wait()
    assert code == 2
    assert len(error.strip().splitlines()) == 1
    assert "checkpoint.pt is damaged" in error


def test_a_killed_transfer_ends_with_the_same_network(tmp_path: Path, small_search: Path) -> None:
    words = ("--recipe=digits_full", "--train.threads=1", "--train.device=cpu", "--log.tensorboard=false", "--log.progress=false")
    words += (
        "--train.epochs=60",
        "--select=best",
        "--data.validation_labels=8",
        f"--ticket.file={small_search}/round_02/ticket.safetensors",
    )
    code, _, error = Started(tmp_path / "whole", words, folder="Downstream").wait()
    assert code == 0, error
    out = tmp_path / "killed"
    process = Started(out, words, folder="Downstream")
    process.wait_until(lambda: position(out) >= (0, 20))
    process.kill()
    (run,) = out.glob("Downstream/*/*")
    assert not (run / "result.json").exists(), "the run was over before the kill"
    as_if_slow(run)
    assert Started(out, words, folder="Downstream").wait()[0] == 0
    (whole,) = (tmp_path / "whole").glob("Downstream/*/*")
    assert (run / "trained.safetensors").read_bytes() == (whole / "trained.safetensors").read_bytes()
    results = [json.loads((folder / "result.json").read_text()) for folder in (run, whole)]
    assert results[0]["metrics"] == results[1]["metrics"]
    assert results[0]["details"] == results[1]["details"]
    assert results[0]["seconds"] > 1000 > results[1]["seconds"]


def test_adamw_with_accumulation_resumes_to_the_same_tickets(
    tmp_path: Path, small_words: tuple[str, ...], search: Callable[..., Path]
) -> None:
    more = ("--optim.name=adamw", "--optim.lr=0.002", "--train.accumulate=2", "--optim.clip=1.0", "--train.checkpoint_every=1it")
    expected = digests(search(*more))
    out = tmp_path / "killed"
    process = Started(out, small_words, *more)
    process.wait_until(lambda: position(out) >= (1, 1))
    process.kill()
    assert Started(out, small_words, *more).wait()[0] == 0
    (run,) = out.glob("SimCLR/*/*")
    assert digests(run) == expected
