"""What cannot be exported is refused in one line, and no file is written."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from common.exchange.__main__ import main
from common.exchange.exporters.table import EXPORTERS
from common.exchange.targets import TARGETS
from common.tickets.ticket import Description, save_ticket
from common.tickets.weights_file import NetworkState

ROOT = Path(__file__).parents[4]


def _copy(made: Any, path: Path, weights: bool = True, head: Any = None, **changes: Any) -> Path:
    header = {**made.ticket.header, **changes}
    parts = {key: header[key] for key in ("arch", "scope", "origin", "rewind", "input", "parent", "scores")}
    state = made.ticket.rewind_point()
    state = NetworkState(state.backbone, state.head if head is None else head)
    return save_ticket(path, made.ticket.mask, Description(**parts), weights=state if weights else None).path


def test_small_networks_have_no_place_in_other_libraries(digits: Any, refused: Callable[..., str]) -> None:
    for to in ("torchvision", "torchvision-detection", "smp", "detectron2"):
        assert "torchvision has no model 'resnet_digits'" in refused(digits, to)
    for to in ("timm", "smp-tu"):
        assert "timm has no model 'resnet_digits'" in refused(digits, to)


def test_options_that_mean_nothing_to_a_target(digits: Any, refused: Callable[..., str]) -> None:
    for to, words, file in (
        ("masks", ["--head"], "x.pth"),
        ("masks", ["--weights", "trained"], "x.pth"),
        ("detectron2", ["--head"], "x.pth"),
        ("smp", ["--head"], "x.pth"),
        ("plain", ["--size", "32"], "x.pth"),
        ("onnx", ["--prefix", "a."], "x.onnx"),
        ("onnx", ["--stem", "fresh"], "x.onnx"),
        ("ticket", ["--weights", "trained"], "x.safetensors"),
    ):
        line = refused(digits, to, *words, file=file)
        assert f"--to {to} cannot have {words[0]}" in line


def test_files(digits: Any, refused: Callable[..., str], tmp_path: Path) -> None:
    assert "suffix '.txt', expected one of .pth" in refused(digits, "plain", file="x.txt")
    assert "expected one of .onnx" in refused(digits, "onnx", file="x.pth")
    assert "expected one of .safetensors" in refused(digits, "ticket", file="x.pth")
    (tmp_path / "there.pth").write_text("mine")
    assert "exists" in refused(digits, "plain", file="there.pth")
    assert "cannot write" in refused(digits, "plain", file="there.pth/x.pth")
    assert "not a ticket" in refused(tmp_path / "there.pth", "plain")
    assert "No such file" in refused(tmp_path / "absent", "plain")
    assert "invalid choice" in refused(digits, "caffe")
    assert "pixels >= 1" in refused(digits, "onnx", "--size", "0", file="x.onnx")


def test_weights_and_heads_that_are_not_there(digits: Any, make: Any, tmp_path: Path, refused: Callable[..., str]) -> None:
    bare = _copy(digits, tmp_path / "bare.safetensors", weights=False)
    for to, file in (("plain", "x.pth"), ("torch-prune", "x.pth"), ("ticket", "x.safetensors")):
        assert "mask without weights" in refused(bare, to, file=file)
    assert "no trained weights" in refused(digits, "plain", "--weights", "trained")
    headless = _copy(digits, tmp_path / "headless.safetensors", head={})
    assert "no linear classifier, its head is none" in refused(headless, "plain", "--head")
    weight = digits.ticket.rewind_point().head["weight"]
    projection = _copy(digits, tmp_path / "projection.safetensors", head={"0.weight": weight, "2.weight": weight.clone()})
    assert "its head is 0.weight (7, 64), 2.weight (7, 64)" in refused(projection, "plain", "--head")


def test_architectures_that_a_ticket_does_not_have(
    digits: Any, resnet18: Any, make: Any, tmp_path: Path, refused: Callable[..., str]
) -> None:
    arch = resnet18.ticket.header["arch"]
    wrong = _copy(resnet18, tmp_path / "wrong.safetensors", arch={**arch, "name": "resnet34"})
    assert "says it is a resnet34" in refused(wrong, "plain")
    patched = make("vit_tiny_patch16_224", include="Linear:*", size=32, patch=4)
    assert "torchvision has no model 'vit_tiny_patch16_224'" in refused(patched, "torchvision")
    assert "variant patch4" in refused(patched, "smp-tu")
    grey = make("resnet18", in_chans=1, input={"channels": 1, "mean": [0.5], "std": [0.5]})
    assert "(64, 3, 7, 7) there" in refused(grey, "torchvision")


def test_the_names_that_need_no_torch_are_those_of_the_table() -> None:
    assert tuple(EXPORTERS) == TARGETS


def test_help_loads_no_torch(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["export", "--help"])
    assert "detectron2" in capsys.readouterr().out
    code = "import sys, common.exchange.__main__ as m\ntry: m.main(['--help'])\nfinally: assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
