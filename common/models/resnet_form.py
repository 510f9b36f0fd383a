"""Which ResNet a state dict holds, told by its names and shapes; for messages about weights that do not fit."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

DEPTHS: dict[tuple[bool, tuple[int, ...]], int] = {
    (False, (2, 2, 2, 2)): 18,
    (False, (3, 4, 6, 3)): 34,
    (True, (3, 4, 6, 3)): 50,
    (True, (3, 4, 23, 3)): 101,
    (True, (3, 8, 36, 3)): 152,
}
"""(bottleneck blocks, blocks of every stage) -> layers; He et al. 2016, table 1."""
_BLOCK = re.compile(r"layer(\d+)\.(\d+)\.conv1\.weight")


def resnet_form(state: Mapping[str, Tensor]) -> str | None:
    """Name the ResNet that a state dict of canonical names holds, such as "ResNet-50 of width 2x"; None if it is no ResNet.

    Args:
        state: name -> tensor; the stem is `conv1.weight`, blocks are `layerS.B.*`.
    """
    stem, first = state.get("conv1.weight"), state.get("layer1.0.conv1.weight")
    if stem is None or first is None or stem.dim() != 4 or first.dim() != 4:
        return None
    places = [(int(match[1]), int(match[2])) for match in map(_BLOCK.fullmatch, state) if match]
    stages = tuple(sum(stage == number for stage, _ in places) for number in range(1, max(places)[0] + 1))
    bottleneck = "layer1.0.conv3.weight" in state
    depth = DEPTHS.get((bottleneck, stages))
    kind = "bottleneck" if bottleneck else "basic"
    name = f"ResNet-{depth}" if depth else f"ResNet of {'-'.join(map(str, stages))} {kind} blocks"
    return f"{name}{_width(stem, first) if depth else ''}, stem {stem.shape[2]}x{stem.shape[3]}"


def _width(stem: Tensor, first: Tensor) -> str:
    outer, inner = stem.shape[0] / 64, first.shape[0] / 64
    if outer != 1:
        return f" of width {outer:g}x"
    return f" of inner width {inner:g}x" if inner != 1 else ""
