"""`--evaluate` of a pre-training folder: a run is judged as it was made, wherever and on whatever the line says."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from Downstream.main import main as downstream
from SimCLR.main import main


def evaluations(out: Path, folder: str = "SimCLR") -> dict[str, Any]:
    """Read the evaluations under a root of runs, by file name."""
    return {path.stem: json.loads(path.read_text()) for path in sorted((out / folder / "evaluations").glob("*.json"))}


@pytest.fixture
def refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Return a function that runs a line which must be refused before anything is written; it returns the error."""

    def run(*words: str, command: Callable[[list[str]], int] = main) -> str:
        out = tmp_path / "refused"
        capsys.readouterr()
        assert command([*words, f"--out={out}"]) == 2
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert not out.exists()
        return line

    return run


def test_a_run_is_judged_as_it_was_made_to_the_same_values(small_search: Path, tmp_path: Path) -> None:
    out, run = tmp_path / "elsewhere", tmp_path / "copy"
    shutil.copytree(small_search, run)
    record = json.loads((run / "run.json").read_text())
    record["config"]["train"].update(threads=64, device="cuda:9", log_every=7)
    (run / "run.json").write_text(json.dumps(record))
    words = ["--train.threads=1", "--train.device=cpu", "--log.progress=true"]
    assert main([f"--evaluate={run}", f"--out={out}", *words]) == 0
    made, result = json.loads((small_search / "result.json").read_text()), next(iter(evaluations(out).values()))
    assert result["threads"] == 1
    for key in ("metrics", "recipe", "seed", "ticket", "mask_digest", "density", "flags", "data", "protocol"):
        assert result[key] == made[key], key
    expected = {**made["config"], "out": str(out)}
    expected["train"] = {**expected["train"], "log_every": 7}
    expected["log"] = {**expected["log"], "progress": True}
    assert result["config"] == expected


def test_evaluations_are_named_by_configuration_seeds_and_subject(small_search: Path, tmp_path: Path) -> None:
    out = tmp_path / "runs"
    ticket = small_search / "round_03/ticket.safetensors"
    digest = json.loads((small_search / "result.json").read_text())["ticket"][:12]
    assert main([f"--evaluate={small_search}", f"--out={out}"]) == 0
    assert list(evaluations(out)) == [f"{small_search.parent.name}-seed0-0-run-{digest}"]
    words = ["--data.name=digits:0-2", "--evaluation.retrieval_batch=32", f"--out={out}"]
    for seed in ("--seed.ticket=0", "--seed.ticket=1", "--seed.task=1"):
        assert main([*words, f"--evaluate={ticket}", seed]) == 0
    names = [name.removesuffix(f"-ticket-{digest}") for name in evaluations(out) if "-ticket-" in name]
    assert sorted(name.rpartition("-seed")[2] for name in names) == ["0-0", "0-1", "1-0"]
    assert all(result["details"]["evaluated"] for result in evaluations(out).values())


def test_a_run_that_was_moved_is_judged_beside_where_it_lies(small_search: Path, tmp_path: Path) -> None:
    run = tmp_path / "moved" / "SimCLR" / small_search.parent.name / small_search.name
    shutil.copytree(small_search, run)
    assert main([f"--evaluate={run}"]) == 0
    assert len(evaluations(tmp_path / "moved")) == 1


@pytest.mark.parametrize(
    ("word", "named"),
    [
        ("--data.name=digits:0-3", ["data.name", "digits:0-3", "digits:0-2"]),
        ("--prune.rate=0.5", ["prune.rate", "0.5"]),
        ("--evaluation.retrieval_batch=16", ["evaluation.retrieval_batch", "16", "32"]),
        ("--seed.ticket=4", ["seed.ticket", "4", "0"]),
        ("--recipe=cifar10_resnet18", ["recipe", "cifar10_resnet18", "digits"]),
        ("--config=CONFIG", ["optim.lr", "0.123"]),
        ("--start.weights=w.pt", ["start.weights"]),
        ("--train.device=tpu", ["train.device", "tpu"]),
    ],
)
def test_a_line_that_contradicts_the_run_is_refused(
    word: str, named: list[str], small_search: Path, tmp_path: Path, refused: Callable[..., str]
) -> None:
    config = tmp_path / "c.yaml"
    config.write_text("optim.lr: 0.123\n")
    line = refused(f"--evaluate={small_search}", word.replace("CONFIG", str(config)))
    assert all(text in line for text in named), line


def test_a_line_that_agrees_with_the_run_is_not(small_search: Path, small_words: tuple[str, ...], tmp_path: Path) -> None:
    words = [*small_words, "--recipe=digits", "--seed.ticket=0", "--seed.task=0", "--data.name=digits:0,1,2"]
    assert main([f"--evaluate={small_search}", f"--out={tmp_path}", *words]) == 0


def test_the_file_that_round_0_started_from_is_not_needed(
    small_search: Path, search: Callable[..., Path], tmp_path: Path
) -> None:
    file = tmp_path / "start.safetensors"
    shutil.copy(small_search / "scores.safetensors", file)
    run = search(f"--start.weights={file}", "--start.input=data", "--prune.rounds=1")
    file.unlink()
    assert main([f"--evaluate={run}", f"--out={tmp_path / 'out'}"]) == 0
    (result,) = evaluations(tmp_path / "out").values()
    assert result["metrics"] == json.loads((run / "result.json").read_text())["metrics"]


def test_what_is_no_finished_run_of_this_folder_is_named(small_search: Path, tmp_path: Path, refused: Callable[..., str]) -> None:
    assert "without run.json" in refused(f"--evaluate={tmp_path}")
    assert "without run.json" in refused(f"--evaluate={tmp_path}", command=downstream)
    assert "expected a run directory" in refused(f"--evaluate={tmp_path}/nothing.safetensors")
    words = [f"--ticket.file={small_search}/round_01/ticket.safetensors", "--train.threads=1", "--data.name=digits:3-5"]
    assert downstream([*words, f"--out={tmp_path / 'runs'}"]) == 0
    (run,) = (tmp_path / "runs").glob("Downstream/*/*")
    line = refused(f"--evaluate={run}")
    assert "is a run of Downstream" in line
    assert f"python -m Downstream --evaluate {run}" in line
    copy = tmp_path / "copy"
    shutil.copytree(small_search, copy)
    record = json.loads((copy / "run.json").read_text())
    (copy / "run.json").write_text(json.dumps({**record, "status": "running"}))
    assert "not finished (status running)" in refused(f"--evaluate={copy}")
    (copy / "run.json").write_text(json.dumps({"status": "done"}))
    assert "run.json is damaged" in refused(f"--evaluate={copy}")
    (copy / "run.json").write_text(json.dumps({**record, "config": {**record["config"], "extra": 1}}))
    line = refused(f"--evaluate={copy}")
    assert "another version" in line
    assert str(copy) in line


def test_a_run_is_not_judged_on_other_images(small_search: Path, tmp_path: Path, refused: Callable[..., str]) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(small_search, copy)
    result = json.loads((copy / "result.json").read_text())
    result["data"]["fingerprint"] = "7-0123456789abcdef"
    (copy / "result.json").write_text(json.dumps(result))
    line = refused(f"--evaluate={copy}")
    assert all(text in line for text in ("other images", "7-0123456789abcdef", "data.root")), line
