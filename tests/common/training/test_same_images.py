"""A run of a folder of images goes on with the images that it began with, and a source is only known by its images."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from common.tickets import load_ticket
from Downstream.main import main as transfer
from SimCLR.main import main as search

QUICK = ("--train.device=cpu", "--train.threads=1", "--log.tensorboard=false", "--log.progress=false", "--data.size=16")
SEARCH = (*QUICK, "--train.epochs=1", "--train.batch_size=16", "--prune.rounds=1", "--prune.epochs=1")
SEARCH += ("--evaluation.retrieval_batch=4", "--evaluation.neighbours=3")


def images(root: Path, seed: int) -> Path:
    """Write four classes of 20 + 4 images, named alike whatever the seed; the files of two seeds differ in size."""
    rng = np.random.default_rng(seed)
    for split, count in (("train", 20), ("test", 4)):
        for name in "abcd":
            (root / split / name).mkdir(parents=True)
            for i in range(count):
                pixels = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
                pixels[: rng.integers(12)] = 0
                Image.fromarray(pixels).save(root / split / name / f"{i}.png")
    return root


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A folder of images, and a finished search on it."""
    base = tmp_path_factory.mktemp("folder")
    root = images(base / "images", 0)
    assert search([*SEARCH, "--data.name=folder", f"--data.root={root}", f"--out={base / 'runs'}"]) == 0
    (run,) = base.glob("runs/SimCLR/*/*")
    return root, run


@pytest.fixture
def copy(found: tuple[Path, Path], tmp_path: Path) -> tuple[Path, Path, list[str]]:
    """A copy of the images with a search of their own, and the words that ask for it again."""
    root, _ = found
    shutil.copytree(root, tmp_path / "images")
    words = [
        *SEARCH,
        "--prune.rounds=0",
        "--data.name=folder",
        f"--data.root={tmp_path / 'images'}",
        f"--out={tmp_path / 'runs'}",
    ]
    assert search(words) == 0
    (run,) = tmp_path.glob("runs/SimCLR/*/*")
    return tmp_path / "images", run, words


def add(root: Path) -> None:
    shutil.copy(root / "train/a/0.png", root / "train/a/20.png")


def rename(root: Path) -> None:
    (root / "train/a/0.png").rename(root / "train/a/20.png")


def replace(root: Path) -> None:
    (root / "train/a/0.png").write_bytes((root / "train/a/0.png").read_bytes() + b"0")


CHANGES = [(add, "96 images then, 97 now"), (rename, "the 96 files have other"), (replace, "the 96 files have other")]


@pytest.mark.parametrize(("change", "said"), CHANGES)
@pytest.mark.parametrize("is_done", [True, False])
def test_other_images_under_the_same_root_are_noticed(
    change: object, said: str, is_done: bool, copy: tuple[Path, Path, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    root, run, words = copy
    capsys.readouterr()
    record = json.loads((run / "run.json").read_text())
    assert record["data"] == json.loads((run / "result.json").read_text())["data"]
    if is_done:
        assert search(words) == 0
        assert "is done already; nothing to run\n" in capsys.readouterr().out
    else:  # as a kill leaves it
        (run / "run.json").write_text(json.dumps({**record, "status": "running"}))
        (run / "result.json").unlink()
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    change(root)  # type: ignore[operator]
    assert search(words) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert f"{run} began with other images of folder than there are now: {said}" in error
    assert f"delete {run}" in error
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_a_run_goes_on_with_its_own_images_and_is_done_without_them(
    copy: tuple[Path, Path, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    root, run, words = copy
    first = load_ticket(run / "round_00/ticket.safetensors").digest
    record = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**record, "status": "running"}))
    assert search(words) == 0
    assert load_ticket(run / "round_00/ticket.safetensors").digest == first
    shutil.rmtree(root)
    assert search(words) == 0
    assert f"is done already; nothing to run (its images are not in {root}" in capsys.readouterr().out


def test_a_source_is_known_by_its_images_not_by_the_word_folder(found: tuple[Path, Path], tmp_path: Path) -> None:
    """A ticket's header has the split hash of its images: the same folder is known at another place, another is not."""
    root, run = found
    moved, unrelated = tmp_path / "moved", images(tmp_path / "unrelated", 1)
    shutil.copytree(root, moved)
    flags = {}
    for name, data, target in (
        ("same", "folder:0-2", root),
        ("moved", "folder:2-3", moved),
        ("unrelated", "folder", unrelated),
    ):
        out = tmp_path / "runs" / name
        words = [*QUICK, f"--data.name={data}", f"--data.root={target}", "--data.labels=12", f"--out={out}"]
        assert transfer([*words, f"--ticket.file={run}/round_01/ticket.safetensors"]) == 0
        (result,) = out.glob("Downstream/*/*/result.json")
        flags[name] = json.loads(result.read_text())["flags"]
    assert flags == {"same": ["source_saw_images"], "moved": ["source_saw_images"], "unrelated": []}


def test_other_classes_of_one_folder_are_other_images(found: tuple[Path, Path], tmp_path: Path) -> None:
    root, _ = found
    runs = tmp_path / "runs"
    assert search([*SEARCH, "--prune.rounds=0", "--data.name=folder:0-1", f"--data.root={root}", f"--out={runs}"]) == 0
    (ticket,) = runs.glob("SimCLR/*/*/round_00/ticket.safetensors")
    for data, expected in (("folder:2-3", []), ("folder:1-2", ["source_saw_images"])):
        words = [*QUICK, f"--data.name={data}", f"--data.root={root}", "--data.labels=8", f"--out={runs}"]
        before = set(runs.glob("Downstream/*/*/result.json"))
        assert transfer([*words, f"--ticket.file={ticket}"]) == 0
        (result,) = set(runs.glob("Downstream/*/*/result.json")) - before
        assert json.loads(result.read_text())["flags"] == expected
