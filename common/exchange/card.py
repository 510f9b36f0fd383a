"""The card of a shared ticket: a README with the Hub's front matter, made from the header and from results."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from common.errors import InputError
from common.exchange.card_scores import TASKS, Score
from common.result_flags import FLAGS

TAGS = ("lottery-ticket", "sparse", "pruning", "pytorch")
_LICENCE = re.compile(r"[a-z0-9][a-z0-9.+-]*")


@dataclass(frozen=True)
class CardFacts:
    """What a card says.

    Attributes:
        repo: "user/name" on the Hub.
        file: the ticket's name there.
        header: of the ticket as it is shared.
        licence: an identifier of the Hub's, such as "mit" or "cc-by-4.0".
        scores: results of the ticket and of its controls.
    """

    repo: str
    file: str
    header: Mapping[str, Any]
    licence: str
    scores: Sequence[Score] = ()


def ticket_card(facts: CardFacts) -> str:
    """Return the card as Markdown.

    Raises:
        InputError: the licence is no identifier.
    """
    if not _LICENCE.fullmatch(facts.licence):
        raise InputError(f"--licence: got {facts.licence!r}, expected an identifier such as mit, apache-2.0, cc-by-4.0 or other")
    parts = [_front_matter(facts), _title(facts), _found(facts.header), _loading(facts), _kept(facts.header)]
    if facts.scores:
        parts.insert(3, _results(facts.scores))
    return "\n\n".join(parts) + "\n"


def loading_code(facts: CardFacts) -> str:
    """Return the five lines of Python that fetch the ticket, check it, and put it into a network."""
    return "\n".join(
        (
            "from common.exchange.hub import pull",
            "from common.models.backbones import rebuild_backbone",
            f'ticket = pull("{facts.repo}", "ticket.safetensors"{_named(facts)})',
            f'model = rebuild_backbone(ticket.header["arch"], size={facts.header["input"]["size"]})',
            "mask = ticket.apply_to(model)",
        )
    )


def _named(facts: CardFacts) -> str:
    return "" if facts.file == "ticket.safetensors" else f', file="{facts.file}"'


def _front_matter(facts: CardFacts) -> str:
    import yaml

    data: dict[str, Any] = {
        "license": facts.licence,
        "library_name": "pytorch",
        "tags": [*TAGS, str(facts.header["arch"]["name"])],
        "pipeline_tag": "image-feature-extraction",
    }
    own = [score for score in facts.scores if score.control == "ticket"]
    if own:
        data["model-index"] = [{"name": facts.repo.rpartition("/")[2], "results": [_index_entry(score) for score in own]}]
    return f"---\n{yaml.safe_dump(data, sort_keys=False, allow_unicode=True)}---"


def _index_entry(score: Score) -> dict[str, Any]:
    return {
        "task": {"type": TASKS[score.task], "name": f"{score.task}, protocol {score.protocol}"},
        "dataset": {"type": score.data, "name": score.data, "split": score.split},
        "metrics": [{"type": score.metric, "value": score.value, "name": score.metric}],
    }


def _title(facts: CardFacts) -> str:
    header = facts.header
    kept, size = sum(header["kept"].values()), sum(prod(shape) for shape in header["shapes"].values())
    return (
        f"# A lottery ticket of {header['arch']['name']} at density {header['density']:.4g}\n\n"
        f"A mask that keeps {kept:,} of {size:,} prunable weights ({header['density']:.4%}), and the dense weights to start "
        f"from. The mask is applied on load. Nothing in the file is unpickled."
    )


def _found(header: Mapping[str, Any]) -> str:
    arch, origin, input = header["arch"], header["origin"], header["input"]
    rewind = " at ".join(str(part) for part in (header["rewind"]["to"], header["rewind"]["at"]) if part is not None)
    rows = {
        "found by": _told(origin["folder"], origin["objective"]),
        "on": _told(origin["data"], origin["split"] and f"split {origin['split']}"),
        "recipe": _told(origin["recipe"], origin["config"] and f"configuration {origin['config']}"),
        "search seed": origin["seed"],
        "pruning round": origin["round"],
        "imported or made by": origin["importer"],
        "rewind point": rewind,
        "backbone": f"{arch['name']}, stem {arch['stem']}, {arch['in_chans']} channels"
        + (f", variant {arch['variant']}" if arch["variant"] else ""),
        "scope": f"{', '.join(header['scope']['include'])}; without {', '.join(header['scope']['exclude']) or 'exceptions'}",
        "input": f"{input['size']} px, range {input['range']}, mean {input['mean']}, std {input['std']}",
        "mask digest": f"`{header['mask_digest']}`",
        "ticket digest": f"`{header['digest']}`",
        "written by": f"version {header['software']['version']}, commit {header['software']['commit']}",
    }
    told = [f"| {key} | {_cell(value)} |" for key, value in rows.items() if value is not None]
    return "\n".join(("## How it was found", "", "| | |", "|---|---|", *told))


def _told(*parts: Any) -> str | None:
    return ", ".join(str(part) for part in parts if part is not None) or None


def _cell(value: Any) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")


def _results(scores: Sequence[Score]) -> str:
    columns = ("task", "data", "protocol", "arm", "density", "metric", "value", "seeds")
    lines = ["## Results", "", f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for score in scores:
        cells = (
            score.task,
            f"{score.data}, {score.split}",
            score.protocol,
            score.control,
            f"{score.density:.4g}",
            score.metric,
            f"{score.value:.4f}",
            score.seed,
        )
        lines.append("| " + " | ".join(map(_cell, cells)) + " |")
    flags = sorted({flag for score in scores for flag in score.flags})
    notes = [f"- {flag}: {FLAGS.get(flag, 'see the result')}" for flag in flags]
    return "\n".join([*lines, *(["", "Flags of these results:", "", *notes] if notes else [])])


def _loading(facts: CardFacts) -> str:
    return (
        f"## How to load it\n\n```python\n{loading_code(facts)}\n```\n\n"
        "`pull` checks the ticket's digest; `revision=` pins a commit. `common.tickets.hold.hold(model, optimizer, mask)` then "
        "keeps pruned weights at zero while any loop trains the network."
    )


def _kept(header: Mapping[str, Any]) -> str:
    lines = ["## Where the weights are", "", "| tensor | shape | kept | density |", "|---|---|---|---|"]
    for name, shape in sorted(header["shapes"].items()):
        count = header["kept"][name]
        lines.append(f"| `{name}` | {'x'.join(map(str, shape))} | {count:,} | {count / prod(shape):.4f} |")
    return "\n".join(lines)
