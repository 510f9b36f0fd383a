"""Costs against torch's own FLOP counter, published numbers, and naive loops over every position, weight and channel."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from common.errors import InputError
from common.exchange.cost import cost
from common.models.backbones import build_backbone
from common.tickets.mask import Mask


def draw_mask(model: nn.Module, density: float, names: tuple[str, ...]) -> Mask:
    draws = torch.Generator().manual_seed(0)
    weights = dict(model.named_parameters())
    return Mask({name: torch.rand(weights[name].shape, generator=draws) < density for name in names})


def counted(model: nn.Module, *inputs: Any) -> int:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.eval()(*inputs)
    return counter.get_total_flops() // 2


@pytest.mark.parametrize(("name", "size"), [("resnet_digits", 16), ("resnet20_a", 32), ("mobilenetv1_100", 64)])
def test_dense_macs_are_those_that_torch_counts(name: str, size: int) -> None:
    model = build_backbone(name, seed=0)
    found = cost(model, None, size)
    assert found.macs == found.masked_macs == counted(model, torch.zeros(1, 3, size, size))
    assert found.other_macs == found.scope_weights == found.pruned == 0
    assert found.parameters == sum(parameter.numel() for parameter in model.parameters())


def test_attention_is_counted_beside_the_layers() -> None:
    model = build_backbone("vit_tiny_patch16_224", size=32, patch=8, seed=0)
    found = cost(model, None, 32)
    layers = counted(model, torch.zeros(1, 3, 32, 32))  # torch's counter does not see the CPU's fused attention
    tokens, heads, width, blocks = 17, 3, 64, 12  # 16 patches and the class token
    assert found.macs - found.other_macs == layers
    assert found.other_macs == blocks * 2 * heads * tokens * tokens * width


@pytest.mark.parametrize(("name", "weights"), [("resnet18", "ResNet18_Weights"), ("mobilenet_v2", "MobileNet_V2_Weights")])
def test_published_numbers(name: str, weights: str) -> None:
    """torchvision publishes parameters and billions of MACs at 224 px with its weights."""
    import torchvision

    meta = torchvision.models.get_model_weights(name).IMAGENET1K_V1.meta
    found = cost(torchvision.models.get_model(name), None, 224)
    assert found.parameters == meta["num_params"]
    assert round(found.macs / 1e9, 3) == meta["_ops"]


CONVOLUTIONS = {
    "plain": nn.Conv2d(4, 6, 3),
    "padded": nn.Conv2d(4, 6, 3, padding=1),
    "strided": nn.Conv2d(4, 6, (3, 2), stride=(2, 3), padding=(1, 0), bias=False),
    "dilated": nn.Conv2d(4, 6, 3, dilation=2, padding=2),
    "grouped": nn.Conv2d(4, 6, 3, groups=2, padding=1),
    "depthwise": nn.Conv2d(4, 8, 3, groups=4, padding=3, stride=2),
    "same": nn.Conv2d(4, 6, 4, padding="same", dilation=2),
    "in one dimension": nn.Conv1d(4, 6, 3, padding=1, dilation=2),
    "in three": nn.Conv3d(4, 2, 2, padding=1, stride=2),
}


class Watched(nn.Module):
    """A model of one layer."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)


@pytest.mark.parametrize("kind", CONVOLUTIONS)
def test_masked_macs_by_a_naive_loop(kind: str) -> None:
    """One MAC for every output position and every kept weight that acts there, zeros of the padding among what it acts on."""
    layer: Any = CONVOLUTIONS[kind]
    model = Watched(layer)
    mask = draw_mask(model, 0.3, ("layer.weight",))
    kept = mask["layer.weight"]
    example = torch.zeros(1, 4, *(9, 7, 5)[: kept.dim() - 2])
    found = cost(model, mask, None, inputs=[example])
    positions = list(product(*(range(extent) for extent in layer(example).shape[2:])))
    naive = 0
    for _ in positions:
        for out in range(kept.shape[0]):
            for index in product(*(range(extent) for extent in kept.shape[1:])):
                naive += bool(kept[(out, *index)])
    assert found.masked_macs == naive
    assert found.macs == counted(model, example)
    assert found.layers[0].positions == len(positions)


def test_a_linear_layer_acts_once_per_row() -> None:
    model = nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 3, bias=False))
    mask = draw_mask(model, 0.5, ("0.weight",))
    example = torch.zeros(1, 11, 5)
    found = cost(model, mask, None, inputs=[example])
    assert found.macs == counted(model, example) == 11 * (35 + 21)
    assert found.masked_macs == 11 * (int(mask["0.weight"].sum()) + 21)


def test_a_layer_that_runs_twice_counts_twice_and_one_that_does_not_run_counts_nothing() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.unused = nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(self.layer(x)[:, :, ::2, ::2])

    found = cost(Twice(), None, (8, 4))
    assert found.macs == (32 + 8) * 81
    assert [layer.positions for layer in found.layers] == [40, 0]


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_dead_parts_by_naive_loops(groups: int) -> None:
    model = Watched(nn.Conv2d(8, 12, 3, groups=groups))
    mask = draw_mask(model, 0.03, ("layer.weight",))
    kept = mask["layer.weight"]
    (layer,) = cost(model, mask, 8).layers
    outer, inner = 12 // groups, 8 // groups
    kernels = [(o, i) for o in range(12) for i in range(inner) if not kept[o, i].any()]
    filters = [o for o in range(12) if not kept[o].any()]
    inputs = [c for c in range(8) if not kept[c // inner * outer : (c // inner + 1) * outer, c % inner].any()]
    assert (layer.kernels.dead, layer.kernels.count) == (len(kernels), 12 * inner)
    assert (layer.filters.dead, layer.filters.count) == (len(filters), 12)
    assert (layer.inputs.dead, layer.inputs.count) == (len(inputs), 8)
    assert kernels
    assert filters or inputs


def test_storage_by_hand() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.Conv2d(4, 5, 1))
    kept = torch.zeros(5, 4, 1, 1, dtype=torch.bool)
    kept[0, 0] = kept[3, 2] = kept[4] = True
    found = cost(model, Mask({"2.weight": kept}), 6)
    rest = 108 * 4 + 4 * 4 * 4 + 8 + 5 * 4  # stem; norm; its int64 counter; bias
    assert found.storage.dense == rest + 20 * 4
    assert found.storage.packed == rest + 3 + 6 * 4  # 20 bits fill 3 bytes
    assert found.storage.index_value == rest + 6 * 8
    assert (found.scope_weights, found.pruned, found.parameters) == (20, 14, 108 + 8 + 20 + 5)


def test_the_model_stays_as_it_is() -> None:
    model = build_backbone("resnet_digits", seed=0).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    cost(model, None, 8)
    assert model.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())


def test_bad_input() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(16, 2))
    for mask, size, expected in (
        ({"0.bias": torch.ones(4, dtype=torch.bool)}, 4, "no convolution or linear layer"),
        ({"0.weight": torch.ones(4, dtype=torch.bool)}, 4, r"model shape \(4, 3, 3, 3\)"),
        (None, 5, "choose another size"),
        (None, 0, "at least 1 pixel"),
        (None, None, "not both"),
    ):
        with pytest.raises(InputError, match=expected):
            cost(model, None if mask is None else Mask(mask), size)
    with pytest.raises(InputError, match="tells the image's channels"):
        cost(nn.Linear(3, 4), None, 8)
    assert not any(module._forward_hooks for module in model.modules())
