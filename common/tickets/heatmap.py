"""The overlaps of many masks as one picture: every two masks, and every two masks tensor by tensor."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common.files import write_bytes

_MOST_NUMBERS = 12
"""Cells a side up to which their numbers are written into them."""


def plot_heatmap(report: Mapping[str, Any], path: Path | str) -> None:
    """Draw what `compare` returned as one PNG, atomically.

    Three panels: the overlap of every two masks, with both chance levels written below it; the overlap of every pair in every
    tensor; and how far that lies above what the tensor's densities give by chance.

    Raises:
        InputError: the file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    labels, pairs, tensors = list(report["density"]), report["pairs"], list(report["kernels"])
    side, rows = min(3.5 + 0.75 * len(labels), 10), min(1.6 + 0.24 * len(pairs), 10)
    width = min(max(7.0, 4 + 0.28 * len(tensors), side), 30)
    figure = Figure(figsize=(width, side + 2 * rows), dpi=120, layout="constrained")
    square, above, below = figure.subplots(3, 1, height_ratios=(side, rows, rows))
    _draw_pairs(figure, square, labels, pairs)
    inside = [[pair["tensors"][name]["overlap"] for name in tensors] for pair in pairs]
    by_chance = [[pair["tensors"][name]["chance_layerwise"] for name in tensors] for pair in pairs]
    excess: list[list[float]] = [
        [value - chance for value, chance in zip(*row, strict=True)] for row in zip(inside, by_chance, strict=True)
    ]
    named = [f"{pair['a']} / {pair['b']}" for pair in pairs]
    _draw_tensors(figure, above, "Overlap in every tensor", inside, named, [], (0, 1, "viridis"))
    furthest = max(0.05, *(abs(value) for row in excess for value in row))
    short = [name.removesuffix(".weight") for name in tensors]
    _draw_tensors(
        figure, below, "Overlap less its chance level in the tensor", excess, named, short, (-furthest, furthest, "RdBu_r")
    )
    picture = io.BytesIO()
    FigureCanvasAgg(figure).print_png(picture)
    write_bytes(path, picture.getvalue())


def _draw_pairs(figure: Any, axes: Any, labels: list[str], pairs: list[Mapping[str, Any]]) -> None:
    place = {label: i for i, label in enumerate(labels)}
    cells = [[1.0 if i == j else 0.0 for j in range(len(labels))] for i in range(len(labels))]
    for pair in pairs:
        i, j = place[pair["a"]], place[pair["b"]]
        cells[i][j] = cells[j][i] = pair["overlap"]
    image = axes.imshow(cells, vmin=0, vmax=1, cmap="viridis")
    axes.set_xticks(range(len(labels)), labels, rotation=90, fontsize=8)
    axes.set_yticks(range(len(labels)), labels, fontsize=8)
    axes.set_title("Overlap |A and B| / |A or B|\n(chance; chance given every tensor's density)", fontsize=10)
    figure.colorbar(image, ax=axes)
    if len(labels) > _MOST_NUMBERS:
        return
    for pair in pairs:
        text = f"{pair['overlap']:.3f}\n({pair['chance']:.3f}; {pair['chance_layerwise']:.3f})"
        colour = "black" if pair["overlap"] > 0.6 else "white"
        for i, j in ((place[pair["a"]], place[pair["b"]]), (place[pair["b"]], place[pair["a"]])):
            axes.text(j, i, text, ha="center", va="center", color=colour, fontsize=7)


def _draw_tensors(
    figure: Any,
    axes: Any,
    title: str,
    cells: list[list[float]],
    rows: list[str],
    columns: list[str],
    scale: tuple[float, float, str],
) -> None:
    low, high, colours = scale
    image = axes.imshow(cells, vmin=low, vmax=high, cmap=colours, aspect="auto", interpolation="nearest")
    axes.set_title(title, fontsize=10)
    axes.set_xticks(range(len(columns)), columns, rotation=90, fontsize=7)
    axes.set_yticks(range(len(rows)), rows, fontsize=8 if len(rows) < 40 else 4)
    figure.colorbar(image, ax=axes)
