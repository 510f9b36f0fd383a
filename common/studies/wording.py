"""Findings in sentences. What the numbers show is said as it is, also where a control is better or nothing separates."""

from __future__ import annotations

from collections.abc import Sequence

from common.studies import statistics
from common.studies.analysis import NO_RESULT, NO_VERDICT, Comparison, Curve, Finding, Group, NonInferiority
from common.studies.searches import SearchFinding
from common.studies.words import WHOLE, counted, flagged, label, levels_in_words, listed, number, percent, spread

_FEW = f"fewer than {statistics.MIN_SEEDS} seeds on a side, no verdict"
_SAW = "no verdict: the source saw the target's labels"


_PROTOCOLS = {
    "linear": "a linear head on the frozen network",
    "full": "all kept weights trained",
    "knn": "nearest neighbours on the frozen network",
}


def title(findings: Sequence[Finding]) -> str:
    """Name a task: its name, where it starts from, protocol, target and labels."""
    transfer = findings[0].transfer
    several = len(findings) > 1 or transfer.written != transfer.name
    name = f"Transfer {transfer.written}"
    if several:
        name += f" from {listed([finding.transfer.source for finding in findings])}"
    first = next((finding.first for finding in findings if finding.first is not None), None)
    if first is None:
        return name
    kept = f"{first.labels} labels" if first.labels is not None else "all labels"
    protocol = str(first.result["protocol"])
    how = _PROTOCOLS.get(protocol, protocol)
    return f"{name}: {how}, {first.data}, {kept}"


def alarmed(search: SearchFinding) -> list[str]:
    """Say which rounds of a search carry flags, one sentence a flag."""
    flags = dict.fromkeys(alarm.flag for alarm in search.alarms)
    lines = []
    for flag in flags:
        places = [
            f"round {alarm.round} ({'seed' if len(alarm.seeds) == 1 else 'seeds'} {', '.join(map(str, alarm.seeds))})"
            for alarm in search.alarms
            if alarm.flag == flag
        ]
        lines.append(f"{search.name}, {listed(places)}: {flagged(flag)}.")
    return lines


def about(group: Group) -> str:
    """Return a group's mean and deviation: .568 ± .028."""
    return spread(group.mean, group.deviation)


def compared(comparison: Comparison) -> str:
    """Say how the ticket stands to another arm or a floor at one level."""
    ticket, other = comparison.ticket, comparison.other
    name = f"the floor {label(other.control)}" if comparison.is_floor else label(other.control)
    masked = not comparison.is_floor and other.control not in WHOLE
    if masked and abs(other.density - ticket.density) > 0.01 * ticket.density:
        name += f", which keeps {percent(other.density)}"
    level = f"at {percent(ticket.density)} of weights the ticket ({about(ticket)})"
    if comparison.relation in (statistics.ABOVE, statistics.BELOW):
        return f"{level} is {comparison.relation} {name} ({about(other)})"
    if comparison.relation == statistics.TOGETHER:
        return f"{level} is not separated from {name} ({about(other)})"
    why = _SAW if comparison.relation == NO_VERDICT else _FEW
    return f"{level} against {name} ({about(other)}): {why}"


def against_dense(group: Group, dense: Group | None, *, higher_is_better: bool) -> str:
    """Say whether an arm wins at one level, with the threshold it had to reach."""
    level = f"at {percent(group.density)} of weights the {label(group.control)} ({about(group)})"
    if dense is None:
        return f"{level} has no dense runs to be compared with"
    if group.winning == NO_VERDICT:
        return f"{level} against dense ({about(dense)}): {_SAW}"
    if group.winning == statistics.FEW or dense.deviation is None:
        return f"{level} against dense ({about(dense)}): fewer than {statistics.MIN_SEEDS} dense seeds, no verdict"
    threshold = dense.mean - dense.deviation if higher_is_better else dense.mean + dense.deviation
    needed = f"at least {number(threshold)}, dense ({about(dense)}) less one deviation"
    if not higher_is_better:
        needed = f"at most {number(threshold)}, dense ({about(dense)}) and one deviation"
    return f"{level} {'wins' if group.winning == statistics.WINNING else 'does not win'}: it needs {needed}"


