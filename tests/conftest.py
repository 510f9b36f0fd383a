"""Small real runs that tests share: searches on the embedded digits that take a second or two."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")

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


def run_search(out: Path, *words: str) -> Path:
    """Search with SimCLR on digits 0 to 2 in this process; return the run directory."""
    from SimCLR.main import main

    before = set(out.glob("SimCLR/*/*"))
    assert main([*SMALL, f"--out={out}", *words]) == 0
    (made,) = set(out.glob("SimCLR/*/*")) - before
    return made


@pytest.fixture(scope="session")
def small_search(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished search of 3 rounds that many tests read; none may write in it."""
    return run_search(tmp_path_factory.mktemp("small"))


@pytest.fixture
def search(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that runs a search of its own in the test's folder."""
    return lambda *words: run_search(tmp_path / "runs", *words)


@pytest.fixture
def small_words() -> tuple[str, ...]:
    """The flags of a small search."""
    return SMALL
