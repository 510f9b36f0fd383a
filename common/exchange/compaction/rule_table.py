"""Which rule an operation of a traced network follows; `Opaque` for all that is not recognised here."""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import partial
from math import prod
from typing import Any

import torch
from torch import Tensor, fx, nn

from common.exchange.compaction import layers
from common.exchange.compaction.channels import Channels
from common.exchange.compaction.rules import Aside, Combine, Flatten, Join, Layer, Norm, Opaque, PadChannels, Pass, Rule
from common.exchange.compaction.trace import Traced, operation_name
from common.models.resnet import PaddedShortcut

_ELEMENTWISE = (
    *("relu", "relu_", "relu6", "leaky_relu", "leaky_relu_", "elu", "elu_", "gelu", "silu", "mish", "softplus"),
    *("sigmoid", "sigmoid_", "tanh", "tanh_", "hardswish", "hardsigmoid", "hardtanh", "neg"),
)
_COMBINE: dict[str, tuple[Callable[[Any, Any], Any], bool]] = {
    **dict.fromkeys(("add", "add_", "iadd"), (operator.add, False)),
    **dict.fromkeys(("sub", "sub_", "isub"), (operator.sub, False)),
    **dict.fromkeys(("mul", "mul_", "imul"), (operator.mul, True)),
}
_POOLS = {"max_pool2d": 2, "avg_pool2d": 2, "adaptive_avg_pool2d": 2, "adaptive_max_pool2d": 2}
_RESIZED = ("nearest", "nearest-exact", "bilinear", "bicubic", "area")


def find_rule(node: fx.Node, traced: Traced, inputs: list[Channels | None]) -> Rule:
    """Return the rule of an operation.

    Args:
        node: the operation.
        traced: the graph that it belongs to.
        inputs: the channels of `tensor_inputs`; None where nothing is known of them.
    """
    if node in traced.doubtful or node not in traced.shapes:
        return Aside() if _reads_other_sizes(node, traced, inputs) else Opaque()
    if node.op == "call_module":
        return _of_module(traced.modules[str(node.target)], node, traced, inputs)
    known = [x for x in inputs if x is not None]
    if node.op in ("call_function", "call_method") and known and len(known) == len(inputs):
        return _of_function(node, traced, known)
    return Opaque()


def tensor_inputs(node: fx.Node, traced: Traced) -> list[fx.Node]:
    """Return the operations whose tensors a node reads, in order; sizes and other plain values are left out."""
    return [one for one in node.all_input_nodes if one in traced.shapes]


def _of_module(module: Any, node: fx.Node, traced: Traced, inputs: list[Channels | None]) -> Rule:
    kind, source = type(module), node.args[0] if len(node.args) == 1 and not node.kwargs else None
    if layers.has_hooks(module) or not isinstance(source, fx.Node) or source not in traced.shapes:
        return Opaque()
    dims = len(traced.shapes[source])
    if kind is nn.Linear and dims >= 2:
        return Layer(module, axis=dims - 1)
    if kind in layers.CONVOLUTIONS:
        plain = dims == layers.CONVOLUTIONS[kind] + 2 and module.padding_mode == "zeros"
        return Layer(module, axis=1) if plain else Opaque()
    if layers.is_norm(module) and not module.training:
        return Norm(module)
    (x,) = inputs
    if x is None:
        return Opaque()
    if layers.is_identity(module):
        return Pass(lambda values_C: values_C)
    if kind in layers.ELEMENTWISE:
        return Pass(module)
    if kind is PaddedShortcut:
        return PadChannels(module.before, module.after)
    return _of_shaping_module(module, x, traced.shapes[source])


