"""The command line: precedence, one-line errors, exit codes, help."""

from __future__ import annotations

import io
import itertools
import json
import logging
import os
import random
import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.cli import main, resolve
from common.config import OptimConfig
from common.errors import InputError, RunError

QUIET = settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))


def test_defaults_recipe_files_and_flags_in_any_order(folder: Any, tmp_path: Path) -> None:
    first, second = tmp_path / "1.yaml", tmp_path / "2.yaml"
    first.write_text("prune: {rate: 0.4, rounds: 4}\nseed.task: 1\n")
    second.write_text("prune.rate: 0.5\n")
    words = [["--config", str(first)], [f"--config={second}"], ["--prune.rounds", "8"], ["--recipe", "other"]]
    for order in itertools.permutations(words):
        if order.index(words[0]) < order.index(words[1]):
            found = folder.resolve(*itertools.chain(*order))
            assert (found.prune.rate, found.prune.rounds, found.seed.task, found.train.epochs) == (0.5, 8, 1, 9)
    assert folder.resolve(f"--config={second}", f"--config={first}").prune.rate == 0.4
    assert folder.resolve().optim == OptimConfig()


def test_values_of_flags(folder: Any) -> None:
    words = [
        *("--data.root", "null", "--data.name=a=b", "--optim.lr", "1e-3", "--optim.nesterov", "true"),
        *("--optim.milestones", '["91ep"]', "--shape.scale", "[0.5, 1]", "--shape.widths", "[3]", "--shape.kind=square"),
        *("--train.threads=2", "--prune.exclude", "[]", "--seed.task", "1", "--seed.task", "2"),
    ]
    found = folder.resolve(*words)
    assert (found.data.root, found.data.name, found.optim.lr, found.optim.nesterov) == (None, "a=b", 1e-3, True)
    assert (found.optim.milestones, found.shape) == (("91ep",), type(found.shape)((0.5, 1.0), (3,), "square"))
    assert (found.train.threads, found.prune.exclude, found.seed.task) == (2, (), 2)
    assert isinstance(folder.resolve("--optim.lr", "1").optim.lr, float)


def test_environment_in_flags(folder: Any, monkeypatch: pytest.MonkeyPatch, refused: Callable[..., str]) -> None:
    monkeypatch.setenv("PLACE", "/data")
    monkeypatch.delenv("UNSET", raising=False)
    assert folder.resolve("--data.root", "${PLACE}/x").data.root == "/data/x"
    assert "--data.root: the environment variable UNSET is not set" in refused("--data.root", "${UNSET}")


