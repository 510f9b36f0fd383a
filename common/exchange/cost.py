"""What a network costs: parameters, multiply-accumulates (MACs) and bytes, dense and under a mask, layer by layer.

MACs are those of convolutions and linear layers for one input: output positions x weights. Every weight of a kernel counts at
every output position, also where it lies on the zeros of the padding: so does the field, and so a dense convolution computes.
Under the mask, only kept weights count. Biases, norms, activations and pooling are not counted. What else torch counts (products
of two activations, as in attention, and transposed convolutions) is `other_macs`, the same with and without a mask.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from common.errors import InputError
from common.models.features import evaluating
from common.tickets.mask import Mask
from common.tickets.scope import prunable_weights, stem_name

INDEX_BYTES = 4


@dataclass(frozen=True)
class Parts:
    """How many parts of one kind a layer has, and how many of them are dead."""

    count: int
    dead: int


@dataclass(frozen=True)
class LayerCost:
    """One convolution or linear layer.

    Attributes:
        name: of its weight.
        kind: the type that it is or extends: Conv1d, Conv2d, Conv3d, Linear.
        in_scope: whether the mask covers it.
        shape: of its weight.
        groups: of the convolution; 1 for a linear layer.
        positions: output positions at which the weights act on one input, over all calls; 0 if the layer was not called.
        kept: kept weights; all of them where it is not in scope.
        kernels: (out, in) slices of the weight; dead if all zero under the mask.
        filters: output channels; dead if they read nothing under the mask.
        inputs: input channels; dead if nothing of this layer reads them under the mask.
    """

    name: str
    kind: str
    in_scope: bool
    shape: tuple[int, ...]
    groups: int
    positions: int
    kept: int
    kernels: Parts
    filters: Parts
    inputs: Parts

    @property
    def weights(self) -> int:
        """Number of weights."""
        return prod(self.shape)

    @property
    def macs(self) -> int:
        """Dense MACs for one input."""
        return self.positions * self.weights

    @property
    def masked_macs(self) -> int:
        """MACs of the kept weights for one input."""
        return self.positions * self.kept


@dataclass(frozen=True)
class Storage:
    """Bytes that a network's tensors take, its buffers (norm statistics) among them.

    Attributes:
        dense: every value as it is.
        packed: of tensors in scope one bit per weight (each tensor filled up to a byte) and the kept values; the rest dense.
        index_value: of tensors in scope a 32-bit index and the value of every kept weight; the rest dense.
    """

    dense: int
    packed: int
    index_value: int


@dataclass(frozen=True)
class Cost:
    """What a network costs under a mask.

    Attributes:
        layers: every convolution and linear layer, in order of registration.
        size: height and width of the input in pixels; None where other inputs than one image were given.
        parameters: of the whole network: norms, biases and head among them.
        other_macs: MACs of everything but the layers for one input.
        storage: bytes.
    """

    layers: tuple[LayerCost, ...]
    size: tuple[int, int] | None
    parameters: int
    other_macs: int
    storage: Storage

    @property
    def scope_weights(self) -> int:
        """Weights in scope: the denominator that sparsity *in scope* is given over."""
        return sum(layer.weights for layer in self.layers if layer.in_scope)

    @property
    def pruned(self) -> int:
        """Pruned weights."""
        return sum(layer.weights - layer.kept for layer in self.layers)

    @property
    def macs(self) -> int:
        """Dense MACs for one input."""
        return sum(layer.macs for layer in self.layers) + self.other_macs

    @property
    def masked_macs(self) -> int:
        """MACs under the mask for one input."""
        return sum(layer.masked_macs for layer in self.layers) + self.other_macs


def cost(model: nn.Module, mask: Mask | None, size: int | tuple[int, int] | None, *, inputs: Sequence[Any] | None = None) -> Cost:
    """Count what a model costs, by running it once in eval mode.

    A weight that is used without its module being called (as inside torch's own attention) counts in `other_macs`.

    Args:
        model: any module; subclasses of torch's convolutions and linear layers count as those.
        mask: what is kept, by names of the model's parameters; None: nothing is in scope.
        size: side, or height and width, in pixels, of the image that the model is run on.
        inputs: what the model is called with instead, for one that takes something else (a detector's list of one image); `size`
            is None then.

    Raises:
        InputError: the mask does not fit, neither or both of size and inputs are given, or the model fails on its input.
    """
    if (size is None) == (inputs is None):
        raise InputError("the cost of a model needs a size in pixels or inputs, and not both")
    kept, kinds = dict(mask or {}), prunable_weights(model)
    _check_mask(kept, model, kinds)
    shape = (size, size) if isinstance(size, int) else size
    positions, flops = _run(model, kinds, [_image(model, shape)] if inputs is None else inputs)
    layers = tuple(_layer(model, name, kind, kept.get(name), positions[name]) for name, kind in kinds.items())
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return Cost(layers, shape, parameters, flops // 2 - sum(layer.macs for layer in layers), _storage(model, kept))


def _check_mask(kept: Mapping[str, Tensor], model: nn.Module, kinds: Mapping[str, str]) -> None:
    own = dict(model.named_parameters())
    for name, tensor in kept.items():
        if name not in kinds or own[name].shape != tensor.shape:
            got = f"shape {tuple(own[name].shape)}" if name in kinds else "no convolution or linear layer of that name"
            raise InputError(f"the mask has {name!r} of shape {tuple(tensor.shape)}, the model {got}")


def _image(model: nn.Module, shape: tuple[int, int] | None) -> Tensor:
    assert shape is not None
    stem = stem_name(model)
    if stem is None or min(shape) < 1:
        why = f"got {min(shape)} pixels" if stem is not None else "the model has no convolution that tells the image's channels"
        raise InputError(f"the cost of a model needs an image of at least 1 pixel, or inputs: {why}")
    weight: Any = model.get_submodule(stem).weight
    return weight.new_zeros((1, weight.shape[1] * int(getattr(model.get_submodule(stem), "groups", 1)), *shape))


def _run(model: nn.Module, kinds: Mapping[str, str], inputs: Sequence[Any]) -> tuple[Counter[str], int]:
    """Run a model once; return the output positions of every layer, and all FLOPs that torch counts (2 for each MAC)."""
    positions: Counter[str] = Counter()

    def count(name: str, out_axis: int) -> Callable[[nn.Module, Any, Tensor], None]:
        return lambda module, given, output: positions.update({name: output.numel() // output.shape[out_axis]})

    counter = FlopCounterMode(display=False)
    with ExitStack() as stack:
        for name, kind in kinds.items():
            module, axis = model.get_submodule(name.rpartition(".")[0]), -1 if kind == "Linear" else 1
            handle = module.register_forward_hook(count(name, axis))
            stack.callback(handle.remove)
        stack.enter_context(evaluating(model))
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))  # torch's counter does not know the CPU's fused attention
        stack.enter_context(counter)
        try:
            model(*inputs)
        except Exception as error:  # any model may refuse a size in its own way
            why = " ".join(str(error).split())[:200] or type(error).__name__
            raise InputError(
                f"the model ({type(model).__name__}) cannot be run on this input: {why}; choose another size"
            ) from error
    return positions, counter.get_total_flops()


def _layer(model: nn.Module, name: str, kind: str, kept: Tensor | None, positions: int) -> LayerCost:
    module: Any = model.get_submodule(name.rpartition(".")[0])
    shape, groups = tuple(module.weight.shape), int(getattr(module, "groups", 1))
    in_scope = kept is not None
    kept = torch.ones(shape, dtype=torch.bool) if kept is None else kept
    reads_GOI = kept.reshape(groups, shape[0] // groups, shape[1], -1).any(-1)
    dead = [_dead(reads_GOI), _dead(reads_GOI.any(2)), _dead(reads_GOI.any(1))]
    return LayerCost(name, kind, in_scope, shape, groups, positions, int(kept.sum()), *dead)


def _dead(reads: Tensor) -> Parts:
    return Parts(reads.numel(), int((~reads).sum()))


def _storage(model: nn.Module, kept: Mapping[str, Tensor]) -> Storage:
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    rest = sum(tensor.nbytes for name, tensor in tensors.items() if name not in kept)
    values = sum(int(mask.sum()) * tensors[name].itemsize for name, mask in kept.items())
    bits = sum(-(-mask.numel() // 8) for mask in kept.values())
    indices = INDEX_BYTES * sum(int(mask.sum()) for mask in kept.values())
    dense = sum(tensor.nbytes for tensor in tensors.values())
    return Storage(dense, rest + bits + values, rest + indices + values)
