"""`--evaluate` on the target: as what a ticket is judged, by which name it is filed, and how often test images were looked at."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from common.data.datasets import load_data
from common.models.backbones import build_backbone
from common.tickets import control_mask, load_ticket
from Downstream.labels import labelled_images
from Downstream.main import COMMAND, main

FAST = ("--train.device=cpu", "--train.threads=1", "--log.tensorboard=false", "--log.progress=false", "--data.name=digits:3-5")


@pytest.fixture
def evaluate(tmp_path: Path, small_search: Path) -> Callable[..., dict[str, Any]]:
    """Return a function that evaluates the ticket of round 2 (or what it is given); it returns the newest result."""

    def run(*words: str, what: Path = small_search / "round_02/ticket.safetensors") -> dict[str, Any]:
        assert main([*FAST, *words, f"--evaluate={what}", f"--out={tmp_path / 'runs'}"]) == 0
        files = (tmp_path / "runs/Downstream/evaluations").glob("*.json")
        return json.loads(max(files, key=lambda file: file.stat().st_mtime_ns).read_text())

    return run


@pytest.fixture
def refused(tmp_path: Path, small_search: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Return a function that evaluates with words which must be refused; it returns the line."""

    def run(*words: str, what: Path = small_search / "round_02/ticket.safetensors") -> str:
        capsys.readouterr()
        assert main([*FAST, *words, f"--evaluate={what}", f"--out={tmp_path / 'refused'}"]) == 2
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert not (tmp_path / "refused").exists()
        return line

    return run


def neighbours_accuracy(weights: dict[str, torch.Tensor], k: int) -> float:
    """Weighted k-NN by a loop over test images: 40 labelled images of digits 3 to 5, features of weights as they are."""
    from common.cli import resolve

    data = load_data("digits:3-5")
    backbone = build_backbone("resnet_digits", seed=0)
    backbone.load_state_dict(weights)
    backbone.eval()
    bank = labelled_images(data, resolve(COMMAND, FAST).config.data, 0).train
    with torch.no_grad():
        features, queries = (backbone(data.input.normalise(part.images)).double().numpy() for part in (bank, data.test))
    right = 0
    for query, label in zip(queries, data.test.labels.tolist(), strict=True):
        cosines = features @ query / np.linalg.norm(features, axis=1) / np.linalg.norm(query)
        votes = np.zeros(3)
        for index in np.argsort(-cosines)[:k]:
            votes[int(bank.labels[index])] += np.exp(cosines[index] / 0.07)
        right += int(votes.argmax()) == label
    return right / len(queries)


def test_control_and_norm_statistics_are_honoured(evaluate: Callable[..., dict[str, Any]], small_search: Path) -> None:
    ticket = load_ticket(small_search / "round_02/ticket.safetensors")
    for control in ("ticket", "random", "dense"):
        mask = control_mask(ticket, control, 0)
        state = ticket.rewind_point().backbone
        weights = {name: tensor * mask[name] if name in mask else tensor for name, tensor in state.items()}
        result = evaluate(f"--ticket.control={control}", "--ticket.norm_statistics=stored", "--evaluation.neighbours=5")
        assert (result["control"], result["mask_digest"]) == (control, mask.digest())
        assert result["density"] == mask.density
        assert result["details"]["norm_statistics"] == "stored"
        assert result["value"] == pytest.approx(neighbours_accuracy(weights, 5), abs=0.01)
    assert evaluate()["details"]["norm_statistics"] == "reestimate"
    file = small_search / "scores.safetensors"
    told = [evaluate(*words, what=file) for words in ((), ("--ticket.norm_statistics=reestimate",))]
    assert [result["details"]["norm_statistics"] for result in told] == ["stored", "reestimate"]
    assert told[0]["run"] != told[1]["run"]
    assert told[0]["value"] == pytest.approx(neighbours_accuracy(dict(ticket.round0_weights().backbone), 20), abs=0.01)


def test_the_same_as_a_transfer_would_start_from(evaluate: Callable[..., dict[str, Any]], small_search: Path) -> None:
    result = evaluate("--ticket.control=scratch")
    assert (result["control"], result["density"]) == ("scratch", 1)
    result = evaluate("--ticket.weights=trained")
    assert result["details"]["norm_statistics"] == "stored"
    trained = load_ticket(small_search / "round_02/ticket.safetensors").trained_weights().backbone
    assert result["value"] == pytest.approx(neighbours_accuracy(dict(trained), 20), abs=0.01)
    whole = evaluate(what=small_search)
    assert whole["details"]["weights"] == "trained"
    assert whole["source"] == {"folder": "SimCLR", "recipe": "digits", "seed": 0, "round": 3}
    words = ("--ticket.control=mask_only", f"--start.weights={small_search / 'scores.safetensors'}")
    assert evaluate(*words)["control"] == "mask_only"
    file = evaluate(what=small_search / "scores.safetensors")
    assert (file["control"], file["ticket"], file["details"]["norm_statistics"]) == ("dense", None, "stored")
    assert evaluate("--data.name=digits:2-4")["flags"] == ["source_saw_images"]


