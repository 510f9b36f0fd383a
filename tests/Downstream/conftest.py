"""What the tests of transfers share: command lines that take a second, and data whose test split counts who looks."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from common.config import DataConfig
from common.data.datasets import Dataset, load_data
from common.data.loaders import DeviceImages
from Downstream.main import main

QUIET = ("--train.device=cpu", "--train.threads=1", "--log.tensorboard=false", "--log.progress=false", "--data.name=digits:3-5")


@pytest.fixture
def run_task(tmp_path: Path, small_search: Path) -> Callable[..., tuple[Path, dict[str, Any]]]:
    """Return a function that transfers the ticket of round 2 as its words say; it returns run directory and result."""

    def run(*words: str, ticket: bool = True, out: str = "runs") -> tuple[Path, dict[str, Any]]:
        folder = tmp_path / out
        before = set(folder.glob("Downstream/*/*"))
        file = [f"--ticket.file={small_search / 'round_02/ticket.safetensors'}"] if ticket else []
        assert main([*QUIET, *words, f"--out={folder}", *file]) == 0
        (made,) = set(folder.glob("Downstream/*/*")) - before
        return made, json.loads((made / "result.json").read_text())

    return run


class Watched(DeviceImages):
    """A split that counts the passes over its pixels."""

    looks = 0

    def evaluation_batches(self, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Count, and yield the images as they are."""
        self.looks += 1
        return super().evaluation_batches(batch_size)


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> dict[str, Watched]:
    """Return the splits that runs of this test load, which count the passes over their pixels."""
    splits: dict[str, Watched] = {}

    def open_watched(config: DataConfig) -> Dataset:
        dataset = load_data(config.name)
        splits["test"] = Watched(dataset.test, torch.device("cpu"))  # type: ignore[arg-type]
        return replace(dataset, splits={**dataset.splits, **splits})

    monkeypatch.setattr("Downstream.target.open_data", open_watched)
    return splits
