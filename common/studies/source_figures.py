"""The figures that show several sources on the same axes: one task's tickets, the searches' rounds, the overlap of masks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from common.studies.analysis import Finding, Group
from common.studies.overlaps import OverlapCurve, OverlapLevel
from common.studies.picture import INK, Picture, band, levels_axis, picture
from common.studies.searches import SearchFinding
from common.studies.sources import SourceTask, levels
from common.studies.words import label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLOURS = ("#2f81d8", "#e07b39", "#2a9d6f", "#9c5fb5", "#c0504d", "#4aa6b5")
_MARKERS = "os^Dv>"
_SCRATCH, _FLOOR = "#808891", "#b08a3e"
_DASHED, _DOTTED = (0, (4, 2)), (0, (1, 2))


class Line(NamedTuple):
    """How a kind of line looks: matplotlib's style, and its colour where that is not the source's."""

    style: Any
    colour: str = INK


def sources(task: SourceTask, searches: Sequence[str]) -> Picture | None:
    """Draw the main metric against the remaining weights: a colour a source; tickets, random masks, and dense at the left end.

    Args:
        task: what is drawn.
        searches: names of the study's searches, which decide the colours.
    """
    findings = [finding for finding in task.findings if finding.first is not None and finding.groups]
    first = next((finding.first for finding in findings), None)
    if first is None:
        return None
    places = {finding.transfer.source: searches.index(finding.transfer.source) for finding in findings}
    metric = label(str(first.result["metric"]))

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        shown = [group for finding in findings for group in (*_shown(finding), *_beside(finding, findings))]
        levels_axis(axes, levels(shown) or [1.0])
        for finding in findings:
            _source(axes, finding, _beside(finding, findings), places[finding.transfer.source])
        _common_lines(axes, findings)
        axes.set_ylabel(f"{metric} on {first.data}")
        handles = _handles(places, _lines(findings))
        axes.legend(handles=handles, loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=9)

    return picture(f"sources_{task.name}", f"{metric} against remaining weights, {task.name} from every source", draw, (8.4, 4.6))


def reference(findings: Iterable[Finding]) -> str:
    """Return the control that is drawn beside the tickets of every source: random, or random_layerwise where no source has it."""
    return "random" if any(finding.arm("random") for finding in findings) else "random_layerwise"


def rounds(searches: Sequence[SearchFinding]) -> Picture | None:
    """Draw the searches' own metrics, round by round: a panel a metric, a colour a search."""
    names = sorted({name for search in searches for name in search.metrics})
    if not names:
        return None

    def draw(figure: Figure) -> None:
        columns = min(3, len(names))
        for place, name in enumerate(names, 1):
            axes = figure.add_subplot(-(-len(names) // columns), columns, place)
            told = {at: search.metrics[name] for at, search in enumerate(searches) if name in search.metrics}
            densities = sorted({value.density for values in told.values() for value in values}, reverse=True)
            levels_axis(axes, _levels(densities), most=5)
            for at, values in told.items():
                x, spreads = [value.density for value in values], [value.spread for value in values]
                band(axes, x, spreads, _colour(at), 0.15)
                axes.plot(x, [spread.mean for spread in spreads], "-", marker=_marker(at), color=_colour(at), markersize=4)
            axes.set_title(label(name.rpartition("/")[2]), loc="left")
        if len(searches) > 1:
            _legend_below(figure, {search.name: at for at, search in enumerate(searches)}, {})

    return picture("searches", "metrics of the searches against remaining weights", draw, (8.4, 2.9 * -(-len(names) // 3) + 0.3))


def overlaps(curves: Sequence[OverlapCurve], searches: Sequence[str]) -> Picture | None:
    """Draw overlap and chance against the remaining weights: between sources of one seed, and between seeds of one source."""
    panels = [
        ("different sources, same seed", [curve for curve in curves if curve.one != curve.other and curve.same_seed]),
        ("same source, different seeds", [curve for curve in curves if curve.one == curve.other]),
    ]
    panels = [(title, shown) for title, shown in panels if shown]
    if not panels:
        return None

    def draw(figure: Figure) -> None:
        for place, (title, shown) in enumerate(panels, 1):
            axes = figure.add_subplot(1, len(panels), place)
            levels_axis(axes, _levels(sorted({_x(level) for curve in shown for level in curve.levels}, reverse=True)), most=5)
            for at, curve in enumerate(shown):
                own = searches.index(curve.one) if curve.one == curve.other else at + len(searches)
                name = curve.one if curve.one == curve.other else f"{curve.one}, {curve.other}"
                _overlap(axes, curve, own, name)
            axes.set_title(title, loc="left")
            axes.set_ylim(0, 1)
            axes.legend(fontsize=8, loc="upper right")
            if place == 1:
                axes.set_ylabel("overlap of masks")
        _legend_below(figure, {}, {"chance, given every layer's density": Line(_DASHED), "chance": Line(_DOTTED)})

    return picture("overlap", "overlap of masks against remaining weights, with its chance levels", draw, (8.4, 4.2))


def _shown(finding: Finding) -> list[Group]:
    dense = [finding.dense] if finding.dense is not None else []
    return dense + [group for group in finding.arm("ticket") if group.round]


def _beside(finding: Finding, findings: Sequence[Finding]) -> list[Group]:
    return [group for group in finding.arm(reference(findings)) if group.round]


def _source(axes: Axes, finding: Finding, random: Sequence[Group], place: int) -> None:
    """Draw one source: its tickets from dense on, the level of dense, and random masks of the same densities."""
    colour, marker = _colour(place), _marker(place)
    shown = _shown(finding)
    x, spreads = [group.density for group in shown], [group.spread for group in shown]
    band(axes, x, spreads, colour)
    axes.plot(x, [spread.mean for spread in spreads], color=colour, marker=marker, markersize=5, linewidth=2.0, zorder=4)
    if finding.dense is not None:
        axes.axhline(finding.dense.mean, color=colour, linestyle=_DOTTED, linewidth=1.2)
    x, means = [group.density for group in random], [group.mean for group in random]
    axes.plot(x, means, linestyle=_DASHED, color=colour, marker=marker, markersize=3.5, linewidth=1.2)


def _common_lines(axes: Axes, findings: Sequence[Finding]) -> None:
    """Draw what does not depend on a source: the network from random weights, and floors."""
    scratch = {tuple(sorted(group.values.items())): group for finding in findings for group in finding.arm("scratch")}
    for group in scratch.values():
        axes.axhline(group.mean, color=_SCRATCH, linestyle="--", linewidth=1.4)
    for floor in findings[0].floors:
        axes.axhline(floor.mean, color=_FLOOR, linestyle="-.", linewidth=1.4)


def _lines(findings: Sequence[Finding]) -> dict[str, Line]:
    """Name the lines that are there."""
    controls = {group.control for finding in findings for group in finding.groups}
    looks = {
        "ticket": Line("-"),
        reference(findings): Line(_DASHED),
        "dense": Line(_DOTTED),
        "scratch": Line("--", _SCRATCH),
    }
    lines = {label(control): line for control, line in looks.items() if control in controls}
    return {**lines, **{f"{label(floor.control)} (floor)": Line("-.", _FLOOR) for floor in findings[0].floors}}


def _overlap(axes: Axes, curve: OverlapCurve, place: int, name: str) -> None:
    x = [_x(level) for level in curve.levels]
    colour = _colour(place)
    band(axes, x, [level.overlap for level in curve.levels], colour)
    axes.plot(x, [level.overlap.mean for level in curve.levels], "-o", color=colour, markersize=4, label=name)
    axes.plot(x, [level.chance_layerwise for level in curve.levels], linestyle=_DASHED, color=colour, linewidth=1.2)
    axes.plot(x, [level.chance for level in curve.levels], linestyle=_DOTTED, color=INK, linewidth=1.2)


def _x(level: OverlapLevel) -> float:
    """Place a pair at the geometric mean of its densities."""
    return (level.densities[0] * level.densities[1]) ** 0.5


def _levels(densities: Sequence[float]) -> list[float]:
    """Keep one of densities that are the same level."""
    return list(dict.fromkeys(round(density, 12) for density in densities))


def _legend_below(figure: Figure, places: Mapping[str, int], lines: Mapping[str, Line]) -> None:
    handles = _handles(places, lines)
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), fontsize=9)


def _handles(places: Mapping[str, int], lines: Mapping[str, Line]) -> list[Any]:
    """Return the entries of a legend: colours for sources, lines for what is drawn of each."""
    from matplotlib.lines import Line2D

    of_sources = [
        Line2D([], [], color=_colour(place), marker=_marker(place), linewidth=2, label=name) for name, place in places.items()
    ]
    of_lines = [
        Line2D([], [], color=line.colour, linestyle=line.style, linewidth=1.5, label=name) for name, line in lines.items()
    ]
    return of_sources + of_lines


def _colour(place: int) -> str:
    return _COLOURS[place % len(_COLOURS)]


def _marker(place: int) -> str:
    return _MARKERS[place % len(_MARKERS)]
