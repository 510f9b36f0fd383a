"""Weights to start from, whatever they were read from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from common.tickets.ticket import Ticket

HEAD = "head."


@dataclass(frozen=True)
class StartWeights:
    """Weights that were read.

    Attributes:
        state: name -> tensor, canonical names; what is no part of a backbone is there too, under the file's names or "head.*".
        input: the input specification that the weights expect, as JSON values; None where nothing says it.
        layout: a name of the table of layouts; "ticket" or "weights" for files of our own; "timm" or "torchvision".
        head: a head's tensors, by the names of `common.models.heads`, where the layout tells.
        objective: what the head was trained on, such as "moco"; None where nothing says it.
        left_out: names that belong to the layout and are not for the network.
        arch: {"name", "stem", "in_chans", "variant"} of the backbone that they come from; None where nothing says it.
        ticket: the ticket that the file is.
        origin: the origin of the ticket that the file is, or that names it; None where there is none.
        digest: SHA-256 of the file, or the ticket's digest.
        facts: what a run records of its start; those who take something from it add what they took.
    """

    state: Mapping[str, Tensor]
    input: Mapping[str, Any] | None
    layout: str = "plain"
    head: Mapping[str, Tensor] = field(default_factory=dict)
    objective: str | None = None
    left_out: tuple[str, ...] = ()
    arch: Mapping[str, Any] | None = None
    ticket: Ticket | None = None
    origin: Mapping[str, Any] | None = None
    digest: str | None = None
    facts: dict[str, Any] = field(default_factory=dict)
