"""Around a run: threads that the machine can give and that a killed run began with; nothing compiled is left behind."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from torch._dynamo.testing import CompileCounter

from common.cli import Invocation, resolve
from common.identity import run_directory
from common.training.device import threads
from common.training.session import session
from SimCLR.main import COMMAND, main

REPOSITORY = Path(__file__).parents[3]
DATA = {"name": "digits:0-2", "split_hash": "s", "fingerprint": "f"}
WAITING = f"""
import sys, torch
from common.cli import resolve
from common.training.run import open_run
from common.training.session import session
from SimCLR.main import COMMAND

request = resolve(COMMAND, sys.argv[1:])
with session(request) as device, open_run(request, device, {DATA}) as run:
    print(torch.get_num_threads(), run.facts.threads)
"""


def request(out: Path, *words: str) -> Invocation:
    return resolve(COMMAND, [f"--out={out}", "--train.device=cpu", "--data.name=digits:0-2", *words])


def begun(directory: Path) -> None:
    """Leave what a run leaves that was killed after it began with one thread."""
    directory.mkdir(parents=True, exist_ok=True)
    record = {"format": 1, "status": "running", "threads": 1, "data": DATA, "round": 0, "step": 0, "attempts": []}
    (directory / "run.json").write_text(json.dumps(record))


def test_a_killed_run_goes_on_with_the_threads_that_it_began_with(tmp_path: Path) -> None:
    """Before it is opened already: norm statistics are estimated and features extracted there."""
    wanted = request(tmp_path, "--train.threads=2")
    begun(run_directory(wanted))
    with threads(2):
        with session(wanted):
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 2


def test_a_process_that_waited_trains_with_the_threads_of_the_one_that_was_killed(tmp_path: Path) -> None:
    """When it began to wait, there was no record of the run yet."""
    words = [f"--out={tmp_path}", "--train.device=cpu", "--data.name=digits:0-2", "--train.threads=2"]
    directory = run_directory(resolve(COMMAND, words))
    directory.mkdir(parents=True)
    with open(directory / "lock", "a+") as lock, open(tmp_path / "out", "w") as out, open(tmp_path / "err", "w") as err:
        fcntl.flock(lock, fcntl.LOCK_EX)
        waiting = subprocess.Popen([sys.executable, "-c", WAITING, *words], cwd=REPOSITORY, stdout=out, stderr=err)
        while "waiting for it" not in (tmp_path / "err").read_text():
            assert waiting.poll() is None, (tmp_path / "err").read_text()
            time.sleep(0.01)
        begun(directory)
        fcntl.flock(lock, fcntl.LOCK_UN)
        assert waiting.wait() == 0, (tmp_path / "err").read_text()
    assert (tmp_path / "out").read_text() == "1 1\n"


def test_more_threads_than_the_machine_can_give_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    most = 4 * (os.cpu_count() or 1)
    with threads(most) as given:
        assert given == most
    assert main([f"--train.threads={most + 1}", f"--out={tmp_path}"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert f"train.threads: got {most + 1}, expected an integer in [1, {most}]" in error
    assert not any(tmp_path.iterdir())
    with threads(None, recorded=most + 1) as given:  # of a larger machine
        assert given == most + 1


@pytest.mark.parametrize("compiles", [True, False])
def test_nothing_compiled_is_left_to_the_next_run(compiles: bool, tmp_path: Path) -> None:
    counter = CompileCounter()
    double = torch.compile(lambda x: x * 2, backend=counter)
    for _ in range(2):
        with session(request(tmp_path, f"--train.compile={str(compiles).lower()}")):
            double(torch.ones(3))
    assert counter.frame_count == (2 if compiles else 1)
    torch.compiler.reset()
