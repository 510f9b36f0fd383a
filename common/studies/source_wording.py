"""What differences between sources and overlaps show, in sentences."""

from __future__ import annotations

from collections.abc import Sequence

from common.studies import statistics
from common.studies.analysis import NO_VERDICT
from common.studies.overlaps import OverlapCurve
from common.studies.sources import SourceDifference, SourceTask
from common.studies.words import counted, label, levels_in_words, number, percent

_SAID = {
    statistics.ABOVE: "above",
    statistics.BELOW: "below",
    statistics.NOT_SHOWN: "no difference shown",
    statistics.NO_SPREAD: "not tested, as the differences of all seeds are equal,",
    statistics.FEW: f"no verdict with fewer than {statistics.MIN_SEEDS} pairs",
    NO_VERDICT: "no verdict, as a source saw the target's classes,",
}


def source_headlines(task: SourceTask) -> list[str]:
    """Return a sentence for every two sources, and one on how they were compared."""
    pairs: dict[tuple[str, str], list[SourceDifference]] = {}
    for difference in task.differences:
        pairs.setdefault((difference.one, difference.other), []).append(difference)
    lines = [_against(one, other, differences) for (one, other), differences in pairs.items()]
    if not lines:
        return ["No two sources have results at the same level yet."]
    return [*lines, tested_how(task)]


def tested_how(task: SourceTask) -> str:
    """Say how the sources were compared."""
    if not task.tests:
        return "No difference between sources could be tested."
    return (
        f"Differences are paired over the seeds and tested two-sided at level {number(statistics.ALPHA)}, adjusted by Holm for "
        f"{counted(task.tests, 'comparison')}; where none is shown, the sources need not be equal."
    )


def differed(difference: SourceDifference) -> str:
    """Say what one comparison shows, in a few words."""
    if difference.verdict in (statistics.ABOVE, statistics.BELOW):
        return f"{label(difference.one)} {difference.verdict}"
    return {
        statistics.NOT_SHOWN: "no difference shown",
        statistics.NO_SPREAD: "no test: all differences are equal",
        statistics.FEW: f"fewer than {statistics.MIN_SEEDS} pairs, no verdict",
        NO_VERDICT: "no verdict: a source saw the target's classes",
    }[difference.verdict]


def overlap_headlines(curves: Sequence[OverlapCurve]) -> list[str]:
    """Say for the sparsest round how much masks share, beside what chance gives them."""
    lines = []
    shown = [curve for curve in curves if curve.same_seed] + [curve for curve in curves if curve.one == curve.other]
    for curve in shown:
        level = curve.levels[-1]
        who = f"seeds of {curve.one}" if curve.one == curve.other else f"{curve.one} and {curve.other}, same seed,"
        lines.append(
            f"Masks of {who} share {percent(level.overlap.mean)} of what either keeps at {percent(level.densities[0])} of "
            f"weights; by chance {percent(level.chance)}, and {percent(level.chance_layerwise)} given every layer's density."
        )
    return lines


def _against(one: str, other: str, differences: Sequence[SourceDifference]) -> str:
    """Say where one source is above or below another; 100% of weights is dense."""
    parts = []
    for verdict, said in _SAID.items():
        kept = [percent(difference.density) for difference in differences if difference.verdict == verdict]
        if verdict == statistics.NOT_SHOWN and len(kept) == len(differences) > 2:
            parts.append(f"{said} at any of {len(kept)} levels from {kept[0]} to {kept[-1]} of weights")
        elif kept:
            parts.append(f"{said} at {levels_in_words(kept, len(differences))} of weights")
    return f"{label(one)} against {label(other)}: {'; '.join(parts)}."