def test_a_bad_file_is_named(folder: Any, tmp_path: Path, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("UNSET", raising=False)
    file = tmp_path / "f.yaml"
    for text, expected in [
        ("train.epochs: true", "f.yaml: train.epochs: got True, expected an integer"),
        ("prune: {rat: 1}", "f.yaml: unknown key 'prune.rat' (did you mean prune.rate?)"),
        ("out: ${UNSET}", "f.yaml: out: the environment variable UNSET is not set"),
        ("out: [\n\n", "f.yaml"),
    ]:
        file.write_text(text)
        assert expected in refused("--config", str(file))


def test_a_run_and_its_ways_to_fail(folder: Any, capsys: pytest.CaptureFixture[str]) -> None:
    command = folder.command()
    assert main(command, ["--prune.rate", "0.5"]) == 0
    assert (folder.runs[0].folder, folder.runs[0].recipe, folder.runs[0].config.prune.rate) == ("SimCLR", "digits", 0.5)
    assert main(command, ["--evaluate", "runs/x"]) == 0
    assert folder.evaluated == ["runs/x"]
    capsys.readouterr()
    for failure, code, line in [
        (InputError("bad\nticket"), 2, "SimCLR: error: bad ticket\n"),
        (RunError("loss is nan"), 1, "SimCLR: error: loss is nan\n"),
        (KeyboardInterrupt(), 130, "SimCLR: interrupted; run the same command again to continue\n"),
        (OSError(28, "No space left on device", "runs/x"), 1, "SimCLR: error: No space left on device: runs/x\n"),
        (TimeoutError(), 1, "SimCLR: error: TimeoutError\n"),
    ]:
        folder.failure = failure
        assert main(command, []) == code
        assert capsys.readouterr().err == line
    folder.failure = ZeroDivisionError("by\nzero")
    assert main(command, []) == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("Traceback")
    assert lines[-1] == "SimCLR: error: ZeroDivisionError: by zero"


def test_help_and_list(folder: Any, capsys: pytest.CaptureFixture[str]) -> None:
    for argv in (["--help"], ["-h"], ["--nonsense", "--help"]):
        assert main(folder.command(), argv) == 0
        text = capsys.readouterr().out
        for part in ("About it.", "--prune.rate", "prune (how masks are found)", "--print_config", "100%"):
            assert part in text
    assert main(folder.command(), ["--list"]) == 0
    out, err = capsys.readouterr()
    assert [line.split() for line in out.splitlines()[:3]] == [
        ["recipes", "of", "SimCLR"],
        ["digits", "Small", "digits.", "(default)"],
        ["other"],
    ]
    assert "data sets\n  digits" in out
    assert (err, folder.runs) == ("", [])


@given(
    st.permutations([("prune.rate", "0.25"), ("out", "x y"), ("seed.task", "3"), ("recipe", "other"), ("shape.kind", "round")]),
    st.data(),
)
@QUIET
def test_any_order_of_flags_gives_the_same_configuration(folder: Any, flags: list[tuple[str, str]], data: st.DataObject) -> None:
    words = []
    for name, value in flags:
        words += [f"--{name}={value}"] if data.draw(st.booleans()) else [f"--{name}", value]
    found = resolve(folder.command(), words)
    expected = resolve(
        folder.command(),
        ["--recipe", "other", "--prune.rate", ".25", "--seed.task", "3", "--shape.kind", "round", "--out", "x y"],
    )
    assert found == expected


text = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)
finite = st.floats(0, 1e9, exclude_min=True, allow_subnormal=False)


@given(
    text,
    text.filter(bool),
    st.lists(text, max_size=3),
    finite,
    st.lists(st.integers(-5, 5), max_size=3),
    st.booleans(),
    st.integers(0, 9),
)
@QUIET
def test_print_config_can_be_fed_back(
    folder: Any,
    tmp_path: Path,
    root: str,
    out: str,
    include: list[str],
    lr: float,
    widths: list[int],
    download: bool,
    task: int,
) -> None:
    file = tmp_path / "in.yaml"
    tree = {"data": {"root": root, "download": download}, "out": out, "prune": {"include": include}, "optim": {"lr": lr}}
    tree |= {"shape": {"widths": widths}, "seed": {"task": task}}
    escaped = json.loads(json.dumps(tree).replace("${", "$${"))
    file.write_text(yaml.safe_dump(escaped), encoding="utf-8")
    printed, original = io.StringIO(), sys.stdout
    sys.stdout = printed
    try:
        assert main(folder.command(), ["--config", str(file), "--print_config"]) == 0
    finally:
        sys.stdout = original
    again = tmp_path / "again.yaml"
    again.write_text(printed.getvalue(), encoding="utf-8")
    found = folder.resolve("--config", str(again))
    assert found == folder.resolve("--config", str(file))
    assert found.prune.include == tuple(include)
    assert found.optim.lr == lr
    # "null" is how a flag, and so a file, says that there is no folder.
    assert found.data.root == (None if root == "null" else root)


def test_nothing_global_is_left_behind(folder: Any, capsys: pytest.CaptureFixture[str]) -> None:
    def state() -> tuple:
        return (
            dict(os.environ),
            Path.cwd(),
            sys.stdout,
            sys.stderr,
            list(sys.argv),
            random.getstate(),
            list(warnings.filters),
            list(logging.root.handlers),
            threading.active_count(),
            os.umask(os.umask(0o22)),
        )

    before = state()
    for argv in ([], ["--help"], ["--list"], ["--prune.rat"], ["--print_config"], ["--evaluate", "x"]):
        main(folder.command(), argv)
    assert state() == before
