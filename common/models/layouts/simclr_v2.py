"""SimCLRv2's checkpoints (Chen et al. 2020, arXiv:2006.10029), as converted from TensorFlow for PyTorch.

    {"resnet": {...}, "head": {...}}, or the first of them alone, or {"state_dict": ...}
    net.0.0.weight, net.0.1.0.*                                    the stem's convolution and norm
    net.S.blocks.B.net.0.weight, .1.0.*, .2.weight, .3.0.*, ...    a block's convolutions (0, 2, 4) and norms (1.0, 3.0, 5.0)
    net.S.blocks.B.projection.shortcut.weight, projection.bn.0.*   the shortcut where the shape changes
    fc.weight, fc.bias                                             a linear classifier of ImageNet's classes

Without selective kernels these networks compute what torchvision's ResNets compute. With them (r50_1x_sk1 ...) they have another
stem, other blocks and other shortcuts. The projection head has batch norms, unlike SimCLR's own here, and is left out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from common.data.inputs import UNIT_INPUT
from common.errors import InputError
from common.models.layouts.layout import Layout, Parts

_RESNET, _HEAD, _STEM = "resnet.", "head.", "net.0.0.weight"
_NAMES = tuple(
    (re.compile(pattern), canonical)
    for pattern, canonical in (
        (r"net\.0\.0\.weight", "conv1.weight"),
        (r"net\.0\.1\.0\.(\w+)", r"bn1.\1"),
        (r"net\.([1-4])\.blocks\.(\d+)\.net\.0\.weight", r"layer\1.\2.conv1.weight"),
        (r"net\.([1-4])\.blocks\.(\d+)\.net\.1\.0\.(\w+)", r"layer\1.\2.bn1.\3"),
        (r"net\.([1-4])\.blocks\.(\d+)\.net\.2\.weight", r"layer\1.\2.conv2.weight"),
        (r"net\.([1-4])\.blocks\.(\d+)\.net\.3\.0\.(\w+)", r"layer\1.\2.bn2.\3"),
        (r"net\.([1-4])\.blocks\.(\d+)\.net\.4\.weight", r"layer\1.\2.conv3.weight"),
        (r"net\.([1-4])\.blocks\.(\d+)\.net\.5\.0\.(\w+)", r"layer\1.\2.bn3.\3"),
        (r"net\.([1-4])\.blocks\.(\d+)\.projection\.shortcut\.weight", r"layer\1.\2.downsample.0.weight"),
        (r"net\.([1-4])\.blocks\.(\d+)\.projection\.bn\.0\.(\w+)", r"layer\1.\2.downsample.1.\3"),
        (r"(fc\.\w+)", r"\1"),
    )
)
_SELECTIVE = re.compile(r"net\.0\.[36]\.|.*\.(main_conv|mixing_conv)\.|.*\.projection\.shortcut\.\d")


def _recognises(tensors: Mapping[str, Tensor]) -> bool:
    return _STEM in tensors or _RESNET + _STEM in tensors


def _read(tensors: Mapping[str, Tensor], what: str) -> Parts:
    own = {name.removeprefix(_RESNET): tensor for name, tensor in tensors.items() if not name.startswith(_HEAD)}
    selective = next((name for name in own if _SELECTIVE.match(name)), None)
    if selective is not None:
        raise InputError(
            f"{what} is a SimCLRv2 network with selective kernels ({selective!r}), which is another architecture "
            f"than a ResNet; use the checkpoint without them (sk0)"
        )
    state = {_canonical(name, what): tensor for name, tensor in own.items()}
    return Parts(state, left_out=tuple(sorted(name for name in tensors if name.startswith(_HEAD))))


def _canonical(name: str, what: str) -> str:
    for pattern, canonical in _NAMES:
        match = pattern.fullmatch(name)
        if match is not None:
            return match.expand(canonical)
    raise InputError(f"{what} looks like SimCLRv2's layout, but {name!r} is no name of its ResNets without selective kernels")


SIMCLR_V2 = Layout(
    "simclr_v2", "SimCLRv2 without selective kernels, converted from TensorFlow", _STEM, _recognises, _read, UNIT_INPUT
)
