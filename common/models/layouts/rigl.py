"""RigL's ResNets (Evci et al. 2020, arXiv:1911.11134) as converted from TensorFlow for PyTorch (Iofinova et al. 2022).

    initial_conv.conv.weight, initial_conv.bn.*                     the stem
    layerL.block.B.convK.conv.weight, layerL.block.B.convK.bn.*     a block's convolutions and norms, K = 1 to 3
    layerL.block.0.shortcut.conv.weight, .shortcut.bn.*             its shortcut, where the shape changes
    fc.weight, fc.bias                                              the classifier

The max-pool behind the stem pads as TensorFlow does (variant `tf_same`), and images were resized bicubically.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor

from common.data.inputs import IMAGENET_INPUT
from common.models.layouts.layout import Layout
from common.models.layouts.renaming import NORM, reader

RIGL_INPUT = replace(IMAGENET_INPUT, interpolation="bicubic")
STEM = "initial_conv.conv.weight"
_TABLE = (
    (r"initial_conv\.conv\.weight", "conv1.weight"),
    (rf"initial_conv\.bn\.{NORM}", r"bn1.\1"),
    (r"layer([1-4])\.block\.(\d+)\.conv([1-3])\.conv\.weight", r"layer\1.\2.conv\3.weight"),
    (rf"layer([1-4])\.block\.(\d+)\.conv([1-3])\.bn\.{NORM}", r"layer\1.\2.bn\3.\4"),
    (r"layer([1-4])\.block\.(\d+)\.shortcut\.conv\.weight", r"layer\1.\2.downsample.0.weight"),
    (rf"layer([1-4])\.block\.(\d+)\.shortcut\.bn\.{NORM}", r"layer\1.\2.downsample.1.\3"),
    (r"fc\.(weight|bias)", r"fc.\1"),
)


def _recognises(tensors: Mapping[str, Tensor]) -> bool:
    return any(name.startswith("initial_conv.") or ".block.0.conv1.conv." in name for name in tensors)


RIGL = Layout(
    "rigl",
    "RigL's ResNets, converted from TensorFlow for PyTorch",
    STEM,
    _recognises,
    reader("RigL's layout", _TABLE),
    RIGL_INPUT,
    variant="tf_same",
)
