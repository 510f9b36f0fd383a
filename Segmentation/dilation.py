"""Output stride: the last stages of a ResNet keep the side of their maps, and their kernels are dilated instead.

No parameter changes its name or shape, so a ticket's mask fits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from common.errors import InputError
from common.models.resnet import PaddedShortcut
from Segmentation.stages import Stage, stages_of

_KNOWN = (nn.Conv2d, PaddedShortcut)


def dilate_(backbone: nn.Module, output_stride: int | None, in_chans: int = 3) -> tuple[Stage, ...]:
    """Give a ResNet an output stride, in place (Chen et al. 2017, arXiv:1706.05587, section 3.1; as torchvision does it).

    In a stage that would exceed it, strides become 1; kernels that follow are spread by what the strides would have been, the
    strided kernel itself by what those before it were.

    Args:
        backbone: a ResNet of `common.models.backbones`.
        output_stride: side of the images over that of the last map, one of the strides that the stages have; None: as it is.
        in_chans: image channels.

    Returns:
        The stages as they are now.

    Raises:
        InputError: the network has no stage of that stride, or has something strided that cannot be dilated.
    """
    stages = stages_of(backbone, in_chans)
    if output_stride is None or output_stride == stages[-1].stride:
        return stages
    strides = sorted({stage.stride for stage in stages})
    arch: Any = getattr(backbone, "arch", {"name": type(backbone).__name__, "stem": "native"})
    if output_stride not in strides:
        raise InputError(
            f"model.output_stride: got {output_stride}, expected null or one of {', '.join(map(str, strides))}, "
            f"the strides of {arch['name']} with a {arch['stem']} stem"
        )
    late = [number for number, stage in enumerate(stages) if stage.stride > output_stride]
    parts = [getattr(backbone, f"layer{number}", None) for number in late]
    if late[0] == 0 or not all(isinstance(part, nn.Sequential) for part in parts):
        raise InputError(
            f"model.output_stride: got {output_stride}, expected {stages[-1].stride} or null for {arch['name']}: only ResNets "
            f"(layer1, layer2 ...) are dilated"
        )
    _check(parts, late, str(arch["name"]))
    rate = 1
    for part in parts:
        for block in part:  # type: ignore[union-attr]
            rate = _dilate_block_(block, rate)
    return stages_of(backbone, in_chans)


def _check(parts: Sequence[Any], late: Sequence[int], name: str) -> None:
    """Refuse what has a stride and is no convolution, before anything is changed."""
    for number, part in zip(late, parts, strict=True):
        for key, module in part.named_modules():
            stride = getattr(module, "stride", 1)
            is_operation = next(module.children(), None) is None  # a block knows its stride too
            if is_operation and stride not in (1, (1, 1)) and not isinstance(module, _KNOWN):
                raise InputError(
                    f"model.output_stride: layer{number}.{key} of {name} is a {type(module).__name__} of stride {stride}, which "
                    f"cannot be dilated; expected a ResNet whose convolutions have the strides, or model.output_stride null"
                )


def _dilate_block_(block: nn.Module, rate: int) -> int:
    """Dilate the convolutions of a block whose input has been spread by `rate`; return by how much its output is."""
    for name, module in block.named_modules():
        if isinstance(module, PaddedShortcut):
            module.stride = 1
        elif isinstance(module, nn.Conv2d):
            stride, module.stride = module.stride[0], (1, 1)
            if module.kernel_size[0] > 1:
                module.dilation = (rate, rate)
                module.padding = (rate * (module.kernel_size[0] // 2),) * 2
            if not name.startswith("downsample"):
                rate *= stride
    return rate
