"""A cost as a table and as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from common.exchange.cost import Cost, LayerCost

WIDTH = 170


def as_json(found: Cost) -> dict[str, Any]:
    """Return a cost as JSON values; fractions in [0, 1], storage in bytes, MACs for one input."""
    return {
        "size": None if found.size is None else list(found.size),
        "in_scope": _counted(found.scope_weights, found.pruned),
        "whole_network": _counted(found.parameters, found.pruned),
        "macs": {"dense": found.macs, "masked": found.masked_macs, "other": found.other_macs},
        "storage": asdict(found.storage),
        "layers": [_layer(layer) for layer in found.layers],
    }


def _counted(count: int, pruned: int) -> dict[str, Any]:
    """Count parameters over one denominator; a share of nothing is null."""
    share = None if count == 0 else pruned / count
    return {"parameters": count, "kept": count - pruned, "sparsity": share}


def _layer(layer: LayerCost) -> dict[str, Any]:
    return {
        **asdict(layer),
        "shape": list(layer.shape),
        "weights": layer.weights,
        "macs": layer.macs,
        "masked_macs": layer.masked_macs,
    }


def print_cost(found: Cost, title: str) -> None:
    """Print a table of layers and the sums."""
    table = Table(title=title, title_justify="left")
    for column in ("layer", "shape", "groups"):
        table.add_column(column, no_wrap=True)
    for column in ("kept", "of", "density", "MACs", "masked", "dead kernels", "dead filters", "dead inputs"):
        table.add_column(column, justify="right")
    for layer in found.layers:
        table.add_row(*_cells(layer))
    console = Console(width=WIDTH)
    console.print(table)
    for key, text in summary(found).items():
        console.print(f"{key:<28}{text}", highlight=False)


def _cells(layer: LayerCost) -> list[str]:
    shape = "x".join(map(str, layer.shape))
    parts = (layer.kernels, layer.filters, layer.inputs)
    return [
        *(layer.name.removesuffix(".weight"), shape, str(layer.groups)),
        *(f"{layer.kept:,}", f"{layer.weights:,}", f"{layer.kept / layer.weights:.4f}" if layer.in_scope else "not in scope"),
        *(f"{layer.macs:,}", f"{layer.masked_macs:,}", *(f"{part.dead:,}/{part.count:,}" for part in parts)),
    ]


def summary(found: Cost) -> Mapping[str, str]:
    """Return the sums of a cost as lines of text, by what they are."""
    rows = {
        "parameters, whole network": f"{found.parameters:,}; {found.parameters - found.pruned:,} kept",
        "sparsity in scope": _share(found.pruned, found.scope_weights),
        "sparsity, whole network": _share(found.pruned, found.parameters),
        "MACs": f"{found.macs:,} dense, {found.masked_macs:,} under the mask ({_ratio(found.masked_macs, found.macs)})",
        "bytes": f"{found.storage.dense:,} dense, {found.storage.packed:,} packed (bits and kept values), "
        f"{found.storage.index_value:,} as 32-bit indices and values",
    }
    if found.other_macs:
        rows["MACs beside the layers"] = f"{found.other_macs:,} (such as products of activations; in both sums)"
    dead = {kind: [getattr(layer, kind) for layer in found.layers] for kind in ("kernels", "filters", "inputs")}
    counts = (f"{sum(p.dead for p in parts):,} of {sum(p.count for p in parts):,} {kind}" for kind, parts in dead.items())
    return {**rows, "dead": ", ".join(counts)}


def _share(pruned: int, count: int) -> str:
    return f"{pruned / count:.4%} ({pruned:,} of {count:,} pruned)" if count else "nothing is in scope"


def _ratio(part: int, whole: int) -> str:
    return f"{part / whole:.4f}" if whole else "none"