def _of_shaping_module(module: Any, x: Channels, shape: tuple[int, ...]) -> Rule:
    kind = type(module)
    pools = {**layers.MAX_POOLS, **layers.AVERAGE_POOLS, **layers.GLOBAL_POOLS}
    if x.axis == 1 and kind in pools and len(shape) == pools[kind] + 2 and not getattr(module, "return_indices", False):
        keeps = kind not in layers.AVERAGE_POOLS or _averages_real_pixels(
            module.padding, module.ceil_mode, module.count_include_pad, module.divisor_override if pools[kind] > 1 else None
        )
        return Pass(_same if keeps else _only_zero)
    if isinstance(module, nn.Flatten) and kind is nn.Flatten and x.axis == 1:
        return _flatten(module.start_dim, module.end_dim, shape)
    if kind in (nn.Upsample, nn.UpsamplingNearest2d, nn.UpsamplingBilinear2d) and x.axis == 1 and module.mode in _RESIZED:
        return Pass(_same)
    return Opaque()


def _of_function(node: fx.Node, traced: Traced, inputs: list[Channels]) -> Rule:
    name, sources = operation_name(node), tensor_inputs(node, traced)
    if name in _COMBINE:
        return _combine(node, traced, inputs)
    if name == "cat":
        return _join(node, traced, inputs)
    if len(inputs) != 1 or node.args[:1] != (sources[0],):
        return Opaque()
    (x,), shape = inputs, traced.shapes[sources[0]]
    if name in _ELEMENTWISE:
        return Pass(_called(node)) if len(node.all_input_nodes) == 1 else Opaque()
    if name in ("contiguous", "detach", "clone") or (name == "dropout" and _argument(node, 2, "training", True) is False):
        return Pass(_same)
    if name == "flatten" and x.axis == 1:
        return _flatten(_argument(node, 1, "start_dim", 0), _argument(node, 2, "end_dim", -1), shape)
    if name in ("view", "reshape"):
        return _reshape(node, x, shape, traced.shapes[node])
    if name == "mean":
        return _mean(node, x, shape)
    return _of_shaping_function(name, node, x, shape)


def _of_shaping_function(name: str, node: fx.Node, x: Channels, shape: tuple[int, ...]) -> Rule:
    if x.axis != 1:
        return Opaque()
    if name in _POOLS and len(shape) == _POOLS[name] + 2:
        if name != "avg_pool2d":
            return Pass(_same)
        settings = (_argument(node, 3, "padding", 0), _argument(node, 4, "ceil_mode", False))
        real = _averages_real_pixels(
            *settings, _argument(node, 5, "count_include_pad", True), _argument(node, 6, "divisor_override", None)
        )
        return Pass(_same if real else _only_zero)
    if name == "interpolate" and _argument(node, 3, "mode", "nearest") in _RESIZED:
        return Pass(_same)
    if name == "getitem" and _takes_every_channel(node.args[1], len(shape)):
        return Pass(_same)
    if name == "pad" and len(node.args[1]) <= 2 * (len(shape) - 2) and not _argument(node, 3, "value", None):  # type: ignore[arg-type]
        return Pass(_only_zero if _argument(node, 2, "mode", "constant") == "constant" else _same)
    return Opaque()


def _combine(node: fx.Node, traced: Traced, inputs: list[Channels]) -> Rule:
    operation, zero_wins = _COMBINE[operation_name(node)]
    if len(node.args) != 2 or node.kwargs:
        return Opaque()
    a, b = node.args
    if len(inputs) == 2 and a is not b:
        dims = {len(traced.shapes[one]) for one in tensor_inputs(node, traced)}
        return Combine(operation, zero_wins=zero_wins) if len(dims) == 1 and _same_channels(*inputs) else Opaque()
    if isinstance(b, int | float):
        return Pass(lambda values_C: operation(values_C, b))
    if isinstance(a, int | float):
        return Pass(lambda values_C: operation(a, values_C))
    return Opaque()


def _same_channels(a: Channels, b: Channels) -> bool:
    return a.axis == b.axis and len(a) == len(b)


def _join(node: fx.Node, traced: Traced, inputs: list[Channels]) -> Rule:
    parts = node.args[0] if node.args else None
    whole = isinstance(parts, list | tuple) and len(parts) == len(inputs) and list(parts) == node.all_input_nodes
    alike = all(x.axis == inputs[0].axis for x in inputs)
    along = _argument(node, 1, "dim", 0)
    dims = len(traced.shapes[node])
    return Join() if whole and alike and isinstance(along, int) and along % dims == inputs[0].axis else Opaque()


