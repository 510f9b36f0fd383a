"""The classifier of given weights: taken where its shape is the head's, said so either way, never guessed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from common.errors import InputError
from common.models.backbones import build_backbone
from common.models.heads import Network, linear_head
from common.models.start import StartWeights, read_start_weights
from common.models.start_head import load_classifier_
from common.tickets.rewind import capture
from common.tickets.weights_file import NetworkState, save_weights

BACKBONE = build_backbone("resnet_digits", seed=3)
CLASSIFIER = {"weight": torch.randn(5, 64), "bias": torch.randn(5)}


def state(layer: str, **more: Tensor) -> dict[str, Tensor]:
    return {**BACKBONE.state_dict(), **{f"{layer}.{name}": tensor for name, tensor in CLASSIFIER.items()}, **more}


def taken(head: nn.Linear) -> bool:
    return torch.equal(head.weight, CLASSIFIER["weight"]) and torch.equal(head.bias, CLASSIFIER["bias"])


@pytest.mark.parametrize("layer", ["fc", "head", "head.fc", "classifier", "classifier.6"])
def test_a_classifier_of_the_heads_shape_is_taken_whatever_its_name(layer: str) -> None:
    head = linear_head(64, 5, seed=0)
    objects = [id(parameter) for parameter in head.parameters()]
    report = load_classifier_(head, BACKBONE, StartWeights(state(layer), None))
    assert report.taken
    assert taken(head)
    assert [id(parameter) for parameter in head.parameters()] == objects
    assert f"the head is {layer} of the file, of shape (5, 64)" in str(report)


@pytest.mark.parametrize("name", ["module.pt", "network.pt", "ours.safetensors", "foreign.safetensors"])
def test_classifiers_of_every_kind_of_file(name: str, tmp_path: Path) -> None:
    network = Network(BACKBONE, linear_head(64, 5, seed=9))
    network.head.load_state_dict(CLASSIFIER)
    path = tmp_path / name
    if name == "ours.safetensors":
        save_weights(path, NetworkState(capture(BACKBONE), CLASSIFIER))
    elif name == "foreign.safetensors":
        save_file(state("fc"), path)
    else:
        prefix = "module." if name == "module.pt" else ""
        torch.save({f"{prefix}{n}": t for n, t in (state("fc") if prefix else network.state_dict()).items()}, path)
    head = linear_head(64, 5, seed=0)
    assert load_classifier_(head, BACKBONE, read_start_weights(path)).taken
    assert taken(head)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (BACKBONE.state_dict(), "there is no classifier"),
        (state("fc", **{"fc.weight": torch.ones(1000, 64), "fc.bias": torch.ones(1000)}), "there is fc of shape (1000, 64)"),
        ({**BACKBONE.state_dict(), "fc.weight": torch.ones(5, 64)}, "there is no classifier"),  # a layer without bias
    ],
)
def test_a_head_that_nothing_fits_stays_as_it_was(given: dict[str, Tensor], said: str) -> None:
    head = linear_head(64, 5, seed=0)
    report = load_classifier_(head, BACKBONE, StartWeights(given, None))
    assert not report.taken
    assert all(torch.equal(a, b) for a, b in zip(head.parameters(), linear_head(64, 5, seed=0).parameters(), strict=True))
    assert said in str(report)
    assert "the head is fresh" in str(report)


def test_layers_of_the_backbone_are_no_classifiers() -> None:
    backbone = build_backbone("vit_tiny_patch16_224", size=32)
    head = linear_head(192, 192, seed=0)  # as many classes as the width: blocks.*.attn.proj has that shape too
    assert not load_classifier_(head, backbone, StartWeights(dict(backbone.state_dict()), None)).taken


def test_two_that_fit_are_refused() -> None:
    given = {**state("head"), **state("head_dist")}
    with pytest.raises(InputError, match="head and head_dist both") as error:
        load_classifier_(linear_head(64, 5, seed=0), BACKBONE, StartWeights(given, None))
    assert "\n" not in str(error.value)
