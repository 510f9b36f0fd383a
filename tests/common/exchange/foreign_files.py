"""Files of other systems in small, as those systems would write them; every writer returns the network that the file is of."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize, prune

from tests.common.exchange.foreign_networks import (
    WIDTHS,
    MaskedConv,
    MaskedConv1d,
    OpenLthNet,
    PointConv,
    SmallNet,
    TensorflowBottlenecks,
    ThresholdConv,
    WrappedLayer,
    random_mask,
    randomised,
)


class Multiplied(nn.Module):
    """A parametrization that multiplies by a mask."""

    def __init__(self, mask: Tensor) -> None:
        super().__init__()
        self.register_buffer("mask", mask)

    def forward(self, weight: Tensor) -> Tensor:
        return self.mask * weight


def write_torch_prune(path: Path, *, widths: tuple[int, ...] = WIDTHS, **settings: Any) -> nn.Module:
    model = randomised(SmallNet(widths=widths))
    for seed, (name, layer) in enumerate(_layers(model)):
        if name != "conv1":
            prune.custom_from_mask(layer, "weight", random_mask(layer.weight.shape, seed))
    torch.save({"state_dict": _prefixed(model.state_dict(), "module.")}, path, **settings)
    return model


def write_parametrize(path: Path, *, widths: tuple[int, ...] = WIDTHS, **settings: Any) -> nn.Module:
    model = randomised(SmallNet(widths=widths))
    for seed, (name, layer) in enumerate(_layers(model)):
        if name != "conv1":
            parametrize.register_parametrization(layer, "weight", Multiplied(random_mask(layer.weight.shape, seed)))
    torch.save(model.state_dict(), path, **settings)
    return model


def write_wrapped(path: Path, *, widths: tuple[int, ...] = WIDTHS, **settings: Any) -> nn.Module:
    model = SmallNet(
        lambda *args, **kwargs: WrappedLayer(nn.Conv2d(*args, **kwargs)), lambda *args: WrappedLayer(nn.Linear(*args)), widths
    )
    for seed, module in enumerate(m for m in randomised(model).modules() if isinstance(m, WrappedLayer)):
        module._weight_mask.copy_(random_mask(module._weight_mask.shape, seed))
    with torch.no_grad():
        model(torch.zeros(1, 3, 8, 8))  # zeroes what is pruned, as every forward pass does
    state = {name: tensor for name, tensor in model.state_dict().items() if not name.startswith("fc._bias_mask")}
    content = {
        "epoch": 99,
        "model_config": {"arch": "resnet50", "dataset": "imagenet"},
        "model_state_dict": _prefixed(state, "module."),
    }
    torch.save(content, path, **settings)
    return model


def write_str(path: Path, *, widths: tuple[int, ...] = WIDTHS, **settings: Any) -> nn.Module:
    model = randomised(SmallNet(ThresholdConv, PointConv, widths))
    for module in model.modules():
        if isinstance(module, ThresholdConv):
            module.sparseThreshold.data.fill_(float(torch.logit(module.weight.detach().abs().quantile(0.7))))
    torch.save({"epoch": 1, "arch": "ResNet50", "state_dict": _prefixed(model.state_dict(), "module.")}, path, **settings)
    return model


def write_turboprune(path: Path, *, widths: tuple[int, ...] = WIDTHS, **settings: Any) -> nn.Module:
    model = randomised(SmallNet(MaskedConv, MaskedConv1d, widths))
    for seed, module in enumerate(m for m in model.modules() if isinstance(m, (MaskedConv, MaskedConv1d))):
        module.mask.copy_(random_mask(module.mask.shape, seed))
    model = model.to(memory_format=torch.channels_last)
    torch.save(_prefixed(model.state_dict(), "model."), path, **settings)
    return model


def write_open_lth(path: Path, *, trained: bool = True, widths: tuple[int, ...] = (16, 32, 64), **settings: Any) -> nn.Module:
    """Write `mask.pth`, and `model.pth` beside it; the network is the masked one."""
    model = randomised(OpenLthNet(widths))
    masks = {f"{name}.weight": random_mask(layer.weight.shape, seed) for seed, (name, layer) in enumerate(_layers(model))}
    torch.save({name: mask.int() for name, mask in masks.items()}, path, **settings)
    dense = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    for name, mask in masks.items():
        model.get_parameter(name).data.mul_(mask)
    torch.save(model.state_dict() if trained else dense, path.parent / "model.pth", **settings)
    return model


def write_rigl(path: Path, *, variables: bool = True, depths: tuple[int, ...] = (2, 1, 1, 1), width: int = 4) -> nn.Module:
    """Write the arrays of a TensorFlow checkpoint; the network is the masked one, and the file's weights are not masked."""
    model = randomised(TensorflowBottlenecks(depths, width))
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    for seed, (name, layer) in enumerate(_layers(model)):
        mask = random_mask(layer.weight.shape, seed)
        arrays[name] = _hwio(layer.weight.data)
        arrays[f"{name}.mask"] = _hwio(mask)
        layer.weight.data.mul_(mask)
    state = model.state_dict()
    named = _variables(state, arrays, depths) if variables else _blocks(state, arrays)
    np.savez(path, **named)  # type: ignore[arg-type]
    return model


