"""Weights & Biases without a network: what lies in its own file afterwards is what metrics.jsonl has."""

from __future__ import annotations

import json
import struct
import sys
import threading
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path

import pytest
import torch
from wandb.proto import wandb_internal_pb2

from common.cli import resolve
from common.training.logs import Log, open_log
from common.training.run import open_run
from SimCLR.main import COMMAND, main

HEADER, BLOCK, FULL, LAST = 7, 32768, 1, 4


@pytest.fixture(autouse=True)
def _offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    for name in ("HOME", "WANDB_CONFIG_DIR", "WANDB_CACHE_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    for name in ("WANDB_API_KEY", "WANDB_PROJECT", "NETRC"):
        monkeypatch.delenv(name, raising=False)


def records(file: Path) -> Iterator[wandb_internal_pb2.Record]:
    """Read a .wandb file: a LevelDB log (blocks of 32 KiB of fragments: checksum, length, type) of wandb's own messages."""
    content, place, message = file.read_bytes(), HEADER, b""
    while place < len(content):
        if BLOCK - place % BLOCK < 7:
            place += BLOCK - place % BLOCK
            continue
        _, length, kind = struct.unpack("<IHB", content[place : place + 7])
        message += content[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (FULL, LAST):
            yield wandb_internal_pb2.Record.FromString(message)
            message = b""


def attempts(run: Path) -> list[list[wandb_internal_pb2.Record]]:
    return [list(records(file)) for file in sorted(run.glob("wandb/offline-run-*/*.wandb"))]


def history(found: list[wandb_internal_pb2.Record]) -> list[dict[str, float]]:
    """Return the values of every call, without wandb's own (which begin with an underscore)."""
    rows = [record.history.item for record in found if record.WhichOneof("record_type") == "history"]
    named = [{item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in row} for row in rows]
    return [{name: value for name, value in row.items() if not name.startswith("_")} for row in named]


def begun(found: list[wandb_internal_pb2.Record]) -> wandb_internal_pb2.RunRecord:
    return next(record.run for record in found if record.WhichOneof("record_type") == "run")


def test_a_search_writes_what_metrics_jsonl_has_and_leaves_no_hook(search: Callable[..., Path]) -> None:
    hooks, before = (sys.excepthook, sys.exit), threading.active_count()
    run = search("--prune.rounds=1", "--train.epochs=1", "--log.wandb=true", "--log.wandb_project=tickets")
    assert (sys.excepthook, sys.exit) == hooks
    assert threading.active_count() == before
    (found,) = attempts(run)
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    expected = [{f"round_{line['round']:02d}/{name}": value for name, value in line.items() if name != "round"} for line in lines]
    assert history(found) == expected
    assert begun(found).project == "tickets"
    assert begun(found).display_name == "/".join(run.parts[-3:])
    assert begun(found).run_group == run.parts[-2]
    assert [record.exit.exit_code for record in found if record.WhichOneof("record_type") == "exit"] == [0]


def interrupted(log: Log) -> None:
    try:
        raise KeyboardInterrupt
    finally:
        log.close()


def test_a_resumed_run_keeps_its_identity_and_the_same_run_elsewhere_has_another(
    tmp_path: Path, small_words: tuple[str, ...]
) -> None:
    def attempt(out: str) -> Path:
        invocation = resolve(COMMAND, [*small_words, "--log.wandb=true", f"--out={tmp_path / out}"])
        with open_run(invocation, torch.device("cpu"), {"name": "digits:0-2", "split_hash": "0", "fingerprint": "0"}) as run:
            assert run is not None
            log = open_log(run, (0, 0))
            log.values(2, 7, {"loss/total": 0.5})
            with pytest.raises(KeyboardInterrupt):
                interrupted(log)
        return run.path

    first = attempts(attempt("one"))
    both = attempts(attempt("one"))
    assert len(both) == 2
    (elsewhere,) = attempts(attempt("two"))
    assert begun(both[0]).run_id == begun(both[1]).run_id == begun(first[0]).run_id != begun(elsewhere).run_id
    assert begun(elsewhere).project == "pretraining-tickets"
    for found in (*both, elsewhere):
        assert history(found) == [{"round_02/step": 7, "round_02/loss/total": 0.5}]
        assert [record.exit.exit_code for record in found if record.WhichOneof("record_type") == "exit"] == [1]


def refusal(tmp_path: Path, words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> str:
    assert main([*words, "--log.wandb=true", f"--out={tmp_path / 'runs'}"]) == 2
    captured = capsys.readouterr()
    (line,) = captured.err.strip().splitlines()
    assert captured.out == ""
    assert not (tmp_path / "runs").exists()
    return line


def test_without_the_package_nothing_is_written(
    tmp_path: Path, small_words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    there = metadata.version

    def version(name: str) -> str:
        if name == "wandb":
            raise metadata.PackageNotFoundError(name)
        return there(name)

    monkeypatch.setattr(metadata, "version", version)
    assert "pip install wandb" in refusal(tmp_path, small_words, capsys)


def test_without_a_login_nothing_is_written(
    tmp_path: Path, small_words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WANDB_MODE", "online")
    line = refusal(tmp_path, small_words, capsys)
    assert "wandb login" in line
    assert "WANDB_MODE=offline" in line
