"""Narrower networks: ResNets whose stages have a part of the channels of the published ones."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from common.errors import InputError

TIMM_CHANNELS = (64, 128, 256, 512)
"""Of the stages of every ResNet of timm's; bottlenecks have four times as many."""


def narrowed(channels: Sequence[int], width: float) -> tuple[int, ...]:
    """Return a part of each stage's channels, rounded, at least one: more with every greater width.

    Args:
        channels: of the stages, at width 1.
        width: multiple, in (0, 1].
    """
    return tuple(max(1, round(number * width)) for number in channels)


def narrow_timm(name: str, in_chans: int, width: float) -> nn.Module:
    """Build a ResNet of timm whose stages are narrower; the stem, which is not pruned either, keeps its channels.

    Raises:
        InputError: the model is no ResNet of timm's, or cannot be that narrow.
    """
    import timm
    from timm.models import is_model_in_modules

    known = "expected 1: narrower networks are built of our own ResNets and of timm's (resnet18, resnet50 ...)"
    if not is_model_in_modules(name, {"resnet"}):
        raise InputError(f"model.width: got {width:g} for {name}, {known}")
    try:
        return timm.create_model(name, num_classes=0, in_chans=in_chans, channels=narrowed(TIMM_CHANNELS, width))
    except Exception as error:  # blocks with groups or attention check their channels in many ways
        why = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"model.width: {name} cannot be built at {width:g}: {why}; give a greater width") from error