def _blocks(state: Mapping[str, Tensor], arrays: Mapping[str, np.ndarray[Any, Any]]) -> dict[str, np.ndarray[Any, Any]]:
    others = {name: tensor.numpy() for name, tensor in state.items() if ".bn." in name or name == "fc.bias"}
    return {**{name if name.endswith(".mask") else f"{name}.weight": array for name, array in arrays.items()}, **others}


def _variables(
    state: Mapping[str, Tensor], arrays: Mapping[str, np.ndarray[Any, Any]], depths: tuple[int, ...]
) -> dict[str, np.ndarray[Any, Any]]:
    """Name arrays as TensorFlow does: scopes by block group, norms numbered as they are made (shortcut first in a block)."""
    scopes, norms = {"initial_conv.conv": "initial_conv", "fc": "final_dense"}, ["initial_conv.bn"]
    for stage, depth in enumerate(depths, start=1):
        for block in range(depth):
            place = f"layer{stage}.block.{block}"
            if block == 0:
                scopes[f"{place}.shortcut.conv"] = f"bottleneck_projection_block_group_projection_block_group{stage}"
                norms.append(f"{place}.shortcut.bn")
            end = f"block_group_projection_block_group{stage}" if block == 0 else f"block_group{stage}_{block}_1"
            for number in (1, 2, 3):
                scopes[f"{place}.conv{number}.conv"] = f"bottleneck_{number}_{end}"
                norms.append(f"{place}.conv{number}.bn")
    named: dict[str, np.ndarray[Any, Any]] = {"global_step": np.array(32000)}
    for name, array in arrays.items():
        layer, kind = (name.removesuffix(".mask"), "mask") if name.endswith(".mask") else (name, "weights")
        named[f"resnet_model/{scopes[layer]}/{kind}"] = array
        named[f"resnet_model/{scopes[layer]}/threshold"] = np.zeros((), np.float32)
    named["resnet_model/final_dense/weights/Momentum"] = np.zeros_like(arrays["fc"])
    named["resnet_model/final_dense/biases"] = state["fc.bias"].numpy()
    keys = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}
    for number, norm in enumerate(norms):
        scope = f"resnet_model/batch_normalization{f'_{number}' if number else ''}"
        named |= {f"{scope}/{theirs}": state[f"{norm}.{ours}"].numpy() for theirs, ours in keys.items()}
    return named


def _hwio(tensor: Tensor) -> np.ndarray[Any, Any]:
    return (tensor.permute(2, 3, 1, 0) if tensor.ndim == 4 else tensor.T).contiguous().numpy()


def _layers(model: nn.Module) -> list[tuple[str, Any]]:
    return [(name, module) for name, module in model.named_modules() if isinstance(module, (nn.Conv2d, nn.Linear))]


def _prefixed(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {prefix + name: tensor for name, tensor in state.items()}
