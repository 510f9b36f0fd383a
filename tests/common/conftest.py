"""A small folder for the tests of the command line: real groups, a recipe, and a run that records what it was asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

from common.cli import Command, Invocation, main, resolve
from common.config import DataConfig, OptimConfig, PruneConfig, SeedConfig, TrainConfig, option


@dataclass(frozen=True)
class Shape:
    scale: tuple[float, float] = option((0.1, 1.0), "range, in 100% of the area")
    widths: tuple[int, ...] = option((8, 4), "widths")
    kind: Literal["round", "square"] | None = option(None, "null: either")


@dataclass(frozen=True)
class Schema:
    data: DataConfig = option(DataConfig, "which images")
    optim: OptimConfig = option(OptimConfig, "how weights move")
    train: TrainConfig = option(TrainConfig, "how long")
    prune: PruneConfig = option(PruneConfig, "how masks are found")
    shape: Shape = option(Shape, "form")
    seed: SeedConfig = option(SeedConfig, "where randomness comes from")
    out: str = option("runs", "folder of runs", identity=False)


@dataclass
class Folder:
    """A folder whose run records what it was asked, or raises what it is told to."""

    recipes: Path
    runs: list[Invocation] = field(default_factory=list)
    evaluated: list[str] = field(default_factory=list)
    failure: BaseException | None = None

    def run(self, invocation: Invocation) -> None:
        print("training")
        self.runs.append(invocation)
        if self.failure is not None:
            raise self.failure

    def evaluate(self, invocation: Invocation, what: str) -> None:
        self.evaluated.append(what)

    def command(self) -> Command:
        return Command("SimCLR", "About it.", Schema, self.recipes, self.run, self.evaluate, lambda: "data sets\n  digits")

    def resolve(self, *argv: str) -> Any:
        """Return the configuration of a command line."""
        return resolve(self.command(), argv).config


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folder:
    """A folder with two recipes; the test works in an empty directory."""
    recipes = tmp_path / "recipes"
    recipes.mkdir()
    (recipes / "digits.yaml").write_text("about: |\n  Small digits.\n  More.\nprune: {rate: 0.3, rounds: 2}\ntrain.epochs: 7\n")
    (recipes / "other.yaml").write_text("extends: digits\ntrain.epochs: 9\n")
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return Folder(recipes)


@pytest.fixture
def refused(folder: Folder, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Return what runs a bad command line and returns its one line of error."""
    return lambda *argv: _refused(folder, capsys, *argv)


def _refused(folder: Folder, capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    """Run a bad command line; assert that it is refused in one line and without a trace."""
    assert main(folder.command(), argv) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith("SimCLR: error: ")
    assert folder.runs == []
    assert list(Path.cwd().iterdir()) == []
    return err
