"""ONNX graphs: onnxruntime computes what torch computes, for any batch; what is missing or wrong is refused."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from common.exchange.__main__ import main
from common.exchange.exporters import onnx_graph

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")


def _outputs(path: Path, images: torch.Tensor) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {"images": images.numpy()}), strict=True))


def _check(path: Path, made: Any, output: str, size: int) -> None:
    expected = {"features": made.features, "logits": made.logits}[output]
    for count in (1, 2, 5):
        images = torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(count))
        (got,) = (found := _outputs(path, images)).values()
        assert list(found) == [output]
        torch.testing.assert_close(torch.from_numpy(got), expected(images), rtol=1e-4, atol=1e-4)
    model = onnx.load(path)
    stored = {p.name: onnx.numpy_helper.to_array(p) for p in model.graph.initializer}
    zeros = sum(int((array == 0).sum()) for array in stored.values() if array.ndim == 4)
    assert zeros >= made.ticket.mask.size - made.ticket.mask.kept
    said = {entry.key: entry.value for entry in model.metadata_props}
    assert said["ticket"] == made.ticket.digest
    assert float(said["density"]) == made.ticket.density
    assert json.loads(said["input"]) == made.ticket.header["input"]


@pytest.fixture(scope="module")
def graph(digits: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The graph of the small network with its classifier."""
    path = tmp_path_factory.mktemp("onnx") / "net.onnx"
    assert main(["export", str(digits.path), "--to", "onnx", "--head", "-o", str(path)]) == 0
    return path


def test_a_small_network_with_its_classifier(digits: Any, graph: Path) -> None:
    _check(graph, digits, "logits", 16)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet18", "resnet20_a", "mobilenetv1_100"])
def test_features_of_other_networks(name: str, make: Any, export: Callable[..., Path]) -> None:
    made = make(name)
    _check(export(made, "onnx", "--size", "64", file="net.onnx"), made, "features", 64)


def test_a_graph_that_computes_something_else_is_not_written(
    graph: Path, make: Any, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The graph of one network in place of that of another: what onnxruntime and torch compute differs, and that is seen."""
    other = make("resnet_digits", density=0.31, input={"size": 16})
    monkeypatch.setattr(onnx_graph, "trace_onnx", lambda *words: onnx.load(graph))
    line = refused(other, "onnx", "--head", file="net.onnx", code=1)
    assert "of the largest output away from torch's (1, 7)" in line
    assert "nothing was written" in line


def test_what_an_export_needs(digits: Any, make: Any, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    sizeless = make("resnet_digits", input={"size": None})
    assert "give --size PIXELS" in refused(sizeless, "onnx", file="net.onnx")
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    assert "needs the package onnxscript: pip install onnx onnxscript onnxruntime" in refused(digits, "onnx", file="net.onnx")