def reach(curve: Curve) -> str:
    """Say how far an arm wins."""
    if curve.verdict == NO_RESULT:
        return "has no results yet"
    if curve.verdict:
        return f"has {_SAW}" if curve.verdict == NO_VERDICT else f"has no verdict: fewer than {statistics.MIN_SEEDS} dense seeds"
    missing = f"; {counted(curve.planned - curve.levels, 'level')} without a result" if curve.levels < curve.planned else ""
    if curve.largest is None:
        return f"wins at none of {counted(curve.levels, 'level')}{missing}"
    text = f"wins down to {percent(curve.largest)} of weights ({percent(1 - curve.largest)} sparsity)"
    if curve.without_gap is None:
        return f"{text}, but not at its densest level{missing}"
    if curve.without_gap != curve.largest:
        return f"{text}; without a gap down to {percent(curve.without_gap)}{missing}"
    return f"{text}, without a gap{missing}"


def tested(level: NonInferiority, margin: float) -> str:
    """Say what the paired test of one level shows."""
    if level.verdict == NO_VERDICT:
        return _SAW
    if level.verdict == statistics.NO_SPREAD:
        return f"no test: all {level.n} differences are equal, which says nothing of how far they would spread"
    if level.bound is None:
        return f"fewer than {statistics.MIN_SEEDS} pairs, no verdict"
    if level.verdict == statistics.NON_INFERIOR:
        return f"at most {number(margin)} worse than dense"
    return "not shown; this does not mean that it is worse"


def headlines(finding: Finding) -> list[str]:
    """Return what a transfer shows in a few sentences, the ticket first."""
    also = [curve for curve in finding.curves if curve.control != "ticket" and curve.largest is not None]
    lines = [*_wins(finding), *_comparisons(finding).values(), *_shown(finding.non_inferiority)]
    lines += [f"{label(curve.control).capitalize()} also {reach(curve)}." for curve in also]
    return lines or ["No results yet."]


def in_brief(finding: Finding, control: str) -> str:
    """Say how far a source's ticket wins, and how it stands to one control and to dense."""
    compared_with = _comparisons(finding)
    lines = [*_wins(finding), *([compared_with[control]] if control in compared_with else []), *_shown(finding.non_inferiority)]
    return " ".join(lines) or "No results yet."


def _wins(finding: Finding) -> list[str]:
    return [f"{label(curve.control).capitalize()} {reach(curve)}." for curve in finding.curves if curve.control == "ticket"]


def _comparisons(finding: Finding) -> dict[str, str]:
    """Return a sentence for every control but dense, and for every floor."""
    others: dict[str, list[Comparison]] = {}
    for comparison in finding.comparisons:
        if comparison.other.control != "dense":
            others.setdefault(comparison.other.control, []).append(comparison)
    return {name: _against(name, comparisons) for name, comparisons in others.items()}


def _shown(levels: Sequence[NonInferiority]) -> list[str]:
    tests = [level for level in levels if level.bound is not None]
    shown = [percent(level.density) for level in tests if level.verdict == statistics.NON_INFERIOR]
    untested = [percent(level.density) for level in levels if level.verdict == statistics.NO_SPREAD]
    lines = []
    if shown:
        lines.append(f"Non-inferior to dense, within the study's margin, at {levels_in_words(shown, len(tests))} of weights.")
    elif tests:
        lines.append(f"Non-inferiority to dense, within the study's margin, is shown at none of {counted(len(tests), 'level')}.")
    if untested:
        lines.append(f"Non-inferiority is not tested at {listed(untested)} of weights: the differences of all seeds are equal.")
    return lines


def _against(name: str, comparisons: Sequence[Comparison]) -> str:
    kind = "the floor " if comparisons[0].is_floor else ""
    order = (statistics.ABOVE, statistics.TOGETHER, statistics.BELOW, statistics.FEW, NO_VERDICT)
    places = {relation: [percent(c.ticket.density) for c in comparisons if c.relation == relation] for relation in order}
    said = {
        statistics.ABOVE: "above it",
        statistics.TOGETHER: "not separated from it",
        statistics.BELOW: "below it",
        statistics.FEW: "without a verdict (too few seeds)",
        NO_VERDICT: "without a verdict (the source saw the target's labels)",
    }
    parts = [f"{said[relation]} at {levels_in_words(levels, len(comparisons))}" for relation, levels in places.items() if levels]
    return f"Against {kind}{label(name)}, the ticket is {'; '.join(parts)} of weights."
