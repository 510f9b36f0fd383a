"""Small real runs that tests share: searches on the embedded digits that take a second or two."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")

PARADIGMS = ("SimCLR", "Supervised")
SMALL = (
    "--data.name=digits:0-2",
    "--train.epochs=2",
    "--train.batch_size=64",
    "--train.threads=1",
    "--train.device=cpu",
    "--prune.rounds=3",
    "--prune.epochs=1",
    "--evaluation.retrieval_batch=32",
    "--keep.trained=all",
    "--log.tensorboard=false",
    "--log.progress=false",
)


def run_search(out: Path, *words: str, folder: str = "SimCLR") -> Path:
    """Search with a folder's objective on digits 0 to 2 in this process; return the run directory."""
    main = importlib.import_module(f"{folder}.main").main
    before = set(out.glob(f"{folder}/*/*"))
    assert main([*SMALL, f"--out={out}", *words]) == 0
    (made,) = set(out.glob(f"{folder}/*/*")) - before
    return made


@pytest.fixture(scope="session")
def small_search(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished search of 3 rounds that many tests read; none may write in it."""
    return run_search(tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="session", params=PARADIGMS)
def paradigm(request: pytest.FixtureRequest) -> str:
    """Every folder that searches on a pre-training objective, in turn."""
    return str(request.param)


@pytest.fixture(scope="session")
def paradigm_search(paradigm: str, small_search: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished search of 3 rounds in every paradigm; none may write in it."""
    return small_search if paradigm == "SimCLR" else run_search(tmp_path_factory.mktemp(paradigm), folder=paradigm)


@pytest.fixture
def search(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that runs a search of its own in the test's folder."""
    return lambda *words, folder="SimCLR": run_search(tmp_path / "runs", *words, folder=folder)


@pytest.fixture(scope="session")
def small_words() -> tuple[str, ...]:
    """The flags of a small search."""
    return SMALL
