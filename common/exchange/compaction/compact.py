"""Compact a masked network: the same function with fewer channels, as a module of the same class with thinner layers.

A channel goes when nothing that reaches the output reads it (its readers are pruned), when it is constant and zero, or when it
is constant and folds exactly: into the bias of layers that read it without padding, or the running mean of the norm behind them.
A channel of a residual stream goes only if that holds for all that write and read it, since the sides of a sum must be alike; a
constant that a padded layer reads stays, because the border sees zeros instead of it. What is not understood keeps its channels.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from common.errors import InputError, RunError
from common.exchange.compaction.analysis import Analysis, analyse, opaque_steps
from common.exchange.compaction.rules import Layer
from common.exchange.compaction.surgery import Cut, cut_
from common.exchange.compaction.trace import trace

COMPACTED = "compacted"
_TOLERANCE = 1e-8


@dataclass(frozen=True)
class Compaction:
    """A compacted network and what was done to it.

    Attributes:
        network: the network, in eval mode, of the class, device and types of the one given.
        cuts: which channels stay, for every module that was understood, by name.
        counts: output channels of all convolutions and linear layers that were understood: "removed", "active" (they vary and are
            needed), and those that stay although they do no work: "constant" (a padded layer, an operation that is not
            understood, or the output reads the constant), "tied" (the other side of a sum, or their group, is needed), "only" (a
            layer cannot be empty).
        opaque: operations that are not understood -> number of channels that they keep.
    """

    network: nn.Module
    cuts: Mapping[str, Cut]
    counts: Mapping[str, int]
    opaque: Mapping[str, int]


def compacted(network: nn.Module, example_NCHW: Tensor) -> nn.Module:
    """Return a copy of a masked network that computes the same in eval mode with fewer channels; see `compact`."""
    return compact(network, example_NCHW).network


def compact(network: nn.Module, example_NCHW: Tensor) -> Compaction:
    """Compact a copy of a network whose pruned weights are zero.

    The copy is for inference: in training mode batch statistics would see other channels. It is checked before it is returned:
    in float64 its outputs on the example equal the network's.

    Args:
        network: any module whose forward pass takes one tensor and can be traced by torch.fx; it stays as it is.
        example_NCHW: input of the network, float (N, C, H, W); random values make the check sharper than zeros.

    Raises:
        InputError: the network cannot be copied or traced, or the example does not fit it.
        RunError: the outputs differ; the network does something that was misunderstood, or its outputs are not finite.
    """
    before = _copied(network).cpu().double().eval()
    example = example_NCHW.detach().to("cpu", torch.float64)
    traced = trace(before, example)
    analysis = analyse(traced)
    after = copy.deepcopy(before)
    cuts = cut_(after, analysis)
    check_same(before, after, example, _TOLERANCE)
    _restore_types_(after, network)
    for module in after.modules():
        if isinstance(getattr(module, "arch", None), Mapping):
            module.arch = {**module.arch, "variant": COMPACTED}  # type: ignore[assignment, dict-item]
    opaque: Counter[str] = Counter()
    for node, channels in opaque_steps(analysis, traced):
        opaque[str(node.target if isinstance(node.target, str) else node.name)] += channels
    return Compaction(after, cuts, _counts(analysis), dict(opaque))


def _copied(network: nn.Module) -> nn.Module:
    try:
        return copy.deepcopy(network)
    except RuntimeError as error:  # torch copies no tensor that is a result of a graph
        why = " ".join(str(error).split())[:120]
        raise InputError(
            f"the network cannot be copied, since a weight of it is computed by hooks (torch.nn.utils.prune, weight_norm); "
            f"remove them first, as torch.nn.utils.prune.remove does: {why}"
        ) from error


def check_same(before: nn.Module, after: nn.Module, example: Tensor, tolerance: float) -> float:
    """Compare the outputs of two networks.

    Args:
        before: a network.
        after: what must compute the same.
        example: input of both.
        tolerance: largest difference, as a fraction of the largest magnitude in the output (at least 1).

    Returns:
        The largest difference, as that fraction.

    Raises:
        RunError: it is larger, or an output is not finite.
    """
    with torch.no_grad():
        expected, got = tree_leaves(before(example)), tree_leaves(after(example))
    largest = 0.0
    for a, b in zip(expected, got, strict=True):
        if isinstance(a, Tensor) and a.numel():
            scale = max(1.0, float(a.abs().max()))
            difference = float((a - b).abs().max()) / scale if a.shape == b.shape else float("inf")
            largest = max(largest, difference) if difference == difference else float("nan")
    if not largest <= tolerance:
        raise RunError(
            f"the compacted network's outputs differ from the masked network's by {largest:g} of their size, expected at most "
            f"{tolerance:g}; the network holds weights that are not finite or does something that compaction misunderstands"
        )
    return largest


def _restore_types_(after: nn.Module, network: nn.Module) -> None:
    """Give a compacted network the types and devices of the original; a bias that is new takes its weight's."""
    named = (network.named_parameters(remove_duplicate=False), network.named_buffers(remove_duplicate=False))
    own = dict(chain(*named))
    for prefix, module in after.named_modules():
        for stored in (module._parameters, module._buffers):
            for name, tensor in stored.items():
                path = f"{prefix}.{name}" if prefix else name
                if tensor is not None:
                    model = own.get(path, own.get(f"{path.rpartition('.')[0]}.weight"))
                    assert model is not None
                    tensor.data = tensor.data.to(model.device, model.dtype)


def _counts(analysis: Analysis) -> dict[str, int]:
    counts = dict.fromkeys(("removed", "active", "constant", "tied", "only"), 0)
    for step in analysis.steps:
        if not isinstance(step.rule, Layer):
            continue
        assert step.output is not None
        ids_C = step.output.ids
        present_C, active_C = analysis.present[ids_C], analysis.needs_of(step) & step.output.varying
        idle_C = present_C & ~active_C
        tied_C = idle_C & analysis.varying[ids_C]
        constant_C = idle_C & ~tied_C & analysis.needed[ids_C]
        counts["removed"] += int((~present_C).sum())
        counts["active"] += int(active_C.sum())
        counts["tied"] += int(tied_C.sum())
        counts["constant"] += int(constant_C.sum())
        counts["only"] += int((idle_C & ~tied_C & ~constant_C).sum())
    return counts
