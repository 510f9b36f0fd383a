"""What is prunable; torchvision's models are the oracle for names and counts."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from common.tickets.errors import TicketError
from common.tickets.scope import find_scope, prunable_weights


def _torchvision_convolutions(name: str) -> dict[str, int]:
    """Return {name: size} of all four-dimensional weights of torchvision's model but the stem's."""
    torchvision = pytest.importorskip("torchvision")
    with torch.device("meta"):
        state = getattr(torchvision.models, name)().state_dict()
    return {key: value.numel() for key, value in state.items() if value.dim() == 4 and key != "conv1.weight"}


@pytest.mark.parametrize(
    ("name", "tensors", "weights"),
    [
        ("resnet18", 19, 11_157_504),
        ("resnet50", 52, 23_445_504),
        pytest.param("resnet152", 154, 57_982_976, marks=pytest.mark.slow),
    ],
)
def test_published_scopes(name: str, tensors: int, weights: int) -> None:
    timm = pytest.importorskip("timm")
    with torch.device("meta"):
        model = timm.create_model(name, num_classes=0)
    scope = find_scope(model)
    assert len(scope.names) == tensors
    assert sum(p.numel() for p in scope.parameters(model).values()) == weights
    expected = _torchvision_convolutions(name)
    assert list(scope.names) == sorted(expected)
    assert {n: p.numel() for n, p in scope.parameters(model).items()} == expected


def test_default_leaves_out_stem_norms_biases_and_head(little: nn.Module) -> None:
    scope = find_scope(little)
    assert scope.names == ("body.weight", "point.weight")
    assert (scope.include, scope.exclude) == (("Conv2d:*",), ("@stem",))
    assert scope.parameters(little)["body.weight"] is little.get_parameter("body.weight")


@pytest.mark.parametrize(
    ("include", "exclude", "names"),
    [
        (["*"], [], ["body.weight", "conv1.weight", "fc.weight", "point.weight"]),
        (["Linear:*"], [], ["fc.weight"]),
        (["Conv2d:*", "Linear:fc*"], ["@stem"], ["body.weight", "fc.weight", "point.weight"]),
        (["@stem"], [], ["conv1.weight"]),
        (["body.*", "body.weight"], [], ["body.weight"]),
        (["Conv2d:*"], ["p*"], ["body.weight", "conv1.weight"]),
        (["*o*"], ["Conv2d:?onv1.weight"], ["body.weight", "point.weight"]),
    ],
)
def test_patterns(little: nn.Module, include: list[str], exclude: list[str], names: list[str]) -> None:
    assert list(find_scope(little, include, exclude).names) == names


@pytest.mark.parametrize(
    ("include", "exclude", "message"),
    [
        (["Conv2d:layer9.*"], [], "matches nothing|matches no"),
        (["Conv2d:*"], ["head.*"], "matches no"),
        (["Linear:conv1.weight"], [], "matches no"),
        (["CONV1.weight"], [], "matches no"),
        (["Conv4d:*"], [], "unknown module type 'Conv4d'; known: Conv1d, Conv2d, Conv3d, Linear"),
        (["a:Conv2d:*"], [], "unknown module type"),
        (["Conv2d:*"], ["*"], "empty"),
        ([], [], "empty"),
    ],
)
def test_patterns_that_cannot_be_used(little: nn.Module, include: list[str], exclude: list[str], message: str) -> None:
    with pytest.raises(TicketError, match=message) as error:
        find_scope(little, include, exclude)
    assert "\n" not in str(error.value)


def test_stem_needs_a_convolution() -> None:
    with pytest.raises(TicketError, match="no convolution"):
        find_scope(nn.Sequential(nn.Linear(2, 2)), include=("Linear:*",))
    assert find_scope(nn.Sequential(nn.Linear(2, 2)), ("Linear:*",), ()).names == ("0.weight",)


def test_subclasses_count_as_what_they_extend() -> None:
    class Padded(nn.Conv2d):
        """As timm's convolutions of TensorFlow padding."""

    model = nn.Sequential(Padded(1, 1, 1), nn.Conv1d(1, 1, 1), nn.Conv3d(1, 1, 1), nn.ConvTranspose2d(1, 1, 1), nn.BatchNorm2d(1))
    assert prunable_weights(model) == {"0.weight": "Conv2d", "1.weight": "Conv1d", "2.weight": "Conv3d"}
    assert prunable_weights(nn.Conv2d(1, 1, 1)) == {"weight": "Conv2d"}


def test_a_scope_does_not_fit_another_model(little: nn.Module) -> None:
    with pytest.raises(TicketError, match=r"no parameter 'body\.weight' \(2 of the scope's 2"):
        find_scope(little).parameters(nn.Linear(2, 2))
