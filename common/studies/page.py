"""The report's page: question, answer, figures, verdicts and all numbers, for a reader who has not seen the project."""

from __future__ import annotations

from collections.abc import Sequence

from common.studies import statistics
from common.studies.analysis import Comparison, Finding, Group
from common.studies.contents import Contents
from common.studies.html import Markup, document, figure, joined, listing, table, tag, terms
from common.studies.picture import Picture
from common.studies.provenance_page import notes_section, provenance_section
from common.studies.searches import SearchFinding
from common.studies.source_figures import reference
from common.studies.source_wording import source_headlines
from common.studies.sources_page import overlap_section, task_section
from common.studies.task_searches_page import task_searches_section
from common.studies.wording import about, against_dense, alarmed, compared, headlines, in_brief, reach, tested, title
from common.studies.words import CONTROLS, WHOLE, counted, flagged, label, number, percent, spread

_GOOD = {statistics.WINNING, statistics.NON_INFERIOR}
_BAD = {statistics.NOT_WINNING}


def page(contents: Contents, pictures: Sequence[Picture]) -> str:
    """Return the whole page as one self-contained HTML text."""
    drawn = {picture.name: picture for picture in pictures}
    parts = [
        _top(contents),
        _explained(contents),
        *(part for findings in _tasks(contents).values() for part in _task(contents, findings, drawn)),
        task_searches_section(contents.task_searches),
        _searches(contents, drawn),
        overlap_section(contents, drawn),
        tag("h2", "All numbers"),
        _numbers(contents),
        notes_section(contents),
        provenance_section(contents),
    ]
    return document(contents.plan.study.title, joined(parts))


def _tasks(contents: Contents) -> dict[str, list[Finding]]:
    """Return for every transfer of the study file what its sources show."""
    return {
        name: [finding for finding in contents.findings if finding.transfer.written == name] for name in contents.plan.study.tasks
    }


def _top(contents: Contents) -> Markup:
    study = contents.plan.study
    done, total = contents.done, len(contents.plan.jobs)
    state = f"{done} of {counted(total, 'run')} done" + ("." if done == total else "; what is missing is named at the end.")
    answers = [tag("div", *_answer(contents, name, findings), class_="answer") for name, findings in _tasks(contents).items()]
    alarms = [tag("p", "Alarm: ", line, class_="alarm") for search in contents.searches for line in alarmed(search)]
    question = tag("p", study.question, class_="question")
    return joined([tag("h1", study.title), question, *answers, *alarms, tag("p", state, class_="soft")])


def _answer(contents: Contents, name: str, findings: Sequence[Finding]) -> list[Markup]:
    """Say what a task shows: of several sources, how they differ, and each in brief; the rest stands beside its figures."""
    parts = [tag("h3", title(findings))]
    if len(findings) == 1:
        return [*parts, listing(headlines(findings[0]))]
    parts += [listing(source_headlines(task)) for task in contents.tasks if task.name == name]
    briefs = [
        joined([tag("b", label(finding.transfer.source), ": "), in_brief(finding, reference(findings))]) for finding in findings
    ]
    return [*parts, listing(briefs)]


def _explained(contents: Contents) -> Markup:
    study = contents.plan.study
    used = [control for control in CONTROLS if any(control in dict(transfer.arms) for transfer in study.transfers)]
    words = [
        ("search", "A network is pre-trained, then cut in rounds: the smallest weights go, the rest starts again "
                   "from the rewind point."),
        ("weights kept", "What is left of the weights that may be cut; 100% is round 0."),
        ("transfer", "A task starts from what a search has found. Seed k of the task takes the ticket of search seed k."),
        (".568 ± .028", "Mean over the seeds and their sample standard deviation."),
        ("wins", "The mean is at least the mean of dense less one standard deviation of dense, "
                 f"with at least {statistics.MIN_SEEDS} dense seeds. Equality wins."),
        ("95% interval", "Of the ticket's difference, paired over the seeds, by the t distribution; of each comparison alone, "
         "not adjusted for how many there are."),
        ("above, below", "Two means lie further apart than their standard deviations together; else they are not separated. "
                         f"Both sides have at least {statistics.MIN_SEEDS} seeds."),
        ("non-inferior", f"The one-sided {1 - statistics.ALPHA:.0%} lower bound of the paired difference to dense lies above"
                         f" -{number(study.margin)} (the study's margin), adjusted by Holm for the number of levels tested. "
                         "Where this is not shown, nothing follows. Differences that are equal for all seeds are not tested."),
        *_explained_sources(contents),
        *((label(control), CONTROLS[control][0].upper() + CONTROLS[control][1:] + ".") for control in used),
        *((label(floor.name), f"A floor: recipe {floor.recipe} on the same task without a ticket.") for floor in study.floors),
        *((flag, f"{flagged(flag).removeprefix(f'{flag}: ').capitalize()}.") for flag in _flags(contents)),
    ]  # fmt: skip
    return joined([tag("h2", "How to read this page"), terms(words)])