def _mean(node: fx.Node, x: Channels, shape: tuple[int, ...]) -> Rule:
    asked = _argument(node, 1, "dim", None)
    dims = [asked] if isinstance(asked, int) else asked
    if not isinstance(dims, list | tuple) or not all(isinstance(one, int) for one in dims):
        return Opaque()
    gone = {one % len(shape) for one in dims}  # type: ignore[operator]
    if x.axis in gone or 0 in gone:
        return Opaque()
    keeps = _argument(node, 2, "keepdim", False)
    return Pass(_same, x.axis if keeps else x.axis - sum(one < x.axis for one in gone))


def _flatten(start: Any, end: Any, shape: tuple[int, ...]) -> Rule:
    whole = start == 1 and end in (-1, len(shape) - 1)
    return Flatten(prod(shape[2:])) if whole else Opaque()


def _reshape(node: fx.Node, x: Channels, shape: tuple[int, ...], result: tuple[int, ...]) -> Rule:
    """Recognise x.view(N, -1), whatever N is called; a width that is written out would no longer fit."""
    sizes = node.args[1] if len(node.args) == 2 and isinstance(node.args[1], list | tuple) else node.args[1:]
    flat = len(sizes) == 2 and sizes[1] == -1 and not node.kwargs and result == (shape[0], prod(shape[1:]))
    return Flatten(prod(shape[2:])) if flat and x.axis == 1 else Opaque()


def _reads_other_sizes(node: fx.Node, traced: Traced, inputs: list[Channels | None]) -> bool:
    """Say whether an operation reads a size that is not the number of channels, such as x.size(0) or x.shape[2]."""
    (x,) = inputs if len(inputs) == 1 else (None,)
    if x is None:
        return False
    others = partial(_leaves_out, x.axis, len(traced.shapes[tensor_inputs(node, traced)[0]]))
    if node.op == "call_method" and node.target == "size" and len(node.args) == 2:
        return others(node.args[1])
    reads_all = node.op == "call_method" and node.target == "size" and len(node.args) == 1
    reads_all = reads_all or (operation_name(node) == "getattr" and node.args[1:] == ("shape",))
    return reads_all and all(operation_name(user) == "getitem" and others(user.args[1]) for user in node.users)


def _leaves_out(axis: int, dims: int, index: Any) -> bool:
    """Say whether an index into `dims` sizes does not pick that of `axis`."""
    if isinstance(index, int):
        return index % dims != axis
    plain = isinstance(index, slice) and all(one is None or isinstance(one, int) for one in (index.start, index.stop, index.step))
    return plain and axis not in range(dims)[index]


def _takes_every_channel(index: Any, dims: int) -> bool:
    """Say whether an index is slices, the first two of which take everything."""
    slices = isinstance(index, tuple) and len(index) <= dims and all(isinstance(one, slice) for one in index)
    return slices and all(one == slice(None) for one in index[:2])


def _averages_real_pixels(padding: Any, ceil_mode: Any, counts_padding: Any, divisor: Any) -> bool:
    """Say whether the average of a constant is that constant at the borders too."""
    padded = any(padding) if isinstance(padding, list | tuple) else bool(padding)
    return divisor is None and (not counts_padding or not (padded or ceil_mode))


def _called(node: fx.Node) -> Callable[[Tensor], Tensor]:
    """Return an element-wise function or method with a node's own settings."""
    if node.op == "call_method":
        return lambda values_C: getattr(values_C, str(node.target))(*node.args[1:], **node.kwargs)
    called: Any = node.target
    return lambda values_C: called(values_C, *node.args[1:], **node.kwargs)


def _argument(node: fx.Node, position: int, name: str, default: Any) -> Any:
    return node.args[position] if len(node.args) > position else node.kwargs.get(name, default)


def _same(values_C: Tensor) -> Tensor:
    return values_C


def _only_zero(values_C: Tensor) -> Tensor:
    return torch.where(values_C == 0, values_C, torch.nan)
