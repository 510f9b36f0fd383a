"""Detectors whose backbone is a ResNet: detectron2's names, and those of torchvision's detection models.

detectron2 (Wu et al. 2019), behind `backbone.bottom_up.` where a pyramid follows, behind `backbone.`, or alone:

    stem.conv1.weight, stem.conv1.norm.*                 conv1, bn1
    resS.B.convK.weight, resS.B.convK.norm.*             layer(S-1).B.convK, bnK
    resS.B.shortcut.weight, resS.B.shortcut.norm.*       layer(S-1).B.downsample.0, .1

Where the last stage is the detector's head (C4), it is `roi_heads.res5`. torchvision's detectors put `backbone.body.` before the
ResNet's own names. Pyramid, proposals and heads are left out. detectron2's files do not say which channel order and normalisation
their weights expect, nor whether a bottleneck strides in its 1x1 convolution (as MSRA's weights do) or in its 3x3 one (as
torchvision's and these do).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from common.data.inputs import NORMALISATIONS, InputSpec
from common.errors import InputError
from common.models.layouts.layout import Layout, Parts

_BODY = "backbone.body."
_STEM = re.compile(r"(?:backbone\.(?:bottom_up\.)?)?stem\.conv1\.(norm\.)?(\w+)")
_BLOCK = re.compile(r"(?:backbone\.(?:bottom_up\.)?|roi_heads\.)?res([2-5])\.(\d+)\.(?:conv([123])|shortcut)\.(norm\.)?(\w+)")
_OTHER_PARTS = re.compile(
    r"(backbone\.(fpn|top_block)|proposal_generator|rpn|roi_heads|sem_seg_head|head|anchor_generator|pixel_mean|pixel_std)(\.|_|\d|$)"
)


def _detectron2(name: str) -> str | None:
    """Return the canonical name of a tensor of detectron2's ResNet; None for other names."""
    if match := _STEM.fullmatch(name):
        return f"{'bn1' if match[1] else 'conv1'}.{match[2]}"
    if match := _BLOCK.fullmatch(name):
        stage, block, number, norm, field = match.groups()
        layer = f"{'bn' if norm else 'conv'}{number}" if number else f"downsample.{1 if norm else 0}"
        return f"layer{int(stage) - 1}.{block}.{layer}.{field}"
    return None


def _recognises_detectron2(tensors: Mapping[str, Tensor]) -> bool:
    return any(_BLOCK.fullmatch(name) for name in tensors)


def _recognises_torchvision(tensors: Mapping[str, Tensor]) -> bool:
    return any(name.startswith(_BODY) for name in tensors)


def _read_detectron2(tensors: Mapping[str, Tensor], what: str) -> Parts:
    state: dict[str, Tensor] = {}
    left_out: list[str] = []
    for name, tensor in tensors.items():
        canonical = _detectron2(name)
        if canonical is None and _OTHER_PARTS.match(name):
            left_out.append(name)
        elif (canonical or name) in state:
            raise InputError(f"{what} holds two tensors that are {canonical or name!r} here, one of them {name!r}")
        else:
            state[canonical or name] = tensor
    return Parts(state, left_out=tuple(sorted(left_out)))


def _read_torchvision(tensors: Mapping[str, Tensor], what: str) -> Parts:
    del what
    left_out = {name for name in tensors if not name.startswith(_BODY) and _OTHER_PARTS.match(name)}
    state = {name.removeprefix(_BODY): tensor for name, tensor in tensors.items() if name not in left_out}
    return Parts(state, left_out=tuple(sorted(left_out)))


DETECTRON2 = Layout(
    "detectron2",
    "detectron2's ResNets, alone or in a detector, whose other parts are left out",
    "res2..5, shortcut",
    _recognises_detectron2,
    _read_detectron2,
)
TORCHVISION_DETECTION = Layout(
    "torchvision_detection",
    "torchvision's detectors: the ResNet under the pyramid",
    f"{_BODY}*",
    _recognises_torchvision,
    _read_torchvision,
    InputSpec(None, 3, (0.0, 1.0), *NORMALISATIONS["imagenet"], "bilinear"),
)