def _explained_sources(contents: Contents) -> list[tuple[str, str]]:
    words = []
    if contents.tasks:
        text = (
            "The search whose tickets a task starts from. Sources are compared seed by seed with the same labels, where the "
            "target's classes and images are new to all of them: one is above or below another where their paired difference is "
            f"significant at {number(statistics.ALPHA)} (two-sided t-test, Holm)."
        )
        words.append(("source", text))
    if contents.overlaps:
        text = (
            "What two masks both keep, as a part of what either keeps. Beside it what chance gives: for two masks of the same "
            "densities d and e drawn over the whole network, de / (d + e - de); and for two masks with the same densities in "
            "every layer."
        )
        words.append(("overlap", text))
    return words


def _flags(contents: Contents) -> list[str]:
    return sorted({str(flag) for row in contents.every_row for flag in row.result["flags"]})


def _task(contents: Contents, findings: Sequence[Finding], drawn: dict[str, Picture]) -> list[Markup]:
    parts = [task_section(task, drawn) for task in contents.tasks if task.findings[0] in findings]
    return parts + [_transfer(contents, finding, drawn) for finding in findings]


def _transfer(contents: Contents, finding: Finding, drawn: dict[str, Picture]) -> Markup:
    name = finding.transfer.name
    parts = [tag("h2", title([finding]))]
    if finding.first is None:
        return joined([*parts, tag("p", "No results yet.")])
    direction = "Higher is better." if finding.higher_is_better else "Lower is better."
    caption = (
        f"{label(str(finding.first.result['metric'])).capitalize()} on the {finding.first.result['split']} images. {direction} "
        "Bands are one sample standard deviation over the seeds; the grey line and band are dense, dotted lines are floors."
    )
    parts += [] if finding.transfer.name == finding.transfer.written else [listing(headlines(finding))]
    parts += [figure(drawn.get(f"transfer_{name}"), caption)]
    parts += [tag("h3", "Verdicts"), _verdicts(finding), tag("h3", "How far each curve wins"), _reached(finding)]
    if finding.non_inferiority:
        parts += [tag("h3", f"Non-inferiority, margin {number(contents.plan.study.margin)}"), _non_inferiority(contents, finding)]
    return joined(parts)


def _verdicts(finding: Finding) -> Markup:
    rows: list[tuple[object, ...]] = []
    for ticket in [group for group in finding.arm("ticket") if group.round]:
        said = against_dense(ticket, finding.dense, higher_is_better=finding.higher_is_better)
        compared_here = [c for c in finding.comparisons if c.round == ticket.round]
        dense = _interval(next((c for c in compared_here if c.other.control == "dense"), None))
        told = (_unbroken(said), _difference(ticket, finding.dense), dense, _verdict(ticket.winning or ""))
        rows.append((tag("b", percent(ticket.density)), "dense", *told))
        rows += [_compared(finding, comparison) for comparison in compared_here if comparison.other.control != "dense"]
    if not rows:
        return tag("p", "The ticket has no results yet.")
    return table(("kept", "against", "in words", "difference", "95% interval", "verdict"), rows, numbers=(0, 3, 4))


def _compared(finding: Finding, comparison: Comparison) -> tuple[object, ...]:
    better = statistics.ABOVE if finding.higher_is_better else statistics.BELOW
    colour = {better: "good", statistics.TOGETHER: ""}.get(comparison.relation, "")
    if comparison.relation in (statistics.ABOVE, statistics.BELOW) and comparison.relation != better:
        colour = "bad"
    shown = tag("td", comparison.relation, class_=colour)
    difference = f"{comparison.difference:+.3f}"
    return "", label(comparison.other.control), _unbroken(compared(comparison)), difference, _interval(comparison), shown


def _interval(comparison: Comparison | None) -> str:
    """Write the interval of the difference paired over the seeds."""
    if comparison is None or comparison.interval is None:
        return "–"
    return " to ".join(f"{bound:+.3f}" for bound in comparison.interval)


def _unbroken(sentence: str) -> str:
    """Keep a mean and its deviation on one line."""
    return sentence.replace(" ± ", "\u00a0±\u00a0")


