"""Trace a network into a graph of operations, with the shape of everything that flows through it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from common.errors import InputError
from common.exchange.compaction.layers import has_hooks, is_identity, is_one_operation

_ALIASES = ("view", "reshape", "flatten", "contiguous", "getitem", "squeeze", "unsqueeze", "transpose", "permute", "detach")


@dataclass(frozen=True)
class Traced:
    """A network's graph.

    Attributes:
        graph: operations in the order in which they run.
        modules: the network's modules by name.
        shapes: shape of every operation's output that is a tensor.
        doubtful: operations that must not be taken at their word: another operation changes their output in place while others
            read it, or their weights are used in more than one place.
    """

    graph: fx.Graph
    modules: dict[str, nn.Module]
    shapes: dict[fx.Node, tuple[int, ...]]
    doubtful: frozenset[fx.Node]


def trace(network: nn.Module, example: Tensor) -> Traced:
    """Trace a network in eval mode by torch.fx. Parts that cannot be traced stay whole.

    Args:
        network: any module; its forward pass takes one tensor.
        example: an input, (N, C, H, W).

    Raises:
        InputError: the network's own forward pass cannot be traced, or the example does not fit it.
    """
    tracer = _Tracer()
    try:
        graph = tracer.trace(network)
    except Exception as error:  # tracing runs the network's own code, which may fail in any way on what stands for a tensor
        raise InputError(f"the network ({type(network).__name__}) cannot be traced by torch.fx: {_line(error)}") from error
    shapes = _Shapes(fx.GraphModule(network, graph))
    try:
        with torch.no_grad():
            shapes.run(example)
    except Exception as error:
        raise InputError(f"an input of shape {tuple(example.shape)} does not pass through the network: {_line(error)}") from error
    modules = dict(network.named_modules(remove_duplicate=False))
    return Traced(graph, modules, shapes.found, frozenset(_overwritten(graph, modules) | _shared(graph, modules)))


class _Tracer(fx.Tracer):
    """torch's tracer, which sees some modules as one operation, and falls back to that for those that it cannot trace."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return super().is_leaf_module(m, module_qualified_name) or is_one_operation(m) or has_hooks(m)

    def call_module(self, m: nn.Module, forward: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        before = len(self.graph.nodes)
        try:
            return super().call_module(m, forward, args, kwargs)
        except Exception:
            for node in reversed(list(self.graph.nodes)[before:]):
                self.graph.erase_node(node)
            return self.create_proxy("call_module", self.path_of_module(m), args, kwargs)


class _Shapes(fx.Interpreter):
    """Runs a graph and notes the shapes of tensors."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self.extra_traceback = False
        self.found: dict[fx.Node, tuple[int, ...]] = {}

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        if isinstance(result, Tensor):
            self.found[n] = tuple(result.shape)
        return result


def works_in_place(node: fx.Node, modules: dict[str, nn.Module]) -> bool:
    """Say whether an operation writes its result into its first input."""
    if node.op == "call_module":
        return getattr(modules[str(node.target)], "inplace", False) is True
    name = operation_name(node)
    in_place = name.endswith("_") or name in ("iadd", "isub", "imul")
    return in_place or node.kwargs.get("inplace") is True or (name == "relu" and node.args[1:2] == (True,))


def operation_name(node: fx.Node) -> str:
    """Return the plain name of a function or method that a node calls; "" for anything else."""
    if node.op == "call_method":
        return str(node.target)
    return getattr(node.target, "__name__", "") if node.op == "call_function" else ""


def _overwritten(graph: fx.Graph, modules: dict[str, nn.Module]) -> set[fx.Node]:
    """Find outputs that change in place while more than one operation reads them, and what they share memory with."""
    doubtful: set[fx.Node] = set()
    for node in graph.nodes:
        if not works_in_place(node, modules) or not node.args or not isinstance(node.args[0], fx.Node):
            continue
        chain = [node.args[0]]
        while _shares_memory(chain[-1], modules):
            chain.append(chain[-1].args[0])  # type: ignore[arg-type]
        if any(len(one.users) > 1 or one.op in ("placeholder", "get_attr") for one in chain):
            doubtful.update(chain)
    return doubtful


def _shares_memory(node: fx.Node, modules: dict[str, nn.Module]) -> bool:
    """Say whether an output may be a view of the first input."""
    if not node.args or not isinstance(node.args[0], fx.Node):
        return False
    if node.op == "call_module":
        module = modules[str(node.target)]
        return is_identity(module) or isinstance(module, nn.Flatten) or works_in_place(node, modules)
    return operation_name(node) in (*_ALIASES, "dropout") or works_in_place(node, modules)


def _shared(graph: fx.Graph, modules: dict[str, nn.Module]) -> set[fx.Node]:
    """Find calls of modules that run more than once, or whose weights something else uses as well."""
    calls = Counter(str(node.target) for node in graph.nodes if node.op == "call_module")
    read = {str(node.target).rpartition(".")[0] for node in graph.nodes if node.op == "get_attr"}
    owners = Counter(id(tensor) for module in modules.values() for tensor in module._parameters.values() if tensor is not None)
    found = set()
    for node in graph.nodes:
        if node.op == "call_module":
            name, module = str(node.target), modules[str(node.target)]
            own = [tensor for tensor in module.parameters() if tensor is not None]
            if own and (calls[name] > 1 or name in read or any(owners[id(tensor)] > 1 for tensor in own)):
                found.add(node)
    return found


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
