"""open_lth's networks (Frankle et al. 2020): CIFAR ResNets as one row of blocks, and torchvision's ResNets behind `model.`.

conv.weight, bn.*                        the stem of a CIFAR ResNet
blocks.N.conv1.weight, .bn1.* ...        block N, counted through the three stages, of which each has as many
blocks.N.shortcut.0.weight, .1.*         the 1x1 convolution and norm where the shape changes (option B)
fc.weight, fc.bias                       the classifier
model.conv1.weight, model.layer1.0.* ... an ImageNet ResNet, which TurboPrune saves likewise
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from common.errors import InputError
from common.models.layouts.layout import Layout, Parts
from common.models.layouts.renaming import NORM, reader

_BLOCK = re.compile(r"blocks\.(\d+)\.(?:conv|bn)[12]\.")
_NESTED = "model."


def _has_blocks(tensors: Mapping[str, Tensor]) -> bool:
    return any(_BLOCK.match(name) for name in tensors)


def _read_blocks(tensors: Mapping[str, Tensor], what: str) -> Parts:
    """Number the blocks within their stages."""
    count = 1 + max(int(match[1]) for match in map(_BLOCK.match, tensors) if match)
    if count % 3:
        raise InputError(f"{what} looks like open_lth's CIFAR ResNet, but has {count} blocks, which are no three stages")
    table = [(r"conv\.weight", "conv1.weight"), (rf"bn\.{NORM}", r"bn1.\1"), (r"fc\.(weight|bias)", r"fc.\1")]
    for number in range(count):
        stage, block = divmod(number, count // 3)
        place, here = rf"blocks\.{number}\.", f"layer{stage + 1}.{block}."
        table += [
            (rf"{place}conv([12])\.weight", rf"{here}conv\1.weight"),
            (rf"{place}bn([12])\.{NORM}", rf"{here}bn\1.\2"),
            (rf"{place}shortcut\.0\.weight", f"{here}downsample.0.weight"),
            (rf"{place}shortcut\.1\.{NORM}", rf"{here}downsample.1.\1"),
        ]
    return reader("open_lth's CIFAR ResNet", table)(tensors, what)


def _is_nested(tensors: Mapping[str, Tensor]) -> bool:
    return any(name.startswith(("model.conv1.", "model.layer1.", "model.layer4.")) for name in tensors)


def _read_nested(tensors: Mapping[str, Tensor], what: str) -> Parts:
    bare = sorted(name for name in tensors if not name.startswith(_NESTED))
    if bare:
        raise InputError(f"{what}: most names begin with {_NESTED!r} and others do not ({bare[0]!r}); which belong is not clear")
    return Parts({name.removeprefix(_NESTED): tensor for name, tensor in tensors.items()})


OPEN_LTH = Layout("open_lth", "open_lth's CIFAR ResNets", "blocks.N.conv1.weight", _has_blocks, _read_blocks)
NESTED = Layout("nested", "torchvision's networks behind model.: open_lth, TurboPrune", "model.layer*", _is_nested, _read_nested)
