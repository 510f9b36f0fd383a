"""Results: one JSON object per file, every number a fraction in [0, 1], with all that is needed to repeat it (format 1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.config import as_tree
from common.files import write_json
from common.identity import ticket_seed
from common.provenance import commit, versions
from common.training.run import Facts

FORMAT = 1


@dataclass(frozen=True)
class Outcome:
    """What was measured.

    Attributes:
        task: classification, detection, segmentation, keypoints or pretraining.
        data: {"name", "split_hash", "fingerprint"} of the data set.
        split: the split that `metric` was measured on.
        metric: the main metric's name; `metrics` holds its value under "<split>/<metric>".
        metrics: every value.
        protocol: full, linear, imp, pretrain, knn or head (a ticket's own).
        density: kept fraction of the scope.
        control: a name of `common.tickets.CONTROLS`.
        ticket: the ticket's digest, if one was used or written.
        mask_digest: of the mask that was in force.
        source: {"folder", "recipe", "seed", "round"} of the ticket.
        flags: what a reader must know, such as "source_saw_target".
        details: what else the protocol chose or did, such as the number of labels.
    """

    task: str
    data: Mapping[str, Any]
    split: str
    metric: str
    metrics: Mapping[str, float]
    protocol: str
    density: float
    control: str
    ticket: str | None
    mask_digest: str | None
    source: Mapping[str, Any] | None = None
    flags: Sequence[str] = ()
    details: Mapping[str, Any] | None = None


def write_result(path: Path, facts: Facts, outcome: Outcome, *, seconds: float) -> dict[str, Any]:
    """Write a result file atomically; return its content.

    Args:
        path: the file.
        facts: who measured, where.
        outcome: what was measured.
        seconds: time that it took, over all attempts.

    Raises:
        InputError: the file cannot be written.
        ValueError: a metric is not finite.
    """
    config = facts.invocation.config
    result = {
        "format": FORMAT,
        "run": facts.run,
        "folder": facts.invocation.folder,
        "recipe": facts.invocation.recipe,
        "config": as_tree(config),
        "seed": {"ticket": ticket_seed(config) if facts.seed is None else facts.seed, "task": config.seed.task},
        "task": outcome.task,
        "data": dict(outcome.data),
        "split": outcome.split,
        "metric": outcome.metric,
        "value": outcome.metrics[f"{outcome.split}/{outcome.metric}"],
        "unit": "fraction",
        "higher_is_better": True,
        "metrics": dict(outcome.metrics),
        "density": outcome.density,
        "control": outcome.control,
        "protocol": outcome.protocol,
        "ticket": outcome.ticket,
        "mask_digest": outcome.mask_digest,
        "source": dict(outcome.source) if outcome.source else None,
        "flags": list(outcome.flags),
        "details": dict(outcome.details or {}),
        "seconds": round(seconds, 3),
        "device": facts.device,
        "threads": facts.threads,
        "commit": commit(),
        "versions": versions(),
    }
    write_json(path, result)
    return result
