"""Whole networks: the compacted one computes what the masked one does, and nothing is left to cut."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from common.exchange.compaction.compact import Compaction, compact, compacted
from common.models.backbones import build_backbone
from common.models.heads import Network, linear_head
from common.models.resnet import SmallResNet

IDLE = ("constant", "tied", "only")


def images(side: int, count: int = 2, seed: int = 0) -> Tensor:
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(seed))


def _same(network: nn.Module, thin: nn.Module, side: int) -> None:
    """Compare on images that compaction has not seen, in float64."""
    x_NCHW = images(side, 3, seed=9).double()
    with torch.no_grad():
        expected, got = network.double()(x_NCHW), thin.double()(x_NCHW)
    assert float((expected - got).abs().max()) < 1e-6 * max(1.0, float(expected.abs().max()))  # weights were float32


def _size(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def _compacts(network: nn.Module, side: int) -> Compaction:
    done = compact(network, images(side))
    assert not done.opaque
    assert done.counts["removed"] > 0
    assert _size(done.network) < _size(network)
    again = compact(done.network, images(side))
    assert again.counts == {**done.counts, "removed": 0}
    _same(network, done.network, side)
    return done


@settings(max_examples=12, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    filters=st.sampled_from([0.0, 0.2, 0.5, 0.8, 1.0]),
    inputs=st.sampled_from([0.3, 0.7, 1.0]),
    density=st.sampled_from([0.05, 0.3, 1.0]),
    option=st.sampled_from(["A", "B"]),
)
def test_small_resnets_under_any_mask(
    killed: Callable[..., nn.Module], seed: int, filters: float, inputs: float, density: float, option: Literal["A", "B"]
) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        backbone = SmallResNet((4, 6, 8), 2, 3, option)
    network = killed(Network(backbone, linear_head(8, 3, seed=0)), filters, inputs, density, seed)
    done = compact(network, images(8))
    again = compact(done.network, images(8))
    assert again.counts == {**done.counts, "removed": 0}
    total = sum(layer.weight.shape[0] for layer in network.modules() if isinstance(layer, nn.Conv2d | nn.Linear))
    assert sum(done.counts.values()) == total
    left = sum(layer.weight.shape[0] for layer in done.network.modules() if isinstance(layer, nn.Conv2d | nn.Linear))
    assert left == total - done.counts["removed"]
    _same(network, done.network, 8)


@pytest.mark.parametrize(("name", "side"), [("resnet20_a", 16), ("resnet18", 16), ("mobilenetv1_100", 32)])
def test_backbones(killed: Callable[..., nn.Module], name: str, side: int) -> None:
    backbone = build_backbone(name, seed=0)
    network = killed(Network(backbone, linear_head(int(backbone.num_features), 5, seed=0)), 0.8, 0.8, 0.7)
    done = _compacts(network, side)
    assert sum(done.counts[key] for key in IDLE) > 0
    assert done.network.backbone.arch["variant"] == "compacted"  # type: ignore[union-attr]
    assert backbone.arch["variant"] is None  # type: ignore[index]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet50", "resnet50d", "mobilenetv2_100", "efficientnet_b0", "densenet121", "regnetx_002"])
def test_more_backbones(killed: Callable[..., nn.Module], name: str) -> None:
    _compacts(killed(build_backbone(name, seed=0), 0.8, 0.8, 0.7), 64)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet18", "vgg11_bn", "googlenet", "mobilenet_v2", "squeezenet1_1"])
def test_torchvisions_networks(killed: Callable[..., nn.Module], name: str) -> None:
    import torchvision

    settings = {"init_weights": False} if name == "googlenet" else {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = torchvision.models.get_model(name, num_classes=7, **settings)
    _compacts(killed(network, 0.8, 0.8, 0.7), 64)


def test_transformers_lose_hidden_units_only() -> None:
    """The stream of a transformer passes layer norms, which are not understood; the hidden units of its MLPs do not."""
    vit = build_backbone("vit_tiny_patch16_224", size=32, patch=8, seed=0)
    block: Any = vit.blocks[0]  # type: ignore[index]
    with torch.no_grad():
        block.mlp.fc1.weight[:100] = 0  # constants gelu(bias), which fold into fc2
        block.mlp.fc2.weight[:, 150:170] = 0
    done = compact(vit.eval(), images(32))
    thin: Any = done.network
    assert thin.blocks[0].mlp.fc1.out_features == thin.blocks[0].mlp.fc2.in_features == 768 - 120
    assert thin.blocks[1].mlp.fc1.out_features == 768
    assert done.counts["removed"] == 120
    assert done.opaque
    _same(vit, done.network, 32)


def test_the_given_network_stays_as_it_is(killed: Callable[..., nn.Module]) -> None:
    network = killed(build_backbone("resnet_digits", seed=0)).train()
    network.requires_grad_(False)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    thin = compacted(network, images(8))
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert network.training
    assert not thin.training
    assert type(thin) is type(network)
    assert set(thin.state_dict()) == set(before)
    assert all(tensor.dtype == before[name].dtype for name, tensor in thin.state_dict().items())
    assert not any(parameter.requires_grad for parameter in thin.parameters())


def test_a_network_in_bfloat16_stays_in_it(killed: Callable[..., nn.Module]) -> None:
    network = killed(build_backbone("resnet_digits", seed=0)).bfloat16()
    thin = compacted(network, images(8))
    assert {parameter.dtype for parameter in thin.parameters()} == {torch.bfloat16}
    x_NCHW = images(8).bfloat16()
    with torch.no_grad():
        assert torch.allclose(network(x_NCHW), thin(x_NCHW), atol=0.05)


class Functional(nn.Module):
    """A network of functions where others have modules, in the manner of published CIFAR ResNets."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1, stride=2)
        self.norm, self.gate = nn.BatchNorm2d(8), nn.Conv2d(8, 8, 1)
        self.third = nn.Conv2d(16, 6, 1)
        self.fc = nn.Linear(6 * 4, 3)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        x_NCHW = functional.relu(self.first(x_NCHW), inplace=True)
        x_NCHW = functional.dropout(functional.max_pool2d(x_NCHW, 2), 0.5, self.training)
        y_NCHW = self.norm(self.second(x_NCHW)).relu_()
        y_NCHW = y_NCHW * torch.sigmoid(self.gate(y_NCHW.mean((2, 3), keepdim=True))) - 0.5
        joined_NCHW = torch.cat([y_NCHW, functional.avg_pool2d(x_NCHW, y_NCHW.shape[2])], dim=1)
        x_NCHW = functional.leaky_relu(self.third(joined_NCHW), 0.1)
        return self.fc(x_NCHW.view(x_NCHW.size(0), -1))


def test_functions_count_like_modules(killed: Callable[..., nn.Module]) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network: Any = killed(Functional(), 1.0, 1.0, 1.0)
    with torch.no_grad():
        network.first.weight[:2], network.first.bias[0], network.first.bias[1] = 0, -1, 2
        network.second.weight[2] = 0
        network.norm.bias[2] = -5  # relu makes it 0, the product keeps it, and 0 - 0.5 folds into the 1x1 convolution
        network.gate.weight[:, 2] = 1.0
        network.third.weight[4] = 0
    done = compact(network, images(8))
    thin: Any = done.network
    assert not done.opaque
    assert thin.first.out_channels == 7  # the constant 0 goes; the 2 is read by a padded convolution
    assert thin.second.out_channels == thin.gate.in_channels == thin.gate.out_channels == 7
    assert thin.third.in_channels == 14
    assert thin.third.out_channels == 5
    assert thin.fc.in_features == 20
    _same(network, thin, 8)
