"""Find which channels of a traced network must be there: constants forwards, needs backwards.

A channel *varies* or is constant; it is *needed* where something that reaches the output reads its true value and cannot fold it;
it is *present* if it, or a channel that it is tied to, is needed. Constants do not depend on needs, and needs depend on
constants and on needs further on only, so one pass each way is the fixpoint (a convolution of which one group is left could, as
one without groups, lose more; it is left as it is).

Legend: C channels of a tensor, M all channels of all tensors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, fx

from common.exchange.compaction.channels import Channels, Ties
from common.exchange.compaction.rule_table import find_rule, tensor_inputs
from common.exchange.compaction.rules import Layer, Norm, Opaque, Rule
from common.exchange.compaction.trace import Traced


@dataclass(frozen=True)
class Step:
    """One operation: its rule, the operations that it reads, and the channels on both sides.

    A source is None where a layer reads a tensor of which nothing is known; so is the output of what is not understood.
    """

    node: fx.Node
    rule: Rule
    sources: tuple[fx.Node | None, ...]
    inputs: tuple[Channels, ...]
    output: Channels | None


@dataclass(frozen=True)
class Analysis:
    """What a network's channels are.

    Attributes:
        steps: operations in the order in which they run.
        needs: which channels of an operation's output are needed, bool (C,).
        classes: which channels stay or go together, int64 class of every channel.
        present: which are to stay, bool; alike within a class.
        varying: which classes hold a channel that is needed and varies, bool per channel.
        needed: which classes hold a channel that is needed at all, bool per channel.
    """

    steps: tuple[Step, ...]
    needs: Mapping[fx.Node, Tensor]
    classes: Tensor
    present: Tensor
    varying: Tensor
    needed: Tensor

    def kept(self, channels: Channels) -> Tensor:
        """Return the positions of the channels that stay, int64, ascending."""
        return self.present[channels.ids].nonzero().squeeze(1)

    def needs_of(self, step: Step) -> Tensor:
        """Return which channels of an operation's output are needed, bool (C,)."""
        assert step.output is not None
        return self.needs.get(step.node, torch.zeros(len(step.output), dtype=torch.bool))


def analyse(traced: Traced) -> Analysis:
    """Find what must stay of a traced network."""
    ties = Ties()
    steps = _forwards(traced, ties)
    pinned_M, classes_M = ties.pinned(), ties.classes()
    needs, needed_M, varying_M = _backwards(steps, len(classes_M))
    varying_M |= pinned_M & ~needed_M  # inputs of layers of which nothing is known
    needed_M, varying_M = (_of_classes(marks_M, classes_M) for marks_M in (needed_M | pinned_M, varying_M))
    return Analysis(tuple(steps), needs, classes_M, _without_empty(steps, needed_M, classes_M), varying_M, needed_M)


def _forwards(traced: Traced, ties: Ties) -> list[Step]:
    known: dict[fx.Node, Channels | None] = {}
    steps = []
    for node in traced.graph.nodes:
        sources = tensor_inputs(node, traced)
        inputs = [known[one] for one in sources]
        rule = find_rule(node, traced, inputs)
        pairs: list[tuple[fx.Node | None, Channels]] = [(one, x) for one, x in zip(sources, inputs, strict=True) if x is not None]
        if isinstance(rule, Layer | Norm) and not _fits(inputs[0], rule):
            if pairs:
                Opaque().forward(_apart(pairs)[1], ties)
                steps.append(Step(node, Opaque(), *_apart(pairs), None))
            pairs = [(None, ties.unknown(rule.in_chans, rule.axis))]
        known[node] = rule.forward(_apart(pairs)[1], ties)
        steps.append(Step(node, rule, *_apart(pairs), known[node]))
    return steps


def _fits(x: Channels | None, rule: Layer | Norm) -> bool:
    return x is not None and x.axis == rule.axis and len(x) == rule.in_chans


def _apart(pairs: Sequence[tuple[fx.Node | None, Channels]]) -> tuple[tuple[fx.Node | None, ...], tuple[Channels, ...]]:
    return tuple(node for node, _ in pairs), tuple(x for _, x in pairs)


def _backwards(steps: list[Step], count: int) -> tuple[dict[fx.Node, Tensor], Tensor, Tensor]:
    """Return what is needed of every output, and marks over all channels: needed, and needed while it varies; bool (M,)."""
    needs: dict[fx.Node, Tensor] = {}
    needed_M, varying_M = torch.zeros(count, dtype=torch.bool), torch.zeros(count, dtype=torch.bool)
    for step in reversed(steps):
        need_C = torch.zeros(0, dtype=torch.bool)
        if step.output is not None:
            need_C = needs.setdefault(step.node, torch.zeros(len(step.output), dtype=torch.bool))
            needed_M[step.output.ids[need_C]] = True
            varying_M[step.output.ids[need_C & step.output.varying]] = True
        for source, wanted_C in zip(step.sources, step.rule.needs(need_C, step.inputs, step.output), strict=True):
            if source is not None:
                needs[source] = needs[source] | wanted_C if source in needs else wanted_C
    return needs, needed_M, varying_M


def _of_classes(marks_M: Tensor, classes_M: Tensor) -> Tensor:
    """Spread marks to whole classes."""
    found_M = torch.zeros_like(marks_M)
    found_M[classes_M[marks_M]] = True
    return found_M[classes_M]


def _without_empty(steps: list[Step], present_M: Tensor, classes_M: Tensor) -> Tensor:
    """Keep a first channel where none would be left: torch has no convolution without channels."""
    present_M = present_M.clone()
    for step in steps:
        for channels in (*step.inputs, *([] if step.output is None else [step.output])):
            if len(channels) and not bool(present_M[channels.ids].any()):
                present_M |= classes_M == classes_M[channels.ids[0]]
    return present_M


def opaque_steps(analysis: Analysis, traced: Traced) -> list[tuple[fx.Node, int]]:
    """Return the operations that are not understood, and how many channels each keeps: those that it reads.

    Where nothing is known of what it reads, they are its own filters. The network's output is none of these operations.
    """
    found = []
    for step in analysis.steps:
        if isinstance(step.rule, Opaque) and step.node.op != "output":
            own = getattr(traced.modules[str(step.node.target)], "weight", None) if step.node.op == "call_module" else None
            channels = sum(len(x) for x in step.inputs) or (0 if own is None else len(own))
            found += [(step.node, channels)] if channels else []
    return found
