"""The parts of a report's page that bring several sources together: one task from all of them, and the overlap of their masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from common.studies import statistics
from common.studies.analysis import Finding, Group
from common.studies.contents import Contents
from common.studies.html import Markup, figure, joined, listing, table, tag
from common.studies.overlaps import OverlapCurve, OverlapLevel
from common.studies.picture import Picture
from common.studies.source_figures import reference
from common.studies.source_wording import differed, overlap_headlines, tested_how
from common.studies.sources import SourceTask, at_level, levels
from common.studies.wording import about, title
from common.studies.words import label, number, percent, spread


def task_section(task: SourceTask, drawn: Mapping[str, Picture]) -> Markup:
    """Show one task from every source: figure, levels side by side, paired differences."""
    findings = [finding for finding in task.findings if finding.first is not None]
    heading = tag("h2", title(task.findings))
    if not findings:
        return joined([heading, tag("p", "No results yet.")])
    first = findings[0].first
    assert first is not None
    beside = label(reference(findings))
    caption = (
        f"{label(str(first.result['metric'])).capitalize()} on the {first.result['split']} images, a colour a source. Solid: "
        "its tickets, from dense (100%) on; the band is one sample standard deviation over the seeds. Dashed: "
        f"{beside} masks on the same weights. Dotted: the level of dense."
    )
    return joined(
        [
            heading,
            figure(drawn.get(f"sources_{task.name}"), caption),
            tag("h3", "Every source at every level"),
            _levels(findings),
            tag("h3", "Differences between sources"),
            _differences(task),
        ]
    )


def overlap_section(contents: Contents, drawn: Mapping[str, Picture]) -> Markup:
    """Show how much masks share, round by round, beside both chance levels."""
    if not contents.overlaps:
        return Markup("")
    caption = (
        "What two masks of one round share, as a part of what either keeps; mean and one deviation over the pairs. Dashed: what "
        "masks with the same density in every layer share by chance. Dotted: what masks of the same density share by chance."
    )
    kinds = (
        ("Different sources, same seed", [curve for curve in contents.overlaps if curve.one != curve.other and curve.same_seed]),
        ("Same source, different seeds", [curve for curve in contents.overlaps if curve.one == curve.other]),
        ("Different sources, different seeds",
         [curve for curve in contents.overlaps if curve.one != curve.other and not curve.same_seed]),
    )  # fmt: skip
    parts = [tag("h2", "Overlap of masks"), listing(overlap_headlines(contents.overlaps)), figure(drawn.get("overlap"), caption)]
    for name, curves in kinds:
        if curves:
            parts += [tag("h3", name), _overlaps(curves)]
    said = (
        "Round 0 keeps everything. In every cell: the overlap, mean and deviation over the pairs, and their number; below it "
        "the level of chance, and the level of chance given both masks' density in every layer. Pairs of different seeds share "
        "masks, so their deviation describes these pairs and is no error of the mean. Searches of one seed with equal backbones "
        "start from the same random weights; what that alone gives shows beside different sources of different seeds."
    )
    return joined([*parts, tag("p", said, class_="soft")])


def _levels(findings: Sequence[Finding]) -> Markup:
    beside = reference(findings)
    tickets = [[group for group in finding.arm("ticket") if group.round] for finding in findings]
    others = [[group for group in finding.arm(beside) if group.round] for finding in findings]
    dense = [[finding.dense] if finding.dense is not None else [] for finding in findings]
    names = [name for finding in findings for name in (label(finding.transfer.source), f"its {label(beside)}")]
    arms = [groups for pair in zip(tickets, others, strict=True) for groups in pair]
    at_dense = [groups for groups in dense for groups in (groups, [])]
    shown = [place for place in range(len(arms)) if arms[place] or at_dense[place]]
    rows: list[tuple[object, ...]] = []
    if any(dense):
        rows.append(("100% (dense)", *(_about(at_dense[place], 1.0) for place in shown)))
    for density in levels([group for groups in arms for group in groups]):
        rows.append((percent(density), *(_about(arms[place], density) for place in shown)))
    text = tag("p", "Mean and sample standard deviation, in brackets the number of seeds.", class_="soft")
    return joined([table(("kept", *(names[place] for place in shown)), rows, numbers=range(len(shown) + 1)), text])


def _about(groups: Sequence[Group], density: float) -> str:
    group = at_level(groups, density)
    return "–" if group is None else f"{about(group)} ({group.n})".replace(" ", "\u00a0")


def _differences(task: SourceTask) -> Markup:
    if not task.differences:
        return tag("p", "No two sources have results at the same level yet.")
    rows = []
    for difference in task.differences:
        interval = "–" if difference.interval is None else " to ".join(f"{bound:+.3f}" for bound in difference.interval)
        chances = ["–" if value is None else f"{value:.4f}" for value in (difference.p, difference.p_holm)]
        told = "–" if difference.difference is None else f"{difference.difference:+.3f}"
        pair = f"{label(difference.one)} - {label(difference.other)}"
        kept = f"{percent(difference.density)} (dense)" if difference.control == "dense" else percent(difference.density)
        verdict = tag("td", differed(difference), class_=_colour(difference.verdict))
        rows.append((pair, kept, str(difference.n), told, interval, *chances, verdict))
    headings = ("sources", "kept", "pairs", "difference", "95% interval", "p", "p (Holm)", "verdict")
    said = (
        "The same seeds, the same target images and the same labels on both sides; tickets against tickets of the same density, "
        f"dense against dense. {tested_how(task)} The intervals are of each comparison alone, not adjusted."
    )
    return joined([tag("p", said), table(headings, rows, numbers=(1, 2, 3, 4, 5, 6))])


def _colour(verdict: str) -> str:
    return "told" if verdict in (statistics.ABOVE, statistics.BELOW) else ""


def _overlaps(curves: Sequence[OverlapCurve]) -> Markup:
    told = [{level.round: level for level in curve.levels} for curve in curves]
    rounds = sorted({round_ for levels_ in told for round_ in levels_})
    rows = []
    for round_ in rounds:
        found = [levels_.get(round_) for levels_ in told]
        kept = sorted({percent(density) for level in found if level is not None for density in level.densities}, reverse=True)
        rows.append((str(round_), " / ".join(kept), *(_overlap(level) for level in found)))
    names = [curve.one if curve.one == curve.other else f"{curve.one}, {curve.other}" for curve in curves]
    return table(("round", "kept", *names), rows, numbers=range(len(names) + 2))


def _overlap(level: OverlapLevel | None) -> object:
    if level is None:
        return "–"
    measured = f"{spread(level.overlap.mean, level.overlap.deviation)} ({level.overlap.n})"
    chance = f"chance {number(level.chance)}, by layer {number(level.chance_layerwise)}"
    return joined([tag("div", measured), tag("div", chance, class_="soft")])
