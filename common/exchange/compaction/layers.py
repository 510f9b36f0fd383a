"""What the modules that compaction understands do to channels, told by their exact types.

A subclass may compute something else, so it counts as not understood, except for those named here.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from common.models.resnet import PaddedShortcut

CONVOLUTIONS: dict[type, int] = {nn.Conv1d: 1, nn.Conv2d: 2, nn.Conv3d: 3}
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
ELEMENTWISE = (
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Mish, nn.Softplus, nn.Sigmoid, nn.Tanh),
    *(nn.Hardswish, nn.Hardsigmoid, nn.Hardtanh),
)
IDENTITIES = (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)
MAX_POOLS: dict[type, int] = {nn.MaxPool1d: 1, nn.MaxPool2d: 2, nn.MaxPool3d: 3}
AVERAGE_POOLS: dict[type, int] = {nn.AvgPool1d: 1, nn.AvgPool2d: 2, nn.AvgPool3d: 3}
GLOBAL_POOLS: dict[type, int] = {
    nn.AdaptiveAvgPool1d: 1,
    nn.AdaptiveAvgPool2d: 2,
    nn.AdaptiveAvgPool3d: 3,
    nn.AdaptiveMaxPool1d: 1,
    nn.AdaptiveMaxPool2d: 2,
    nn.AdaptiveMaxPool3d: 3,
}
# By name, so that neither library is loaded for a network that holds none of its layers.
_NORM_AND_ACTIVATION = "timm.layers.norm_act.BatchNormAct2d"
_FROZEN_NORM = "torchvision.ops.misc.FrozenBatchNorm2d"
_STOCHASTIC_DEPTH = "torchvision.ops.stochastic_depth.StochasticDepth"


def full_name(module: nn.Module) -> str:
    """Return the dotted name of a module's class."""
    return f"{type(module).__module__}.{type(module).__qualname__}"


def is_one_operation(module: nn.Module) -> bool:
    """Say whether a module outside torch.nn is to be seen as a whole, not through the operations of its forward pass."""
    return type(module) is PaddedShortcut or full_name(module) in (_NORM_AND_ACTIVATION, _FROZEN_NORM, _STOCHASTIC_DEPTH)


def has_hooks(module: nn.Module) -> bool:
    """Say whether hooks may change what a module computes (torch.nn.utils.prune works by them)."""
    return bool(module._forward_hooks or module._forward_pre_hooks)


def is_identity(module: nn.Module) -> bool:
    """Say whether a module in eval mode returns its input."""
    return type(module) in IDENTITIES or full_name(module) == _STOCHASTIC_DEPTH


def is_norm(module: nn.Module) -> bool:
    """Say whether a module in eval mode is an affine map of each channel by stored statistics (batch norm)."""
    known = type(module) in NORMS or full_name(module) in (_NORM_AND_ACTIVATION, _FROZEN_NORM)
    return known and getattr(module, "running_mean", None) is not None and activation_of(module) is not None


def activation_of(norm: nn.Module) -> Callable[[Tensor], Tensor] | None:
    """Return what follows a norm inside its own module, to be applied to constants; None where that is not understood."""
    inner = [part for part in (getattr(norm, "drop", None), getattr(norm, "act", None)) if part is not None]
    if not all(is_identity(part) or type(part) in ELEMENTWISE for part in inner):
        return None
    return lambda values_C: apply_to_constants(nn.Sequential(*(part for part in inner if not is_identity(part))), values_C)


def apply_to_constants(activation: Callable[[Tensor], Any], values_C: Tensor) -> Tensor:
    """Apply an element-wise function to constants, float64 (C,), leaving its input as it is even if it works in place."""
    plain = copy.deepcopy(activation) if isinstance(activation, nn.Module) else activation
    with torch.no_grad():
        return plain(values_C.clone())


def affine_of(norm: Any) -> tuple[Tensor, Tensor]:
    """Return a norm's scale and shift in eval mode, float64 (C,) each: y = scale * x + shift."""
    mean_C, variance_C = _double(norm.running_mean), _double(norm.running_var)
    scale_C = torch.rsqrt(variance_C + float(norm.eps))
    if norm.weight is not None:
        scale_C = scale_C * _double(norm.weight)
    shift_C = -mean_C * scale_C
    return scale_C, shift_C if norm.bias is None else shift_C + _double(norm.bias)


def is_affine(norm: nn.Module) -> bool:
    """Say whether a norm has a weight and a bias, with which it can produce any constant whatever it reads."""
    return norm.weight is not None and norm.bias is not None


def groups_of(module: nn.Module) -> int:
    """Return the number of groups of a convolution; 1 for a linear layer."""
    return int(getattr(module, "groups", 1))


def is_padded(module: nn.Module) -> bool:
    """Say whether a convolution reads zeros beyond the border, so that a constant input gives no constant output there."""
    return any(getattr(module, "_reversed_padding_repeated_twice", ()))


def grouped_weight(module: nn.Module) -> Tensor:
    """Return a layer's weight as float64 (G, O / G, I / G, K), K the positions of the kernel."""
    weight, groups = _double(module.weight), groups_of(module)
    return weight.reshape(groups, weight.shape[0] // groups, weight.shape[1], -1)


def _double(tensor: Any) -> Tensor:
    return tensor.detach().to("cpu", torch.float64)
