"""--evaluate of a ticket with a head: when it judges, and that what it says is what the network computes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional

from common.data.datasets import load_data
from common.exchange.import_ticket import Request, import_ticket
from common.models.backbones import build_backbone
from common.tickets import Ticket
from Downstream.main import main

FAST = ("--train.device=cpu", "--train.threads=1", "--data.name=digits:3-5", "--model.name=resnet_digits", "--data.input=unit")


@pytest.fixture
def evaluate(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Return a function that evaluates a ticket on digits 3 to 5; it returns the newest result."""

    def run(what: Path, *words: str) -> dict[str, Any]:
        assert main([*FAST, *words, f"--evaluate={what}", f"--out={tmp_path / 'runs'}"]) == 0
        files = (tmp_path / "runs/Downstream/evaluations").glob("*.json")
        return json.loads(max(files, key=lambda file: file.stat().st_mtime_ns).read_text())

    return run


@pytest.fixture
def imported(tmp_path: Path) -> Callable[..., Ticket]:
    """Return a function that imports a pruned ResNet for digits with a classifier of so many classes."""

    def make(classes: int = 3, data: str | None = None) -> Ticket:
        torch.manual_seed(classes)
        network = build_backbone("resnet_digits", seed=1)
        network.fc = torch.nn.Linear(64, classes)
        state = network.state_dict()
        for name, tensor in state.items():
            if tensor.ndim == 4 and name != "conv1.weight":
                tensor[torch.rand(tensor.shape) < 0.5] = 0
            elif name.endswith("running_mean"):
                tensor.normal_()
        file = tmp_path / f"file{len(list(tmp_path.glob('file*')))}.pt"
        torch.save(state, file)
        return import_ticket(Request(file, "resnet_digits", file.with_suffix(".safetensors"), input="unit", data=data)).ticket

    return make


@torch.no_grad()
def accuracy(ticket: Ticket) -> float:
    """Top-1 on the test images of digits 3 to 5, with norm statistics as stored."""
    data, backbone, head = load_data("digits:3-5"), build_backbone("resnet_digits", seed=5).eval(), ticket.rewind_point().head
    backbone.load_state_dict(dict(ticket.rewind_point().backbone))
    features = backbone(data.test.images.float() / 255)
    return float((functional.linear(features, head["weight"], head["bias"]).argmax(1) == data.test.labels).double().mean())


def test_an_imported_ticket_is_judged_by_its_head(
    imported: Callable[..., Ticket], evaluate: Callable[..., dict[str, Any]]
) -> None:
    ticket = imported()
    result = evaluate(ticket.path)
    assert (result["protocol"], result["metric"], result["details"]["head"]) == ("head", "top1", "ticket")
    assert (result["details"]["norm_statistics"], result["density"]) == ("stored", ticket.density)
    assert result["value"] == pytest.approx(accuracy(ticket), abs=1e-9)
    near = evaluate(ticket.path, "--evaluation.head=knn")
    assert (near["protocol"], near["metric"], near["details"]["norm_statistics"]) == ("knn", "knn_accuracy", "stored")
    assert near["run"] != result["run"]
    fresh = evaluate(ticket.path, "--ticket.norm_statistics=reestimate", "--evaluation.head=ticket")
    assert fresh["details"]["norm_statistics"] == "reestimate"
    assert fresh["value"] != result["value"]
    assert evaluate(imported(data="digits:3-5").path)["protocol"] == "head"


def test_a_head_that_does_not_fit_does_not_judge(
    imported: Callable[..., Ticket], evaluate: Callable[..., dict[str, Any]], small_search: Path,
    capsys: pytest.CaptureFixture[str], tmp_path: Path,
) -> None:  # fmt: skip
    def refused(what: Path) -> str:
        assert main([*FAST, "--evaluation.head=ticket", f"--evaluate={what}", f"--out={tmp_path / 'refused'}"]) == 2
        return capsys.readouterr().err

    others = {
        "has no classifier of 3 classes": imported(classes=5).path,
        "head for the classes of mnist": imported(data="mnist").path,
    }
    others["head for the classes of digits:0-2, not of digits:3-5"] = small_search / "round_02/ticket.safetensors"
    for said, path in others.items():
        assert evaluate(path)["protocol"] == "knn"
        assert said in refused(path)
    assert "is no ticket" in refused(small_search / "scores.safetensors")
