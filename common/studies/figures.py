"""The figures of a report, drawn without a display: SVG that takes its colours from the page, and PNG for elsewhere."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from common.studies.analysis import Finding, Group
from common.studies.searches import RoundValue, SearchFinding
from common.studies.words import WHOLE, label, percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, FAINT = "#24292f", "#d0d7de"
"""Colours of text and grid in PNG files; in SVG they become the page's."""

_STYLES = {
    "ticket": ("#2f81d8", "o"),
    "one_shot": ("#2a9d6f", "s"),
    "random": ("#e07b39", "^"),
    "random_layerwise": ("#c49a12", "v"),
    "random_uniform": ("#a0703c", "<"),
    "shuffled": ("#7a8b3a", ">"),
    "reversed": ("#c0504d", "D"),
    "reversed_matched": ("#9c5fb5", "X"),
    "reinit": ("#d4699b", "P"),
    "mask_only": ("#4aa6b5", "h"),
    "perturbed": ("#6b7fd7", "p"),
    "swapped": ("#8c6d5a", "*"),
}
_DENSE, _SCRATCH, _FLOOR = "#808891", "#a06a6a", "#b08a3e"
_ROUNDS = ("#8cb8e8", "#4f8fd6", "#7a5fc0", "#c0457e")
_RC: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "study",
    "font.size": 10,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": FAINT,
    "grid.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "legend.frameon": False,
}


@dataclass(frozen=True)
class Picture:
    """A figure as an SVG element for a page and as a PNG file's bytes."""

    name: str
    alt: str
    svg: str
    png: bytes


def curves(finding: Finding) -> Picture | None:
    """Draw the main metric against the remaining weights: an arm a curve, dense a band, floors dotted lines."""
    if finding.first is None:
        return None
    arms = [
        control for control, _ in finding.transfer.arms if control not in WHOLE and any(g.round for g in finding.arm(control))
    ]
    metric = str(finding.first.result["metric"])

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        _levels_axis(axes, _levels(finding, arms))
        for group in [g for g in finding.groups if g.control in WHOLE]:
            _line(axes, group, *((_DENSE, "-") if group.control == "dense" else (_SCRATCH, "--")), label(group.control))
        for floor in finding.floors:
            _line(axes, floor, _FLOOR, ":", f"{label(floor.control)} (floor)")
        for control in arms:
            _curve(axes, [group for group in finding.arm(control) if group.round], control)
        axes.set_ylabel(f"{label(metric)} on {finding.first.data if finding.first else ''}")
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=9)

    alt = f"{label(metric)} against remaining weights, transfer {finding.transfer.name}"
    return _picture(f"transfer_{finding.transfer.name}", alt, draw, (8.4, 4.2))


