"""The report's page: question, answer, figures, verdicts and all numbers, for a reader who has not seen the project."""

from __future__ import annotations

from collections.abc import Sequence

from common.studies import statistics
from common.studies.analysis import Comparison, Finding, Group
from common.studies.contents import Contents
from common.studies.figures import Picture
from common.studies.html import Markup, document, joined, listing, table, tag, terms
from common.studies.provenance_page import notes_section, provenance_section
from common.studies.searches import SearchFinding
from common.studies.wording import about, against_dense, compared, headlines, reach, tested
from common.studies.words import CONTROLS, WHOLE, counted, label, number, percent, spread

_GOOD = {statistics.WINNING, statistics.NON_INFERIOR}
_BAD = {statistics.NOT_WINNING}


def page(contents: Contents, pictures: Sequence[Picture]) -> str:
    """Return the whole page as one self-contained HTML text."""
    drawn = {picture.name: picture for picture in pictures}
    parts = [
        _top(contents),
        _explained(contents),
        *(_transfer(contents, finding, drawn) for finding in contents.findings),
        *(_search(search, drawn) for search in contents.searches),
        tag("h2", "All numbers"),
        _numbers(contents),
        notes_section(contents),
        provenance_section(contents),
    ]
    return document(contents.plan.study.title, joined(parts))


def _top(contents: Contents) -> Markup:
    study = contents.plan.study
    done, total = contents.done, len(contents.plan.jobs)
    state = f"{done} of {counted(total, 'run')} done" + ("." if done == total else "; what is missing is named at the end.")
    answers = [
        tag("div", tag("h3", _title(finding)), listing(headlines(finding)), class_="answer") for finding in contents.findings
    ]
    return joined([tag("h1", study.title), tag("p", study.question, class_="question"), *answers, tag("p", state, class_="soft")])


def _title(finding: Finding) -> str:
    if finding.first is None:
        return f"Transfer {finding.transfer.name}"
    kept = f"{finding.first.labels} labels" if finding.first.labels is not None else "all labels"
    protocol = finding.first.result["protocol"]
    how = {"linear": "a linear head on the frozen network", "full": "all kept weights trained"}.get(protocol, str(protocol))
    return f"Transfer {finding.transfer.name}: {how}, {finding.first.data}, {kept}"


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
        ("above, below", "Two means lie further apart than their standard deviations together; else they are not separated. "
                         f"Both sides have at least {statistics.MIN_SEEDS} seeds."),
        ("non-inferior", f"The one-sided {1 - statistics.ALPHA:.0%} lower bound of the paired difference to dense lies above"
                         f" -{number(study.margin)} (the study's margin), adjusted by Holm for the number of levels tested. "
                         "Where this is not shown, nothing follows. Differences that are equal for all seeds are not tested."),
        *((label(control), CONTROLS[control][0].upper() + CONTROLS[control][1:] + ".") for control in used),
        *((label(floor.name), f"A floor: recipe {floor.recipe} on the same task without a ticket.") for floor in study.floors),
    ]  # fmt: skip
    return joined([tag("h2", "How to read this page"), terms(words)])


def _transfer(contents: Contents, finding: Finding, drawn: dict[str, Picture]) -> Markup:
    name = finding.transfer.name
    parts = [tag("h2", _title(finding))]
    if finding.first is None:
        return joined([*parts, tag("p", "No results yet.")])
    direction = "Higher is better." if finding.higher_is_better else "Lower is better."
    caption = (
        f"{label(str(finding.first.result['metric'])).capitalize()} on the {finding.first.result['split']} images. {direction} "
        "Bands are one sample standard deviation over the seeds; the grey line and band are dense, dotted lines are floors."
    )
    parts += [_figure(drawn.get(f"transfer_{name}"), caption)]
    parts += [tag("h3", "Verdicts"), _verdicts(finding), tag("h3", "How far each curve wins"), _reached(finding)]
    if finding.non_inferiority:
        parts += [tag("h3", f"Non-inferiority, margin {number(contents.plan.study.margin)}"), _non_inferiority(contents, finding)]
    return joined(parts)


def _figure(picture: Picture | None, caption: str) -> Markup:
    return Markup("") if picture is None else tag("figure", Markup(picture.svg), tag("figcaption", caption))


def _verdicts(finding: Finding) -> Markup:
    rows: list[tuple[object, ...]] = []
    for ticket in [group for group in finding.arm("ticket") if group.round]:
        said = against_dense(ticket, finding.dense, higher_is_better=finding.higher_is_better)
        verdict = _verdict(ticket.winning or "")
        rows.append((tag("b", percent(ticket.density)), "dense", _unbroken(said), _difference(ticket, finding.dense), verdict))
        others = [c for c in finding.comparisons if c.round == ticket.round and c.other.control != "dense"]
        rows += [_compared(finding, comparison) for comparison in others]
    if not rows:
        return tag("p", "The ticket has no results yet.")
    return table(("kept", "against", "in words", "difference", "verdict"), rows, numbers=(0, 3))


def _compared(finding: Finding, comparison: Comparison) -> tuple[object, ...]:
    better = statistics.ABOVE if finding.higher_is_better else statistics.BELOW
    colour = {better: "good", statistics.TOGETHER: ""}.get(comparison.relation, "")
    if comparison.relation in (statistics.ABOVE, statistics.BELOW) and comparison.relation != better:
        colour = "bad"
    shown = tag("td", comparison.relation, class_=colour)
    difference = f"{comparison.difference:+.3f}"
    return "", label(comparison.other.control), _unbroken(compared(comparison)), difference, shown


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


def _search(search: SearchFinding, drawn: dict[str, Picture]) -> Markup:
    parts = [tag("h2", f"The search {search.name} itself")]
    if not search.metrics:
        return joined([*parts, tag("p", "No results yet.")])
    parts.append(
        _figure(
            drawn.get(f"search_{search.name}"),
            "Metrics of the trained network at the end of every round, mean and one deviation.",
        )
    )
    headings = ("round", "kept", *(label(name) for name in search.metrics), "seeds")
    told = {name: {value.round: value.spread for value in values} for name, values in search.metrics.items()}
    rows = []
    for round_, density in search.densities.items():
        found = [told[name].get(round_) for name in search.metrics]
        seeds = max((one.n for one in found if one is not None), default=0)
        cells = [spread(one.mean, one.deviation) if one is not None else "–" for one in found]
        rows.append((str(round_), percent(density), *cells, str(seeds)))
    parts.append(table(headings, rows, numbers=range(len(headings))))
    caption = (
        "Where the kept weights lie: density of every layer, mean over the seeds. Dotted: the density of all layers together."
    )
    parts.append(_figure(drawn.get(f"layers_{search.name}"), caption))
    return joined(parts)


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