def _difference(ticket: Group, dense: Group | None) -> str:
    return "" if dense is None else f"{ticket.mean - dense.mean:+.3f}"


def _verdict(verdict: str) -> Markup:
    return tag("td", verdict, class_="good" if verdict in _GOOD else "bad" if verdict in _BAD else "")


def _reached(finding: Finding) -> Markup:
    rows = [
        (
            label(curve.control),
            reach(curve),
            *("none" if kept is None else percent(1 - kept) for kept in (curve.largest, curve.without_gap)),
        )
        for curve in finding.curves
    ]
    headings = ("curve", "in words", "largest winning sparsity", "largest without a gap")
    return table(headings, rows, numbers=(2, 3))


def _non_inferiority(contents: Contents, finding: Finding) -> Markup:
    rows = []
    for level in finding.non_inferiority:
        signed = ["–" if value is None else f"{value:+.3f}" for value in (level.difference, level.bound)]
        chances = ["–" if value is None else f"{value:.4f}" for value in (level.p, level.p_holm)]
        words = tested(level, contents.plan.study.margin)
        rows.append((percent(level.density), str(level.n), *signed, *chances, words, _verdict(level.verdict)))
    headings = ("kept", "pairs", "ticket - dense", "lower bound", "p", "p (Holm)", "in words", "verdict")
    return table(headings, rows, numbers=(0, 1, 2, 3, 4, 5))


def _searches(contents: Contents, drawn: dict[str, Picture]) -> Markup:
    if not contents.searches:
        return Markup("")
    caption = (
        "Metrics of the trained network at the end of every round, mean and one deviation. Those of the backbone (retrieval and "
        "k-NN accuracy, RankMe) are measured in the same way, on the same views, whatever the network was trained on."
    )
    parts = [tag("h2", "The searches themselves"), figure(drawn.get("searches"), caption)]
    return joined([*parts, *(part for search in contents.searches for part in _search(search, drawn))])


def _search(search: SearchFinding, drawn: dict[str, Picture]) -> list[Markup]:
    heading = tag("h3", f"The search {search.name}")
    if not search.metrics:
        return [heading, tag("p", "No results yet.")]
    told = {name: {value.round: value.spread for value in values} for name, values in search.metrics.items()}
    flags = {round_: ", ".join(alarm.flag for alarm in search.alarms if alarm.round == round_) for round_ in search.densities}
    rows = []
    for round_, density in search.densities.items():
        found = [told[name].get(round_) for name in search.metrics]
        seeds = max((one.n for one in found if one is not None), default=0)
        cells = [spread(one.mean, one.deviation) if one is not None else "–" for one in found]
        rows.append((str(round_), percent(density), *cells, str(seeds), *([flags[round_]] if search.alarms else [])))
    split = _split(search)
    names = [label(name.removeprefix(f"{split}/")) for name in search.metrics]
    headings = ("round", "kept", *names, "seeds", *(["flags"] if search.alarms else []))
    caption = (
        "Where the kept weights lie: density of every layer, mean over the seeds. Dotted: the density of all layers together."
    )
    alarms = [tag("p", line, class_="alarm") for line in alarmed(search)]
    if split:
        alarms.append(tag("p", f"Measured on the {split} images.", class_="soft"))
    shown = table(headings, rows, numbers=range(len(search.metrics) + 3))
    return [heading, *alarms, shown, figure(drawn.get(f"layers_{search.name}"), caption)]


def _split(search: SearchFinding) -> str | None:
    """Return the split that all metrics were measured on; None if there are several."""
    splits = {name.rpartition("/")[0] for name in search.metrics}
    return splits.pop() if len(splits) == 1 else None


def _numbers(contents: Contents) -> Markup:
    rows = [_row(finding.transfer.name, group) for finding in contents.findings for group in finding.groups]
    rows += [_row("floor", group) for group in contents.floors]
    headings = ("transfer", "arm", "round", "kept", "mean ± deviation", "seeds", "n", "every seed", "against dense", "flags")
    return table(headings, rows, numbers=(2, 3, 4, 6)) if rows else tag("p", "No results yet.")


def _row(transfer: str, group: Group) -> tuple[object, ...]:
    seeds = sorted(group.values)
    each = " ".join(number(group.values[seed]) for seed in seeds)
    kept = "–" if transfer == "floor" else percent(group.density)
    round_ = "–" if group.round is None or group.control in WHOLE else str(group.round)
    listed = ", ".join(map(str, seeds))
    return (
        transfer,
        label(group.control),
        round_,
        kept,
        about(group),
        listed,
        str(group.n),
        each,
        group.winning or "",
        ", ".join(group.flags),
    )
