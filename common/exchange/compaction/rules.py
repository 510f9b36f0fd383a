"""Rules: what one operation does to channels, forwards (constants, ties) and backwards (which of its inputs are needed).

Legend: C channels, O and I output and input channels of a layer, G its groups, K positions of its kernel.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from common.exchange.compaction.channels import Channels, Ties
from common.exchange.compaction.layers import (
    activation_of,
    affine_of,
    apply_to_constants,
    grouped_weight,
    groups_of,
    is_affine,
    is_padded,
)


class Rule(Protocol):
    """What an operation does to channels."""

    def forward(self, inputs: Sequence[Channels], ties: Ties) -> Channels | None:
        """Return the channels of the output, tying them to the inputs' where they go together; None: nothing is known."""

    def needs(self, need_C: Tensor, inputs: Sequence[Channels], output: Channels | None) -> list[Tensor]:
        """Return, for every input, which of its channels must be there with their true values, bool (C,).

        `need_C` says the same of the output's channels.
        """


class Opaque:
    """An operation that is not understood: all that it reads and all that reads it stays."""

    def forward(self, inputs: Sequence[Channels], ties: Ties) -> None:
        """Pin every input."""
        for channels in inputs:
            ties.pin(channels)

    def needs(self, need_C: Tensor, inputs: Sequence[Channels], output: Channels | None) -> list[Tensor]:
        """Need everything."""
        return [torch.ones(len(channels), dtype=torch.bool) for channels in inputs]


class Aside:
    """An operation that looks at no channel, such as reading the number of images."""

    def forward(self, inputs: Sequence[Channels], ties: Ties) -> None:
        """Return nothing."""

    def needs(self, need_C: Tensor, inputs: Sequence[Channels], output: Channels | None) -> list[Tensor]:
        """Need nothing."""
        return [torch.zeros(len(channels), dtype=torch.bool) for channels in inputs]


class Pass:
    """An operation on each channel by itself, such as ReLU or pooling.

    Args:
        constant: what it makes of a constant channel, float64 (C,) to (C,); NaN where the result is not constant.
        axis: the output's dimension that holds the channels; None: the input's.
    """

    def __init__(self, constant: Callable[[Tensor], Tensor], axis: int | None = None) -> None:
        self._constant, self._axis = constant, axis

    def forward(self, inputs: Sequence[Channels], ties: Ties) -> Channels:
        """Return the same channels."""
        (x,) = inputs
        out = x.with_constants(apply_to_constants(self._constant, x.constants))
        return out if self._axis is None else Channels(self._axis, out.ids, out.constants)

    def needs(self, need_C: Tensor, inputs: Sequence[Channels], output: Channels | None) -> list[Tensor]:
        """Need what is needed of the output."""
        return [need_C]


class Combine:
    """A sum, difference or product of two tensors, channel by channel.

    Args:
        operation: the operation, on float64 (C,) constants.
        zero_wins: whether a zero of one side makes the result zero (a product; inputs are finite).
    """

    def __init__(self, operation: Callable[[Tensor, Tensor], Tensor], *, zero_wins: bool) -> None:
        self._operation, self._zero_wins = operation, zero_wins

    def forward(self, inputs: Sequence[Channels], ties: Ties) -> Channels:
        """Tie the two sides."""
        a, b = inputs
        ties.join(a.ids, b.ids)
        constants_C = self._operation(a.constants, b.constants)
        if self._zero_wins:
            constants_C = torch.where((a.constants == 0) | (b.constants == 0), 0.0, constants_C)
        return Channels(a.axis, a.ids, constants_C)

    def needs(self, need_C: Tensor, inputs: Sequence[Channels], output: Channels | None) -> list[Tensor]:
        """Need both sides."""
        return [need_C, need_C]


class Join:
    """A concatenation of channels."""

    def forward(self, inputs: Sequence[Channels], ties: Ties) -> Channels:
        """Return the inputs' channels one after another."""
        ids_C = torch.cat([x.ids for x in inputs])
        return Channels(inputs[0].axis, ids_C, torch.cat([x.constants for x in inputs]))

    def needs(self, need_C: Tensor, inputs: Sequence[Channels], output: Channels | None) -> list[Tensor]:
        """Cut the output's needs into the inputs'."""
        return list(need_C.split([len(x) for x in inputs]))


class Flatten:
    """Channels and the positions behind them become one dimension: every channel `positions` times."""

    def __init__(self, positions: int) -> None:
        self._positions = positions

    def forward(self, inputs: Sequence[Channels], ties: Ties) -> Channels:
        """Repeat every channel."""
        (x,) = inputs
        repeat = lambda values_C: values_C.repeat_interleave(self._positions)
        return Channels(x.axis, repeat(x.ids), repeat(x.constants))

    def needs(self, need_C: Tensor, inputs: Sequence[Channels], output: Channels | None) -> list[Tensor]:
        """Need a channel that is needed anywhere."""
        return [need_C.reshape(-1, self._positions).any(1)]


