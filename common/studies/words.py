"""What every control is, in a few words: the names that a study may ask for, and what its page explains to a reader."""

from __future__ import annotations

from collections.abc import Sequence

from common.result_flags import FLAGS

CONTROLS: dict[str, str] = {
    "ticket": "the subnetwork found by the search, started from its rewind point",
    "dense": "the whole pre-trained network, nothing cut",
    "scratch": "the whole network from random weights: what pre-training is worth",
    "random": "as many weights as the ticket keeps, drawn at random over the whole network",
    "random_layerwise": "as many weights in every layer as the ticket keeps there, drawn at random",
    "random_uniform": "the ticket's density in every layer, drawn at random",
    "shuffled": "the ticket's mask, its kernels exchanged at random inside each layer",
    "reversed": "the weights that the ticket throws away; it keeps as much as the ticket removes",
    "reversed_matched": "as many weights as the ticket keeps, the smallest ones of the pre-trained network",
    "one_shot": "as many weights as the ticket keeps, the largest ones of the pre-trained network, cut in one step",
    "reinit": "the ticket's mask on fresh random weights",
    "mask_only": "the ticket's mask on the weights that the task's recipe starts from",
    "perturbed": "the ticket's mask with a tenth of its ones and a tenth of its zeros flipped; it keeps more than the ticket",
    "small_dense": "a narrower network with no more weights than the ticket keeps, nothing cut; from random weights unless "
    "others of its width are given",
    "dense_long": "the whole pre-trained network, trained for as many more epochs as the ticket's search took",
    "swapped": "the ticket's mask with a tenth of its weights exchanged for as many others",
}

WHOLE = ("dense", "scratch")
"""Controls without a mask: a horizontal line in a figure, not a curve over the remaining weights."""


UNPRUNED = (*WHOLE, "dense_long")
"""Controls that keep everything: no verdict on them says how far a mask may go."""


def label(control: str) -> str:
    """Return a control's name as a page prints it."""
    return control.replace("_", " ")


def flagged(flag: str) -> str:
    """Return a flag of a result with what it means; one that is not known stands for itself."""
    return f"{flag}: {FLAGS[flag]}" if flag in FLAGS else flag


def listed(items: Sequence[str]) -> str:
    """Return words as a list in a sentence: a, b and c."""
    return " and ".join([", ".join(items[:-1]), items[-1]] if len(items) > 1 else items)


def levels_in_words(levels: Sequence[str], compared_at: int) -> str:
    """Return levels as a list in a sentence; all of many are named by the first and the last."""
    if len(levels) == compared_at > 2:
        return f"all {compared_at} levels from {levels[0]} to {levels[-1]}"
    return listed(levels)


def percent(density: float) -> str:
    """Return a fraction as a percentage with at most three digits: 3.6%, 0.18%, 100%."""
    value = 100 * density
    digits = 0 if value >= 99.95 else 1 if value >= 1 else 2
    return f"{value:.{digits}f}%"


def number(value: float | None) -> str:
    """Return a fraction with three decimals, without the leading zero, as papers print them: .568; 1.000; a dash for None."""
    if value is None:
        return "–"
    text = f"{value:.3f}"
    return text.replace("0.", ".", 1) if text.startswith(("0.", "-0.")) else text


def spread(mean: float | None, deviation: float | None) -> str:
    """Return mean and sample standard deviation: .568 ± .028, or the mean alone where one run has no deviation."""
    return number(mean) if deviation is None else f"{number(mean)} ± {number(deviation)}"


def duration(seconds: float | None) -> str:
    """Return a time in words: 0.6 s, 4 min 10 s, 2 h 5 min; "unknown" for None."""
    if seconds is None:
        return "unknown"
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    hours, minutes, rest = whole // 3600, whole % 3600 // 60, whole % 60
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def size(count: float | None) -> str:
    """Return a number of bytes in words: 3.2 MB; "unknown" for None."""
    if count is None:
        return "unknown"
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def counted(count: int, noun: str) -> str:
    """Return a count with its noun: 1 run, 3 runs."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows of cells as lines whose columns begin at the same place; every row has as many cells as the first."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
