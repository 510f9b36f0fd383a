"""Searches and transfers on images that stay in their files: the same results whoever reads, and after a kill."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors.numpy import load_file

from common.tickets import load_ticket
from Downstream.main import main as transfer
from SimCLR.main import main as search

REPOSITORY = Path(__file__).parents[3]
FAST = ("--train.device=cpu", "--train.threads=1", "--log.tensorboard=false", "--log.progress=false", "--data.workers=0")
SEARCH = (
    "--data.name=folder",
    "--data.size=16",
    "--data.storage=files",
    "--train.epochs=2",
    "--train.batch_size=16",
    "--prune.rounds=1",
    "--prune.epochs=2",
    "--evaluation.retrieval_batch=8",
    "--evaluation.neighbours=5",
    *FAST,
)
TARGET = ("--data.name=folder", "--data.size=16", "--data.storage=files", "--data.labels=null", *FAST)


def run_of(out: Path) -> Path:
    (run,) = out.glob("*/*/*")
    return run


def tickets(run: Path) -> list[str]:
    return [load_ticket(path).digest for path in sorted(run.glob("round_*/ticket.safetensors"))]


@pytest.fixture(scope="module")
def found(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("files")
    assert search([*SEARCH, f"--data.root={photos}", f"--out={out}"]) == 0
    return run_of(out)


def test_a_search_does_not_depend_on_how_many_processes_read(found: Path, photos: Path, tmp_path: Path) -> None:
    assert search([*SEARCH, f"--data.root={photos}", f"--out={tmp_path}", "--data.workers=2"]) == 0
    run = run_of(tmp_path)
    assert run.relative_to(tmp_path) == found.relative_to(found.parents[2]), "the number of processes is no part of what a run is"
    assert tickets(run) == tickets(found)
    ours, theirs = (json.loads((path / "result.json").read_text())["metrics"] for path in (run, found))
    assert ours == theirs


def test_files_and_memory_are_other_runs(found: Path, photos: Path, tmp_path: Path) -> None:
    assert search([*SEARCH, f"--data.root={photos}", f"--out={tmp_path}", "--data.storage=memory"]) == 0
    run = run_of(tmp_path)
    assert run.parent.name != found.parent.name
    assert tickets(run) != tickets(found)


@pytest.mark.parametrize("words", [("--protocol=linear",), ("--recipe=digits_full", "--train.epochs=2", "--train.batch_size=16")])
def test_a_ticket_is_transferred_to_files(words: tuple[str, ...], found: Path, photos: Path, tmp_path: Path) -> None:
    file = f"--ticket.file={found / 'round_01/ticket.safetensors'}"
    augment = ("--augment.pad=null",) if "--recipe=digits_full" in words else ()
    trained = []
    for workers in (0, 2):
        out = tmp_path / str(workers)
        more = (f"--data.root={photos}", f"--data.workers={workers}", "--keep.trained=last", f"--out={out}")
        assert transfer([*words, *TARGET, *augment, file, *more]) == 0
        trained.append(load_file(run_of(out) / "trained.safetensors"))
        result = json.loads((run_of(out) / "result.json").read_text())
        assert 0 <= result["metrics"]["test/top1"] <= 1
        assert transfer(["--evaluate", str(run_of(out)), f"--out={out}"]) == 0
        (again,) = out.glob("Downstream/evaluations/*.json")
        assert json.loads(again.read_text())["metrics"] == result["metrics"]
    assert trained[0].keys() == trained[1].keys()
    assert all((trained[0][name] == trained[1][name]).all() for name in trained[0])


def test_an_unreadable_image_stops_a_run_with_one_line(
    photos: Path, make_photos, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = make_photos(train={"a": 80}, val={"a": 12})
    (root / "train/a/011.jpg").write_bytes(b"\xff\xd8\xff\xe0 cut off")
    words = (f"--data.root={root}", f"--out={tmp_path / 'runs'}", "--data.workers=2")
    assert search([*SEARCH, *words]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert error.startswith(f"SimCLR: error: cannot read the image {root}/train/a/011.jpg: ")


@pytest.mark.slow
def test_killed_in_an_epoch_ends_with_the_same_tickets(found: Path, photos: Path, tmp_path: Path) -> None:
    more = (f"--data.root={photos}", f"--out={tmp_path}", "--data.workers=2", "--train.checkpoint_every=1it")
    command = [sys.executable, "-m", "SimCLR", *SEARCH, *more]
    process = subprocess.Popen(command, cwd=REPOSITORY)
    try:
        while not any(json.loads(path.read_text())["step"] % 4 for path in tmp_path.glob("*/*/*/run.json")):
            assert process.poll() is None
            time.sleep(0.002)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not (run_of(tmp_path) / "result.json").exists()
    assert subprocess.run(command, cwd=REPOSITORY, check=False).returncode == 0
    assert tickets(run_of(tmp_path)) == tickets(found)