class PadChannels:
    """Channels that are zero before and after those of the input (`PaddedShortcut`)."""

    def __init__(self, before: int, after: int) -> None:
        self.before, self.after = before, after

    def forward(self, inputs: Sequence[Channels], ties: Ties) -> Channels:
        """Put new channels, constant 0, around the input's."""
        (x,) = inputs
        zeros = lambda count: torch.zeros(count, dtype=torch.float64)
        ids_C = torch.cat([ties.new(self.before), x.ids, ties.new(self.after)])
        return Channels(x.axis, ids_C, torch.cat([zeros(self.before), x.constants, zeros(self.after)]))

    def needs(self, need_C: Tensor, inputs: Sequence[Channels], output: Channels | None) -> list[Tensor]:
        """Need what is needed of the input's part."""
        return [need_C[self.before : self.before + len(inputs[0])]]


class Norm:
    """A batch norm in eval mode, with the activation that its module may hold.

    A constant that is needed is made by the norm itself (weight 0) if it has a weight and a bias.
    """

    axis = 1

    def __init__(self, module: Any) -> None:
        self.module, self.makes_constants = module, is_affine(module)
        self.before_activation_C = torch.empty(0, dtype=torch.float64)

    @property
    def in_chans(self) -> int:
        """Number of channels."""
        return int(self.module.running_mean.numel())

    def forward(self, inputs: Sequence[Channels], ties: Ties) -> Channels:
        """Return the same channels, moved."""
        (x,) = inputs
        scale_C, shift_C = affine_of(self.module)
        constants_C = x.constants * scale_C + shift_C
        self.before_activation_C = torch.where(scale_C == 0, shift_C, constants_C)
        activation = activation_of(self.module)
        assert activation is not None
        after_C = apply_to_constants(activation, self.before_activation_C)
        return Channels(x.axis, x.ids, torch.where(self.before_activation_C.isnan(), torch.nan, after_C))

    def needs(self, need_C: Tensor, inputs: Sequence[Channels], output: Channels | None) -> list[Tensor]:
        """Need no input for a constant that the norm makes itself."""
        assert output is not None
        return [need_C & output.varying if self.makes_constants else need_C]


class Layer:
    """A convolution or linear layer: the one place where channels mix.

    A constant input channel folds into the layer's bias, unless the layer pads it with zeros and it is none itself.

    Args:
        module: the layer.
        axis: the dimension of its input that holds the channels.
    """

    def __init__(self, module: Any, *, axis: int) -> None:
        self.module, self.axis = module, axis
        self.groups, self.is_padded = groups_of(module), is_padded(module)
        weight_GOIK = grouped_weight(module)
        self._reads_GOI = (weight_GOIK != 0).any(-1)
        self._sums_GOI = weight_GOIK.sum(-1)
        bias = getattr(module, "bias", None)
        self._bias_GO = torch.zeros(self._sums_GOI.shape[:2], dtype=torch.float64)
        if bias is not None:
            self._bias_GO = bias.detach().to("cpu", torch.float64).reshape(self._bias_GO.shape)

    @property
    def in_chans(self) -> int:
        """Number of input channels."""
        return self._reads_GOI.shape[0] * self._reads_GOI.shape[2]

    def forward(self, inputs: Sequence[Channels], ties: Ties) -> Channels:
        """Return new channels; those of one group are tied to the group's inputs, which keeps the groups alike."""
        (x,) = inputs
        out = ties.fresh(self._bias_GO.numel(), x.axis)
        if self.groups > 1:
            self._tie_groups(x, out, ties)
        open_GI = self._unfolded(x)
        constants_GO = torch.where((self._reads_GOI & open_GI[:, None]).any(-1), torch.nan, self._bias_GO + self._folded(x))
        return Channels(x.axis, out.ids, constants_GO.reshape(-1))

    def needs(self, need_C: Tensor, inputs: Sequence[Channels], output: Channels | None) -> list[Tensor]:
        """Need the inputs that do not fold, where an output that varies and is needed reads them."""
        assert output is not None
        active_GO = (need_C & output.varying).reshape(self._bias_GO.shape)
        return [((self._reads_GOI & active_GO[:, :, None]).any(1) & self._unfolded(inputs[0])).reshape(-1)]

    def folded(self, x: Channels) -> Tensor:
        """Return what the constant inputs that fold add to every output, float64 (O,)."""
        return self._folded(x).reshape(-1)

    def _folded(self, x: Channels) -> Tensor:
        constants_GI = torch.where(self._unfolded(x), 0.0, x.constants.reshape(self.groups, -1))
        return torch.einsum("goi,gi->go", self._sums_GOI, constants_GI)

    def _unfolded(self, x: Channels) -> Tensor:
        """Bool (G, I): inputs whose effect is no constant."""
        open_C = x.varying | (x.constants != 0) if self.is_padded else x.varying
        return open_C.reshape(self.groups, -1)

    def _tie_groups(self, x: Channels, out: Channels, ties: Ties) -> None:
        for ins, outs in zip(x.ids.reshape(self.groups, -1), out.ids.reshape(self.groups, -1), strict=True):
            whole = [*ins.tolist(), *outs.tolist()]
            ties.join(whole[1:], [whole[0]] * (len(whole) - 1))