def test_what_cannot_be_honoured_is_refused(refused: Callable[..., str], small_search: Path) -> None:
    weights = small_search / "scores.safetensors"
    assert "has no mask" in refused("--ticket.control=random", what=weights)
    assert "has no mask" in refused("--ticket.weights=trained", what=weights)
    assert "start.weights" in refused("--start.weights=other.pt", what=weights)
    assert "one is judged at a time" in refused("--ticket.file=other.safetensors")
    assert "mask_only" in refused(f"--start.weights={weights}")
    assert "never trained; use rewind" in refused("--ticket.control=random", what=small_search)
    assert "seed.ticket is 7" in refused("--seed.ticket=7")


def test_names_tell_seeds_and_folders_of_images_apart(
    evaluate: Callable[..., dict[str, Any]], tmp_path: Path, small_search: Path
) -> None:
    from PIL import Image

    folder = tmp_path / "runs/Downstream/evaluations"
    names = {evaluate(f"--seed.task={seed}")["run"].rpartition("/")[2] for seed in (0, 1)}
    assert {name.split("-seed")[1].split("-ticket")[0] for name in names} == {"0-0", "0-1"}
    for root, grey in (("a", 40), ("b", 90)):
        for place in [f"{split}/{label}" for split in ("train", "val", "test") for label in ("x", "y")]:
            (tmp_path / root / place).mkdir(parents=True)
            for i in range(6):
                Image.new("RGB", (16, 16), (grey + 20 * i, 10, 10)).save(tmp_path / root / place / f"{i}.png")
        words = ("--data.name=folder", "--data.size=16", "--data.labels=null", "--data.accept_input_mismatch=true")
        result = evaluate(*words, f"--data.root={tmp_path / root}", "--evaluation.neighbours=3")
        assert result["flags"] == ["input_mismatch"]
    assert len(list(folder.glob("*.json"))) == 4


def test_a_run_goes_with_its_images_that_were_moved(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from PIL import Image

    first, second, out = tmp_path / "first", tmp_path / "second", tmp_path / "runs"
    for place in [f"{split}/{label}" for split in ("train", "val", "test") for label in ("x", "y")]:
        (first / place).mkdir(parents=True)
        for i in range(6):
            Image.new("RGB", (8, 8), (30 * i, 100 * place.endswith("x"), 10)).save(first / place / f"{i}.png")
    words = ["--model.name=pixels", "--model.stem=native", "--data.name=folder", "--data.size=8", "--data.labels=null"]
    assert main([*FAST, *words, f"--data.root={first}", f"--out={out}"]) == 0
    (run,) = out.glob("Downstream/*/*")
    first.rename(second)
    assert main([f"--evaluate={run}"]) == 2
    assert "data.root" in capsys.readouterr().err
    assert main([f"--evaluate={run}", f"--data.root={second}"]) == 0
    (result,) = (json.loads(file.read_text()) for file in (out / "Downstream/evaluations").glob("*.json"))
    assert result["value"] == json.loads((run / "result.json").read_text())["value"]
    Image.new("RGB", (8, 8), (9, 9, 9)).save(second / "test/x/more.png")
    assert main([f"--evaluate={run}", f"--data.root={second}"]) == 2
    assert "other images" in capsys.readouterr().err


def test_looks_at_test_images_are_counted(
    evaluate: Callable[..., dict[str, Any]], small_search: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def looks(*words: str, **what: Path) -> tuple[int, int, int]:
        told = evaluate(*words, **what)["details"]["test_evaluations"]
        return told["same"], told["subject"], told["all"]

    assert looks() == (1, 1, 1)
    assert looks() == (2, 2, 2)
    assert "looks at these test images by --evaluate: 2, at this subject 2" in capsys.readouterr().out
    assert looks("--ticket.control=random") == (1, 3, 3)
    assert looks(what=small_search / "round_01/ticket.safetensors") == (1, 1, 4)
    assert "test_evaluations" not in evaluate("--evaluation.split=validation")["details"]
    assert looks("--data.name=digits:6-8") == (1, 1, 1)
    assert looks() == (3, 4, 5)


def test_a_file_that_is_no_evaluation_is_not_passed_over(
    evaluate: Callable[..., dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str], small_search: Path
) -> None:
    evaluate()
    odd = tmp_path / "runs/Downstream/evaluations/odd.json"
    for text, expected in (("{}", "is no evaluation's result"), ("{", "not a JSON file")):
        odd.write_text(text)
        ticket = small_search / "round_02/ticket.safetensors"
        assert main([*FAST, f"--evaluate={ticket}", f"--out={tmp_path / 'runs'}"]) == 2
        line = capsys.readouterr().err
        assert "odd.json" in line
        assert expected in line


def test_a_run_needs_neither_its_ticket_nor_other_settings(small_search: Path, tmp_path: Path) -> None:
    source = tmp_path / "copy"
    shutil.copytree(small_search, source)  # under no path that names its run
    out = tmp_path / "runs"
    assert main([*FAST, f"--ticket.file={source}/round_02/ticket.safetensors", f"--out={out}"]) == 0
    (run,) = out.glob("Downstream/*/*")
    shutil.rmtree(source)
    assert main([f"--evaluate={run}", f"--out={tmp_path / 'other'}", "--train.threads=1"]) == 0
    (file,) = (tmp_path / "other/Downstream/evaluations").glob("*.json")
    result, made = json.loads(file.read_text()), json.loads((run / "result.json").read_text())
    assert result["metrics"] == made["metrics"]
    assert result["seed"] == made["seed"]
    assert file.stem.startswith(f"{run.parent.name}-{run.name}-run-")