def rounds(search: SearchFinding) -> Picture | None:
    """Draw the search's own metrics, round by round, a panel each."""
    shown = list(search.metrics.items())[:6]
    if not shown:
        return None

    def draw(figure: Figure) -> None:
        columns = min(3, len(shown))
        for place, (name, values) in enumerate(shown, 1):
            axes = figure.add_subplot(-(-len(shown) // columns), columns, place)
            _levels_axis(axes, [value.density for value in values], most=5)
            _metric(axes, values)
            axes.set_title(label(name.rpartition("/")[2]), loc="left")

    alt = f"metrics of the search {search.name} against remaining weights"
    return _picture(f"search_{search.name}", alt, draw, (8.4, 2.9 * -(-len(shown) // 3)))


def layers(search: SearchFinding) -> Picture | None:
    """Draw the density of every layer for up to four rounds; dotted is the whole network's."""
    if not search.layers:
        return None
    numbers = sorted(search.layers)
    picked = sorted({numbers[round(i * (len(numbers) - 1) / 3)] for i in range(4)})

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        names = list(search.layers[picked[0]])
        for colour, round_ in zip(_ROUNDS, picked):
            densities = [100 * search.layers[round_][name] for name in names]
            axes.plot(
                names,
                densities,
                "-o",
                color=colour,
                markersize=4,
                label=f"round {round_}: {percent(search.densities[round_])} kept",
            )
            axes.axhline(100 * search.densities[round_], color=colour, linestyle=":", linewidth=1)
        _density_axis(axes, min(search.layers[round_][name] for round_ in picked for name in names))
        axes.set_ylabel("weights kept in the layer")
        axes.set_xticks(range(len(names)), [name.removesuffix(".weight") for name in names])
        axes.tick_params(axis="x", rotation=60, labelsize=8 if len(names) < 30 else 6)
        for text in axes.get_xticklabels():
            text.set_horizontalalignment("right")
            text.set_rotation_mode("anchor")
        axes.grid(axis="y")
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=9)

    return _picture(f"layers_{search.name}", f"density of every layer, search {search.name}", draw, (8.4, 4.0))


def _density_axis(axes: Axes, least: float) -> None:
    """Make the y axis logarithmic down to the decade of the least density (a fraction); an empty layer lies at 0."""
    ticks = [100.0, 10.0, 1.0, 0.1]
    while len(ticks) > 2 and ticks[-2] <= 100 * least:
        ticks.pop()
    if least == 0:
        axes.set_yscale("symlog", linthresh=ticks[-1])
        ticks.append(0.0)
    else:
        axes.set_yscale("log")
    axes.set_ylim(min(ticks[-1], 80 * least), 130)
    axes.set_yticks(ticks, [f"{tick:g}%" for tick in ticks])
    axes.yaxis.set_minor_locator(_no_ticks())


def _levels(finding: Finding, arms: Iterable[str]) -> list[float]:
    ticket = [group.density for group in finding.arm("ticket") if group.round]
    every = sorted({group.density for arm in arms for group in finding.arm(arm) if group.round}, reverse=True)
    levels = ticket or every
    return [1.0, *levels] if every[0] > levels[0] else levels  # what a ticket throws away lies near everything


def _levels_axis(axes: Axes, densities: Sequence[float], most: int = 9) -> None:
    """Make the x axis logarithmic, from everything kept at the left to little at the right, with a tick at the levels."""
    axes.set_xscale("log")
    step = max(1, -(-len(densities) // most))
    ticks = list(densities)[::-1][::step]
    axes.set_xticks(ticks, [percent(tick) for tick in ticks])
    axes.xaxis.set_minor_locator(_no_ticks())
    axes.set_xlabel("weights kept")
    axes.grid(axis="y")
    axes.invert_xaxis()


def _no_ticks() -> Any:
    from matplotlib.ticker import NullLocator

    return NullLocator()


def _line(axes: Axes, group: Group, colour: str, style: str, name: str) -> None:
    axes.axhline(group.mean, color=colour, linestyle=style, linewidth=1.4, label=name)
    if group.control == "dense" and group.deviation is not None:
        axes.axhspan(group.mean - group.deviation, group.mean + group.deviation, color=colour, alpha=0.18, linewidth=0)


def _curve(axes: Axes, groups: Sequence[Group], control: str) -> None:
    colour, marker = _STYLES[control]
    groups = sorted(groups, key=lambda group: -group.density)
    x, y = [group.density for group in groups], [group.mean for group in groups]
    spread = [group.deviation or 0.0 for group in groups]
    front = 4 if control == "ticket" else 3
    axes.fill_between(
        x, [m - s for m, s in zip(y, spread)], [m + s for m, s in zip(y, spread)], color=colour, alpha=0.13, linewidth=0
    )
    axes.plot(
        x, y, color=colour, marker=marker, markersize=5, linewidth=2.2 if front == 4 else 1.4, zorder=front, label=label(control)
    )


def _metric(axes: Axes, values: Sequence[RoundValue]) -> None:
    colour = _STYLES["ticket"][0]
    x, y = [value.density for value in values], [value.spread.mean for value in values]
    spread = [value.spread.deviation or 0.0 for value in values]
    axes.fill_between(
        x, [m - s for m, s in zip(y, spread)], [m + s for m, s in zip(y, spread)], color=colour, alpha=0.15, linewidth=0
    )
    axes.plot(x, y, "-o", color=colour, markersize=4)


def _picture(name: str, alt: str, draw: Any, inches: tuple[float, float]) -> Picture:
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_RC):
        figure = Figure(figsize=inches, layout="constrained")
        FigureCanvasAgg(figure)
        draw(figure)
        svg, png = io.StringIO(), io.BytesIO()
        figure.savefig(png, format="png", dpi=160, facecolor="white", metadata={"Software": None})
        figure.savefig(svg, format="svg", transparent=True, metadata={"Date": None})
    return Picture(name, alt, _inline(svg.getvalue(), name, alt), png.getvalue())


_REPLACED: Mapping[str, str] = {
    r"<metadata>.*?</metadata>": "",
    r"<!--.*?-->\s*": "",
    r'\s(xmlns(:\w+)?|version)="[^"]*"': "",
    r"xlink:href": "href",
    INK: "currentColor",
    FAINT: "var(--line)",
    r"font: ([^;\"]*?\d(?:\.\d+)?px) [^;\"]*": r"font: \1 var(--font)",
}


def _inline(svg: str, name: str, alt: str) -> str:
    """Make a file's SVG fit for a page: no addresses, names of its own, and the page's colours and type."""
    body = svg[svg.index("<svg") :]
    for pattern, text in _REPLACED.items():
        body = re.sub(pattern, text, body, flags=re.DOTALL)
    body = re.sub(r'\bid="', f'id="{name}-', body)
    body = re.sub(r'href="#', f'href="#{name}-', body)
    body = re.sub(r"url\(#", f"url(#{name}-", body)
    body = re.sub(
        r'(<svg[^>]*?) (?:width|height)="[^"]*"', r"\1", re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", body, count=1), count=1
    )
    return body.replace("<svg", f'<svg role="img" aria-label="{alt}"', 1)
