"""Feature maps: torchvision's own layers with the same weights, strides of other stems, nothing of the backbone changed."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from common.errors import InputError
from common.models.backbones import build_backbone
from common.models.dense_network import DenseNetwork
from common.models.pyramid import feature_maps, pyramid_of


@pytest.mark.parametrize("size", [(64, 96), (70, 50)])
def test_maps_are_those_of_torchvisions_layers(size: tuple[int, int]) -> None:
    from torchvision.models import resnet18

    ours, theirs = build_backbone("resnet18", seed=3).eval(), resnet18().eval()
    theirs.load_state_dict(ours.state_dict(), strict=False)
    x_NCHW = torch.randn(2, 3, *size)
    expected: dict[int, Tensor] = {}
    for name, stride in {"layer1": 4, "layer2": 8, "layer3": 16, "layer4": 32}.items():
        theirs.get_submodule(name).register_forward_hook(lambda _m, _i, out, stride=stride: expected.update({stride: out}))
    theirs(x_NCHW)
    for strides in [(4, 8, 16, 32), (8, 32), (4,)]:
        maps = feature_maps(ours, x_NCHW, strides)
        assert [tuple(found.shape[-2:]) for found in maps] == [tuple(-(-side // s) for side in size) for s in strides]
        for found, stride in zip(maps, strides, strict=True):
            torch.testing.assert_close(found, expected[stride])


@pytest.mark.parametrize(
    ("name", "options", "strides", "channels"),
    [
        ("resnet_digits", {}, (1, 2, 4, 8), (16, 24, 40, 64)),
        ("resnet20_a", {"width": 0.5}, (1, 2, 4), (8, 16, 32)),
        ("resnet18", {"stem": "3x3"}, (1, 2, 4, 8), (64, 128, 256, 512)),
        ("resnet18", {"width": 0.25, "in_chans": 1}, (2, 4, 8, 16, 32), (64, 16, 32, 64, 128)),
        ("resnet18", {"variant": "tf_same"}, (2, 4, 8, 16, 32), (64, 64, 128, 256, 512)),
        ("vit_tiny_patch16_224", {"size": 48}, (16,), (192,)),
    ],
)
def test_strides_and_channels(name: str, options: dict[str, object], strides: tuple[int, ...], channels: tuple[int, ...]) -> None:
    """Bottom line of each model's definition: the stem's stride, then one stage after another halves the side."""
    backbone = build_backbone(name, **options)  # type: ignore[arg-type]
    found = pyramid_of(backbone)
    assert (found.strides, found.channels) == (strides, channels)
    assert found.channels_at(strides[-1:]) == channels[-1:]


def test_the_deepest_map_is_what_the_backbone_pools() -> None:
    for backbone in (build_backbone("resnet_digits", seed=1), build_backbone("resnet18", stem="3x3", seed=1)):
        backbone.eval()
        x_NCHW = torch.randn(2, 3, 32, 32)
        (deepest,) = feature_maps(backbone, x_NCHW, (8,))
        torch.testing.assert_close(deepest.mean((2, 3)), backbone(x_NCHW))


def test_looking_changes_nothing() -> None:
    backbone = build_backbone("resnet_digits", seed=2)
    backbone.get_submodule("layer2").eval()
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    modes, state = [module.training for module in backbone.modules()], torch.get_rng_state()
    pyramid_of(backbone)
    assert all(torch.equal(value, before[name]) for name, value in backbone.state_dict().items())
    assert [module.training for module in backbone.modules()] == modes
    assert torch.equal(torch.get_rng_state(), state)
    assert all(parameter.grad is None for parameter in backbone.parameters())


def test_strides_that_are_not_there_are_named() -> None:
    backbone = build_backbone("resnet_digits")
    with pytest.raises(InputError, match=r"strides \[8, 16\]: the backbone has 1 \(16 channels\), 2 \(24 channels\)"):
        feature_maps(backbone, torch.zeros(1, 3, 32, 32), (8, 16))
    for wrong in [(), (4, 2), (2, 2)]:
        with pytest.raises(InputError, match="ascending"):
            DenseNetwork(backbone, nn.Identity(), wrong)
    with pytest.raises(InputError, match="pixels gives no feature maps"):
        pyramid_of(build_backbone("pixels", size=8))


class _Sum(nn.Module):
    """A head that says what it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(
        self, maps: list[Tensor], size: tuple[int, int], targets: object = None
    ) -> tuple[Tensor, tuple[int, int], object]:
        return torch.stack([found.square().mean() for found in maps]).sum() * self.scale, size, targets


def test_a_dense_network_names_its_state_and_trains_its_whole_backbone() -> None:
    network = DenseNetwork(build_backbone("resnet_digits"), _Sum(), (2, 8))
    plain = set(build_backbone("resnet_digits").state_dict())
    assert set(network.state_dict()) == {f"backbone.{name}" for name in plain} | {"head.scale"}
    total, size, targets = network(torch.randn(2, 3, 16, 24), "boxes")
    assert (size, targets) == ((16, 24), "boxes")
    assert network(torch.randn(2, 3, 16, 24))[2] is None
    total.backward()
    assert all(bool(parameter.grad.abs().sum() > 0) for parameter in network.parameters())  # type: ignore[union-attr]
