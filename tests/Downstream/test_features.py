"""Features of frozen backbones: each split once, the same from every engine; protocol `knn`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from common.data.datasets import load_data
from common.models.backbones import build_backbone
from common.training.frozen import features_of
from Downstream.features import Features
from Downstream.main import main

from .conftest import QUIET

Run = Callable[..., tuple[Path, dict[str, Any]]]


def test_each_split_is_extracted_once() -> None:
    data, passes = load_data("digits:3-5"), []
    backbone = build_backbone("resnet_digits", seed=0)
    backbone.register_forward_hook(lambda *_: passes.append(1))
    features = Features(backbone, data, torch.device("cpu"))
    first = features.of(data.test)
    count = len(passes)
    assert features.of(data.test) is first
    assert len(passes) == count
    assert torch.equal(first, features_of(backbone, data.test, data.input, torch.device("cpu")))


def needs(engine: str) -> None:
    if engine == "onnxruntime":
        pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
        pytest.importorskip("onnxscript", reason="the extra onnx is not installed")


@pytest.mark.parametrize("engine", ["onnxruntime", "compacted"])
def test_engines_compute_what_torch_does(engine: str) -> None:
    needs(engine)
    data = load_data("digits:3-5")
    backbone = build_backbone("resnet_digits", seed=0)
    with torch.no_grad():
        backbone.layer2[0].conv1.weight[::2] = 0  # filters that a mask has emptied
        backbone.layer3[0].conv2.weight[:, 5:30] = 0
    for module in backbone.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(module.running_mean, std=0.1)
            torch.nn.init.uniform_(module.running_var, 0.5, 2)
    expected, ours = (Features(backbone, data, torch.device("cpu"), engine=name).of(data.test) for name in ("torch", engine))
    assert expected.abs().max() > 0.01
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-4)
    assert all(module.training for module in backbone.modules()), "the backbone is left in the mode that it was in"


@pytest.mark.parametrize(
    ("words", "engine"),
    [
        ((), "compacted"),
        (("--protocol=knn",), "compacted"),
        pytest.param(("--protocol=knn",), "onnxruntime", marks=pytest.mark.slow),
        pytest.param(("--linear.solver=sgd", "--train.epochs=2", "--train.batch_size=8"), "onnxruntime", marks=pytest.mark.slow),
    ],
)
def test_the_engine_is_recorded_and_is_no_other_run(words: tuple[str, ...], engine: str, run_task: Run) -> None:
    needs(engine)
    run, result = run_task(*words)
    other, again = run_task(*words, f"--features.engine={engine}", out="other")
    assert (result["details"]["features_engine"], again["details"]["features_engine"]) == ("torch", engine)
    assert run.parent.name == other.parent.name
    assert again["value"] == pytest.approx(result["value"], abs=0.02)


def test_knn_is_a_protocol_that_says_what_evaluate_says(run_task: Run, small_search: Path, tmp_path: Path) -> None:
    """The naive loop that `--evaluate` is held against is in test_evaluate."""
    run, result = run_task("--protocol=knn", "--evaluation.neighbours=5")
    ticket = small_search / "round_02/ticket.safetensors"
    assert main([*QUIET, "--evaluation.neighbours=5", f"--evaluate={ticket}", f"--out={tmp_path / 'evaluated'}"]) == 0
    (file,) = (tmp_path / "evaluated/Downstream/evaluations").glob("*.json")
    told = json.loads(file.read_text())
    assert (result["protocol"], result["metric"]) == ("knn", "knn_accuracy")
    for key in ("value", "metrics", "protocol", "metric", "density", "control", "ticket", "mask_digest", "flags", "source"):
        assert result[key] == told[key], key
    assert (result["details"]["neighbours"], result["details"]["norm_statistics"]) == (5, "reestimate")
    assert not (run / "trained.safetensors").exists()


def test_knn_is_refused_where_it_cannot_be(tmp_path: Path, run_task: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*QUIET, "--protocol=knn", "--evaluation.neighbours=41", f"--out={tmp_path / 'refused'}"]) == 2
    assert "expected at most 40" in capsys.readouterr().err
    assert not (tmp_path / "refused").exists()
    run, _ = run_task("--protocol=knn")
    assert main([f"--evaluate={run}"]) == 2
    assert "judge its ticket instead" in capsys.readouterr().err


@pytest.mark.parametrize("control", ["dense", "random", "scratch"])
def test_knn_of_controls(control: str, run_task: Run) -> None:
    _, result = run_task("--protocol=knn", f"--ticket.control={control}")
    assert (result["control"], result["protocol"]) == (control, "knn")
