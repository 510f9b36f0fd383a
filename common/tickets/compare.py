"""Compare masks: overlap beside its chance levels, density of every tensor, kernels that are all zero."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import combinations
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from common.files import write_bytes
from common.tickets.mask import Mask
from common.tickets.overlap import Overlap, SharedCounts, overlap_of_counts


def overlap(a: Mask, b: Mask) -> Overlap:
    """Measure the overlap of two masks over the same tensors.

    Raises:
        TicketError: the masks are of different architectures.
    """
    return overlap_of_counts(shared_counts(a, b).values())


def shared_counts(a: Mask, b: Mask) -> dict[str, SharedCounts]:
    """Count what two masks keep of every tensor, by name.

    Raises:
        TicketError: the masks are of different architectures.
    """
    a.check_same_tensors(b)
    return {name: _shared(tensor, b[name]) for name, tensor in a.items()}


def _shared(a: Tensor, b: Tensor) -> SharedCounts:
    return SharedCounts(a.numel(), int(torch.count_nonzero(a)), int(torch.count_nonzero(b)), int(torch.count_nonzero(a & b)))


def overlap_per_tensor(counts: Mapping[str, SharedCounts]) -> dict[str, Overlap]:
    """Return the overlap in every tensor beside both chance levels.

    Args:
        counts: what `shared_counts` returned.

    Returns:
        name -> overlap; `chance` is that of masks of these whole densities, the same for every tensor, and `chance_layerwise`
        that of masks with these densities in the tensor.
    """
    chance = overlap_of_counts(counts.values()).chance
    alone = {name: overlap_of_counts([count]) for name, count in counts.items()}
    return {name: Overlap(one.overlap, chance, one.chance) for name, one in alone.items()}


def density_per_tensor(mask: Mask) -> dict[str, float]:
    """Return the kept fraction of every tensor, by name."""
    return {name: kept / mask[name].numel() for name, kept in mask.kept_per_tensor.items()}


def zero_kernels(mask: Mask) -> dict[str, int]:
    """Count the (out, in) kernels of every tensor that keep nothing (Chen et al. 2021, figures 6 and 7)."""
    return {name: int((~tensor.flatten(2).any(2) if tensor.dim() > 2 else ~tensor).sum()) for name, tensor in mask.items()}


def number_of_kernels(mask: Mask) -> dict[str, int]:
    """Count the (out, in) kernels of every tensor."""
    return {name: prod(tensor.shape[:2]) for name, tensor in mask.items()}


def compare(masks: Mapping[str, Mask]) -> dict[str, Any]:
    """Compare masks in full, as JSON values.

    Args:
        masks: label -> mask, at least two, over the same tensors.

    Returns:
        {"pairs": [{"a", "b", "overlap", "chance", "chance_layerwise", "tensors": {name: {"weights", "kept_a", "kept_b",
        "kept_both", "overlap", "chance", "chance_layerwise"}}}], "density", "density_per_tensor", "zero_kernels", "kernels"}.

    Raises:
        TicketError: masks of different architectures.
    """
    return {
        "pairs": [_pair(a, b, shared_counts(masks[a], masks[b])) for a, b in combinations(masks, 2)],
        "density": {label: mask.density for label, mask in masks.items()},
        "density_per_tensor": {label: density_per_tensor(mask) for label, mask in masks.items()},
        "zero_kernels": {label: zero_kernels(mask) for label, mask in masks.items()},
        "kernels": number_of_kernels(next(iter(masks.values()))),
    }


def _pair(a: str, b: str, counts: Mapping[str, SharedCounts]) -> dict[str, Any]:
    tensors = {
        name: {
            "weights": counts[name].size,
            "kept_a": counts[name].in_a,
            "kept_b": counts[name].in_b,
            "kept_both": counts[name].both,
            **asdict(measured),
        }
        for name, measured in overlap_per_tensor(counts).items()
    }
    return {"a": a, "b": b, **asdict(overlap_of_counts(counts.values())), "tensors": tensors}


def plot_comparison(report: Mapping[str, Any], path: Path) -> None:
    """Draw what `compare` returned as one PNG: overlaps with chance levels, densities and all-zero kernels by tensor.

    Raises:
        InputError: the file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 10), dpi=120, layout="constrained")
    overlaps, densities, kernels = figure.subplots(3, 1)
    _draw_overlaps(overlaps, report["pairs"])
    names = list(report["kernels"])
    for label, values in report["density_per_tensor"].items():
        densities.plot(range(len(names)), [values[name] for name in names], marker="o", label=label)
    for label, values in report["zero_kernels"].items():
        kernels.plot(range(len(names)), [values[name] / report["kernels"][name] for name in names], marker="o", label=label)
    densities.set(title="Density of every tensor", ylabel="kept fraction", ylim=(0, None), xticks=[])
    kernels.set(title="Kernels that keep nothing", ylabel="fraction of (out, in) kernels", ylim=(0, 1.02))
    kernels.set_xticks(range(len(names)), [name.removesuffix(".weight") for name in names], rotation=90, fontsize=7)
    densities.legend(fontsize=8)
    picture = io.BytesIO()
    FigureCanvasAgg(figure).print_png(picture)
    write_bytes(path, picture.getvalue())


def _draw_overlaps(axes: Any, pairs: Sequence[Mapping[str, Any]]) -> None:
    places = range(len(pairs))
    axes.barh(places, [pair["overlap"] for pair in pairs], color="#4878a8", label="overlap")
    axes.plot([pair["chance"] for pair in pairs], places, "k|", markersize=14, label="chance")
    axes.plot(
        [pair["chance_layerwise"] for pair in pairs], places, "r|", markersize=14, label="chance, given every tensor's density"
    )
    axes.set_yticks(places, [f"{pair['a']} / {pair['b']}" for pair in pairs], fontsize=8)
    axes.invert_yaxis()
    axes.set(title="Overlap |A and B| / |A or B|", xlim=(0, 1))
    axes.legend(fontsize=8, loc="lower right")
