"""Cut channels out of a network's modules in place, folding constants into what stays.

Legend: C channels, O and I output and input channels of a layer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from common.exchange.compaction.analysis import Analysis, Step
from common.exchange.compaction.layers import groups_of
from common.exchange.compaction.rules import Layer, Norm, PadChannels


@dataclass(frozen=True)
class Cut:
    """What stays of a module: positions of input and output channels, int64, ascending, and their numbers before.

    Of a norm both are the same; of a `PaddedShortcut` the output counts the channels that it adds.
    """

    inputs: Tensor
    outputs: Tensor
    in_chans: int
    out_chans: int


def cut_(network: nn.Module, analysis: Analysis) -> dict[str, Cut]:
    """Cut a network to the channels that stay, in place.

    Args:
        network: the network that was analysed; its weights may be of any floating type.
        analysis: which channels stay.

    Returns:
        The cut of every module that was understood, by name.
    """
    cuts: dict[str, Cut] = {}
    moved: dict[fx.Node, Tensor] = {}
    for step in analysis.steps:
        if not isinstance(step.rule, Layer | Norm | PadChannels):
            continue
        module, (x,) = network.get_submodule(str(step.node.target)), step.inputs
        assert step.output is not None
        cut = Cut(analysis.kept(x), analysis.kept(step.output), len(x), len(step.output))
        if isinstance(step.rule, Layer):
            moved.update(_fold_(module, step, analysis))
        elif isinstance(step.rule, Norm):
            _settle_(module, step.rule, moved.get(step.node), step.output.varying)
        shrink_(module, cut)
        cuts[str(step.node.target)] = cut
    return cuts


def shrink_(module: Any, cut: Cut) -> None:
    """Take channels out of a convolution, linear layer, batch norm or `PaddedShortcut`, in place; values stay as they are."""
    if hasattr(module, "before"):
        first = module.before + cut.in_chans
        module.before = int((cut.outputs < module.before).sum())
        module.after = int((cut.outputs >= first).sum())
        return
    if hasattr(module, "running_mean"):
        for name in ("weight", "bias", "running_mean", "running_var"):
            _keep_(module, name, cut.outputs)
        if hasattr(module, "num_features"):
            module.num_features = len(cut.outputs)
        return
    _keep_(module, "weight", cut.outputs)
    _keep_(module, "bias", cut.outputs)
    if groups_of(module) == 1:
        replace_(module, "weight", module.weight.detach()[:, cut.inputs])
    else:
        module.groups = module.groups * len(cut.inputs) // cut.in_chans
    counted = ("in_features", "out_features") if hasattr(module, "in_features") else ("in_channels", "out_channels")
    for name, kept in zip(counted, (cut.inputs, cut.outputs), strict=True):
        setattr(module, name, len(kept))


def replace_(module: nn.Module, name: str, value: Tensor) -> None:
    """Put a tensor of another shape in the place of a module's parameter or buffer."""
    value = value.detach().clone(memory_format=torch.contiguous_format)
    if name in module._buffers:
        module._buffers[name] = value
        return
    old = module._parameters.get(name)
    module.register_parameter(name, nn.Parameter(value, requires_grad=True if old is None else old.requires_grad))


def _keep_(module: nn.Module, name: str, kept: Tensor) -> None:
    value = getattr(module, name, None)
    if value is not None:
        replace_(module, name, value.detach()[kept.to(value.device)])


def _fold_(module: Any, step: Step, analysis: Analysis) -> Mapping[fx.Node, Tensor]:
    """Zero what does no longer count, and put constants where they fold to.

    Returns:
        The norm behind the layer -> what is to be taken from its running mean, (O,), if the constants fold there.
    """
    layer, output, (x,) = step.rule, step.output, step.inputs
    assert isinstance(layer, Layer)
    assert output is not None
    need_O, varying_O = analysis.needs_of(step), output.varying
    weight = module.weight.detach()
    with torch.no_grad():
        weight[~(need_O & varying_O)] = 0
        _drop_inputs_(weight, layer, layer.needs(need_O, step.inputs, output)[0])
    constant_O = torch.where(need_O & ~varying_O, output.constants, 0.0)
    added_O = torch.where(need_O & varying_O, layer.folded(x), constant_O)
    if module.bias is None:
        norms = [user for user in step.node.users if any(s.node is user and isinstance(s.rule, Norm) for s in analysis.steps)]
        if len(step.node.users) == len(norms) == 1:
            return {norms[0]: added_O.to(weight)}
        if bool(added_O.any()):
            replace_(module, "bias", added_O.to(weight))
    else:
        kept_O = torch.where((need_O & varying_O).to(weight.device), module.bias.detach(), 0)
        replace_(module, "bias", kept_O + added_O.to(weight))
    return {}


def _drop_inputs_(weight: Tensor, layer: Layer, wanted_I: Tensor) -> None:
    """Zero the columns of inputs that are folded or read by nothing that is needed."""
    by_group = weight.view(layer.groups, weight.shape[0] // layer.groups, *weight.shape[1:])
    for columns, wanted in zip(by_group, wanted_I.reshape(layer.groups, -1), strict=True):
        columns[:, ~wanted.to(weight.device)] = 0


def _settle_(norm: Any, rule: Norm, folded_C: Tensor | None, varying_C: Tensor) -> None:
    """Make a norm produce its constants whatever it reads, and take from its mean what was folded before it."""
    with torch.no_grad():
        if rule.makes_constants:
            constant_C = ~varying_C.to(norm.weight.device)
            norm.weight.detach()[constant_C] = 0
            norm.bias.detach()[constant_C] = rule.before_activation_C[~varying_C].to(norm.bias)
        if folded_C is not None:
            norm.running_mean -= folded_C
