"""Small ResNets: shortcuts by hand, published parameter counts, names that dense tasks need."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from common.models.backbones import build_backbone
from common.models.resnet import BasicBlock, PaddedShortcut


@pytest.mark.parametrize(("depth", "published"), [(20, 269_722), (32, 464_154), (44, 658_586), (56, 853_018)])
def test_published_parameter_counts(depth: int, published: int) -> None:
    """He et al. 2016, table 6: 0.27, 0.46, 0.66 and 0.85 million with padded shortcuts and a classifier of ten."""
    model = build_backbone(f"resnet{depth}_a")
    classifier = nn.Linear(model.num_features, 10)  # type: ignore[arg-type]
    count = sum(p.numel() for p in [*model.parameters(), *classifier.parameters()])
    assert count == published
    assert round(count / 1e6, 2) == {20: 0.27, 32: 0.46, 44: 0.66, 56: 0.85}[depth]
    projected = sum(p.numel() for p in build_backbone(f"resnet{depth}").parameters())
    two_shortcuts = 16 * 32 + 2 * 32 + 32 * 64 + 2 * 64
    assert projected == sum(p.numel() for p in model.parameters()) + two_shortcuts


@pytest.mark.parametrize("depth", [20, 32, 44, 56])
def test_depth_counts_weighted_layers(depth: int) -> None:
    model = build_backbone(f"resnet{depth}_a")
    assert sum(isinstance(m, nn.Conv2d) for m in model.modules()) + 1 == depth


@pytest.mark.parametrize(("height", "width"), [(8, 8), (7, 5)])
def test_option_a_by_hand(height: int, width: int) -> None:
    x_NCHW = torch.arange(2.0 * 4 * height * width).reshape(2, 4, height, width)
    result = PaddedShortcut(4, 8, 2)(x_NCHW).numpy()
    expected = np.zeros((2, 8, -(-height // 2), -(-width // 2)), dtype=np.float32)
    expected[:, 2:6] = x_NCHW.numpy()[:, :, ::2, ::2]
    assert (result == expected).all()
    assert not list(PaddedShortcut(4, 8, 2).parameters())


@pytest.mark.parametrize("option", ["A", "B"])
def test_a_block_by_hand(option: str) -> None:
    """Recompute a block of stride 2 in eval mode with plain tensor arithmetic."""
    torch.manual_seed(0)
    block = BasicBlock(4, 8, 2, option).eval()  # type: ignore[arg-type]
    for module in block.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight)
            nn.init.normal_(module.bias)
            nn.init.normal_(module.running_mean)  # type: ignore[arg-type]
            nn.init.uniform_(module.running_var, 0.5, 2)  # type: ignore[arg-type]
    x_NCHW = torch.randn(2, 4, 6, 6)

    def conv(x: torch.Tensor, weight: torch.Tensor, stride: int, padding: int) -> torch.Tensor:
        size = weight.shape[-1]
        patches = nn.functional.unfold(x, size, stride=stride, padding=padding)
        side = (x.shape[-1] + 2 * padding - size) // stride + 1
        return (weight.flatten(1) @ patches).reshape(len(x), -1, side, side)

    def norm(x: torch.Tensor, bn: nn.BatchNorm2d) -> torch.Tensor:
        scale = bn.weight / (bn.running_var + bn.eps).sqrt()  # type: ignore[operator, union-attr]
        return (x - bn.running_mean[:, None, None]) * scale[:, None, None] + bn.bias[:, None, None]  # type: ignore[index]

    inner = norm(conv(x_NCHW, block.conv1.weight, 2, 1), block.bn1).clamp(min=0)
    inner = norm(conv(inner, block.conv2.weight, 1, 1), block.bn2)
    if option == "A":
        shortcut = torch.cat([torch.zeros(2, 2, 3, 3), x_NCHW[:, :, ::2, ::2], torch.zeros(2, 2, 3, 3)], 1)
    else:
        assert isinstance(block.downsample, nn.Sequential)
        shortcut = norm(conv(x_NCHW, block.downsample[0].weight, 2, 0), block.downsample[1])  # type: ignore[arg-type]
    torch.testing.assert_close(block(x_NCHW), (inner + shortcut).clamp(min=0), rtol=1e-4, atol=1e-5)


def test_stages_halve_the_side_and_carry_torchvisions_names() -> None:
    model = build_backbone("resnet_digits")
    shapes: dict[str, tuple[int, ...]] = {}
    for name in ("layer1", "layer2", "layer3", "layer4"):
        model.get_submodule(name).register_forward_hook(lambda _m, _i, out, name=name: shapes.update({name: tuple(out.shape)}))
    features = model(torch.randn(2, 3, 16, 16))
    assert shapes == {"layer1": (2, 16, 16, 16), "layer2": (2, 24, 8, 8), "layer3": (2, 40, 4, 4), "layer4": (2, 64, 2, 2)}
    assert features.shape == (2, 64)
    names = set(model.state_dict())
    assert {
        "conv1.weight",
        "bn1.running_mean",
        "layer2.0.downsample.0.weight",
        "layer2.0.downsample.1.num_batches_tracked",
    } <= names
    torchvision = pytest.importorskip("torchvision")
    assert names < set(torchvision.models.resnet18().state_dict())


def test_initialisation_is_he_with_fan_out() -> None:
    model = build_backbone("resnet56", seed=3)
    for name in ("layer3.4.conv1", "layer3.7.conv2"):
        weight = model.get_parameter(f"{name}.weight")
        assert weight.std().item() == pytest.approx((2 / (weight.shape[0] * 9)) ** 0.5, rel=0.02)
        assert abs(weight.mean().item()) < 1e-3


def test_features_do_not_depend_on_the_batch_in_eval_mode() -> None:
    model = build_backbone("resnet20", seed=1).eval()
    x_NCHW = torch.randn(5, 3, 32, 32)
    torch.testing.assert_close(model(x_NCHW)[2:3], model(x_NCHW[2:3]), rtol=1e-4, atol=1e-5)
