"""The figures of one transfer and of one search: every arm against the remaining weights, and where the kept weights lie."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from common.studies.analysis import Finding, Group
from common.studies.picture import Picture, band, levels_axis, no_ticks, picture
from common.studies.searches import SearchFinding
from common.studies.words import UNPRUNED, WHOLE, label, percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

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
    "small_dense": ("#3d4f6b", "d"),
    "dense_long": ("#555b61", "8"),
    "swapped": ("#8c6d5a", "*"),
}
_DENSE, _SCRATCH, _FLOOR = "#808891", "#a06a6a", "#b08a3e"
_ROUNDS = ("#8cb8e8", "#4f8fd6", "#7a5fc0", "#c0457e")


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
        levels_axis(axes, _levels(finding, arms))
        for group in [g for g in finding.groups if g.control in WHOLE]:
            _line(axes, group, *((_DENSE, "-") if group.control == "dense" else (_SCRATCH, "--")), label(group.control))
        for floor in finding.floors:
            _line(axes, floor, _FLOOR, ":", f"{label(floor.control)} (floor)")
        for control in arms:
            _curve(axes, [_at_its_level(finding, group) for group in finding.arm(control) if group.round], control)
        axes.set_ylabel(f"{label(metric)} on {finding.first.data if finding.first else ''}")
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=9)

    alt = f"{label(metric)} against remaining weights, transfer {finding.transfer.name}"
    return picture(f"transfer_{finding.transfer.name}", alt, draw, (8.4, 4.2))


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

    return picture(f"layers_{search.name}", f"density of every layer, search {search.name}", draw, (8.4, 4.0))


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
    axes.yaxis.set_minor_locator(no_ticks())


def _levels(finding: Finding, arms: Iterable[str]) -> list[float]:
    ticket = [group.density for group in finding.arm("ticket") if group.round]
    every = sorted({group.density for arm in arms for group in finding.arm(arm) if group.round}, reverse=True)
    levels = ticket or every
    every = [density for density in every if density < 1] or every
    if not levels or every[0] > levels[0]:  # what a ticket throws away lies near everything
        return [1.0, *levels]
    return levels


def _at_its_level(finding: Finding, group: Group) -> Group:
    """Draw what keeps everything but belongs to a round at the level of that round's ticket."""
    ticket = next((other for other in finding.arm("ticket") if other.round == group.round), None)
    return replace(group, density=ticket.density) if group.control in UNPRUNED and ticket is not None else group


def _line(axes: Axes, group: Group, colour: str, style: str, name: str) -> None:
    axes.axhline(group.mean, color=colour, linestyle=style, linewidth=1.4, label=name)
    if group.control == "dense" and group.deviation is not None:
        axes.axhspan(group.mean - group.deviation, group.mean + group.deviation, color=colour, alpha=0.18, linewidth=0)


def _curve(axes: Axes, groups: Sequence[Group], control: str) -> None:
    colour, marker = _STYLES[control]
    groups = sorted(groups, key=lambda group: -group.density)
    x = [group.density for group in groups]
    front = 4 if control == "ticket" else 3
    width = 2.2 if control == "ticket" else 1.4
    band(axes, x, [group.spread for group in groups], colour)
    means = [group.mean for group in groups]
    axes.plot(x, means, color=colour, marker=marker, markersize=5, linewidth=width, zorder=front, label=label(control))
