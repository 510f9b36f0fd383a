"""`optim.sweep`: each rate from the same start, chosen by validation, the test images seen once, resumed exactly."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from common.data.datasets import Images, load_data
from common.tickets import load_ticket
from common.training import checkpoint
from Downstream.labels import labelled_images
from Downstream.main import main

from .conftest import QUIET

FULL = ("--recipe=digits_full", "--train.epochs=3", "--keep.trained=last", "--data.validation_labels=12", "--train.batch_size=14")
LINEAR = ("--linear.solver=sgd", "--train.epochs=4", "--train.batch_size=7", "--data.validation_labels=12")
SWEEP = "--optim.sweep=[0.1,0.001,0.02]"
Run = Callable[..., tuple[Path, dict]]


@pytest.mark.parametrize("words", [FULL, LINEAR, (*FULL, "--select=best")], ids=["full", "linear", "best"])
def test_the_chosen_network_is_that_of_its_rate_alone(words: tuple[str, ...], run_task: Run, small_search: Path) -> None:
    run, result = run_task(*words, SWEEP)
    told = result["details"]
    assert [tried["lr"] for tried in told["sweep"]] == [0.001, 0.02, 0.1]
    best = max(tried["value"] for tried in told["sweep"])
    assert told["lr"] == min(tried["lr"] for tried in told["sweep"] if tried["value"] == best)
    alone, its_own = run_task(*words, f"--optim.lr={told['lr']}")
    kept, expected = (load_file(folder / "trained.safetensors") for folder in (run, alone))
    assert all(np.array_equal(kept[name], expected[name]) for name in expected)
    assert result["metrics"] == its_own["metrics"]
    if words == LINEAR:
        return
    mask = load_ticket(small_search / "round_02/ticket.safetensors").mask
    zeros = sum(int((kept[f"weight/{name}"] == 0).sum()) for name in mask)
    assert zeros == mask.size - mask.kept, "as dense as the ticket, after fine-tuning"


@pytest.mark.parametrize("control", ["ticket", "dense", "random"])
def test_every_arm_has_a_sweep_of_its_own(control: str, run_task: Run) -> None:
    _, result = run_task(*LINEAR, SWEEP, f"--ticket.control={control}")
    assert result["control"] == control
    assert len(result["details"]["sweep"]) == 3


@pytest.mark.parametrize("words", [FULL, LINEAR], ids=["full", "linear"])
def test_the_test_images_are_seen_once(words: tuple[str, ...], run_task: Run, watched: dict) -> None:
    _, result = run_task(*words, SWEEP)
    assert watched["test"].looks == 1
    assert set(result["metrics"]) == {"test/top1", "test/mean_per_class"}


def test_no_label_outside_the_budget_chooses(run_task: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run, result = run_task(*LINEAR, SWEEP)

    def other_labels(config):  # type: ignore[no-untyped-def]
        """Every label but the 40 that may be used is another class."""
        data = load_data(config.name)
        chosen = labelled_images(data, config, 0)
        parts = {}
        for name, used in (("train", chosen.train), ("validation", chosen.validation)):
            part = data.split(name)
            mine = {image.numpy().tobytes() for image in used.images}
            keep = torch.tensor([image.numpy().tobytes() in mine for image in part.images])
            parts[name] = Images(part.images, torch.where(keep, part.labels, (part.labels + 1) % 3))
        patched = replace(data, splits={**data.splits, **parts})
        monkeypatch.setattr("Downstream.target.labelled_images", lambda *args: chosen)
        return patched

    monkeypatch.setattr("Downstream.target.open_data", other_labels)
    again, other = run_task(*LINEAR, SWEEP, out="other")
    assert other["details"]["sweep"] == result["details"]["sweep"]
    first, second = (load_file(folder / "trained.safetensors") for folder in (run, again))
    assert all(np.array_equal(first[name], second[name]) for name in first)


class Killed(BaseException):
    """Ends a run as no error does."""


@pytest.mark.parametrize(("words", "saved"), [(FULL, 1), (FULL, 3), (FULL, 5), (LINEAR, 6)], ids=str)
def test_a_killed_sweep_ends_with_the_same_result(
    words: tuple[str, ...], saved: int, run_task: Run, small_search: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed after the n-th checkpoint: inside the first rate, at its end, inside the second."""
    whole, expected = run_task(*words, SWEEP)
    left = [saved]

    def save(*args: object, **named: object) -> None:
        checkpoint.save_checkpoint(*args, **named)  # type: ignore[arg-type]
        left[0] -= 1
        if left[0] == 0:
            raise Killed

    line = [*QUIET, *words, SWEEP, f"--ticket.file={small_search}/round_02/ticket.safetensors", f"--out={tmp_path / 'killed'}"]
    with monkeypatch.context() as patch:
        patch.setattr("common.training.span.save_checkpoint", save)
        with pytest.raises(Killed):
            main(line)
    (run,) = (tmp_path / "killed").glob("Downstream/*/*")
    assert not (run / "result.json").exists()
    assert main(line) == 0
    result = json.loads((run / "result.json").read_text())
    for told in (result, expected):
        told["details"].pop("trained")
    assert result["details"] == expected["details"]
    assert result["metrics"] == expected["metrics"]
    kept, known = (load_file(folder / "trained.safetensors") for folder in (run, whole))
    assert all(np.array_equal(kept[name], known[name]) for name in known)
    lines = [json.loads(text) for text in (run / "metrics.jsonl").read_text().splitlines()]
    positions = [(entry["round"], entry["step"]) for entry in lines]
    assert positions == sorted(set(positions))


def test_a_rate_that_diverges_is_said_and_passed_over(run_task: Run, capsys: pytest.CaptureFixture[str]) -> None:
    _, result = run_task(*FULL, "--optim.sweep=[0.02,1e30]")
    assert [tried["value"] is None for tried in result["details"]["sweep"]] == [False, True]
    assert result["details"]["lr"] == 0.02
    assert "learning rate 1e+30 diverged" in capsys.readouterr().err


def test_all_rates_diverge(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*QUIET, *FULL, "--optim.sweep=[1e29,1e30]", f"--out={tmp_path}"]) == 1
    assert "every learning rate of optim.sweep diverged (1e+29, 1e+30)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--protocol=full", "--data.labels=null", "--optim.sweep=[0.1]"], ["optim.sweep", "two or more"]),
        (["--protocol=full", "--data.labels=null", "--optim.sweep=[0.1,0.1]"], ["optim.sweep", "different"]),
        (["--protocol=full", "--data.labels=null", "--optim.sweep=[0.1,-1]"], ["optim.sweep", "> 0"]),
        (["--protocol=full", SWEEP], ["data.validation_labels", "optim.sweep"]),
        ([SWEEP], ["optim.sweep", "linear.solver sgd"]),
        (["--protocol=knn", SWEEP], ["optim.sweep", "linear.solver sgd"]),
        (["--protocol=full", "--data.labels=null", SWEEP, "--evaluation.split=validation"], ["optim.sweep", "validation"]),
    ],
)
def test_refused(words: list[str], named: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*QUIET, *words, f"--out={tmp_path / 'runs'}"]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert all(part in line for part in named), line
    assert not (tmp_path / "runs").exists()
