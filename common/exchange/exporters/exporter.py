"""Exporter: what a writer of one kind of file is made of, and what it is given."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Literal

import torch
from torch import Tensor, nn

from common.errors import InputError
from common.models.backbones import rebuild_backbone
from common.tickets.scope import stem_name
from common.tickets.ticket import Ticket


@dataclass(frozen=True)
class Options:
    """What a user asks of an export.

    Attributes:
        weights: "rewind", the ticket's rewind point, or "trained", the weights at the end of its round.
        head: write the ticket's classifier too.
        stem: "fresh" leaves the stem's weights out, so that the receiver keeps its own.
        prefix: put before every name; None: what the layout needs.
        size: side in pixels of the images that a graph is traced with; None: the ticket's.
        suffix: of the file, such as ".pth"; it tells safetensors from torch's own container.
    """

    weights: Literal["rewind", "trained"] = "rewind"
    head: bool = False
    stem: Literal["same", "fresh"] = "same"
    prefix: str | None = None
    size: int | None = None
    suffix: str = ".pth"


@dataclass(frozen=True)
class Export:
    """A file's content, and sentences that its user must know."""

    content: bytes
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Exporter:
    """One kind of file.

    Attributes:
        name: what `--to` calls it.
        about: whose names or layout it is.
        suffixes: those that its file may have.
        takes: the fields of `Options`, but the suffix, that mean something to it; another one is refused.
        write: makes the content. Raises InputError for what the kind cannot hold.
    """

    name: str
    about: str
    suffixes: tuple[str, ...]
    takes: tuple[str, ...]
    write: Callable[[Ticket, Options], Export]

    def check(self, options: Options) -> None:
        """Raise unless everything that was asked for means something to this kind of file.

        Raises:
            InputError: something does not.
        """
        asked = (field.name for field in fields(options) if getattr(options, field.name) != field.default)
        strange = [f"--{name}" for name in asked if name not in (*self.takes, "suffix")]
        if strange:
            known = ", ".join(f"--{name}" for name in self.takes) or "none of these options"
            raise InputError(f"--to {self.name} cannot have {' or '.join(strange)}; it takes {known}")


@dataclass(frozen=True)
class SparseNetwork:
    """A ticket's network, taken apart.

    Attributes:
        ticket: where it comes from.
        skeleton: the backbone without storage (on torch's meta device), for names and shapes.
        backbone: every tensor of the backbone by canonical name, not masked, on the CPU.
        head: the head's tensors by their own names; empty where none was asked for.
        stem: names of the stem's tensors.
    """

    ticket: Ticket
    skeleton: nn.Module
    backbone: Mapping[str, Tensor]
    head: Mapping[str, Tensor]
    stem: frozenset[str]

    def masked(self) -> dict[str, Tensor]:
        """Return the backbone's tensors with +0 where the mask prunes (a product could hold -0, or NaN)."""
        masks = dict(self.ticket.mask.items())
        return {
            name: torch.where(masks[name], tensor, torch.zeros_like(tensor)) if name in masks else tensor
            for name, tensor in self.backbone.items()
        }


def sparse_network(ticket: Ticket, options: Options) -> SparseNetwork:
    """Take a ticket's network apart, and see that its weights are those of the architecture that it names.

    Raises:
        InputError: the ticket has no such weights or no classifier, or they are of another architecture.
    """
    state = ticket.trained_weights() if options.weights == "trained" else ticket.rewind_point()
    skeleton = skeleton_of(ticket)
    shapes = {name: tuple(tensor.shape) for name, tensor in skeleton.state_dict().items()}
    for name in sorted(set(shapes) | set(state.backbone)):
        got = tuple(state.backbone[name].shape) if name in state.backbone else None
        if got != shapes.get(name) and not (got is None and name.endswith("num_batches_tracked")):  # older files lack counters
            raise InputError(
                f"{ticket.path} says it is a {ticket.header['arch']['name']}, whose {name!r} has shape {shapes.get(name)}; "
                f"the ticket's has {got}"
            )
    first = stem_name(skeleton)
    stem = frozenset(name for name in shapes if first is not None and name.rpartition(".")[0] == first)
    return SparseNetwork(ticket, skeleton, state.backbone, _classifier(ticket, state.head) if options.head else {}, stem)


def skeleton_of(ticket: Ticket) -> nn.Module:
    """Build a ticket's backbone without storage."""
    with torch.device("meta"):
        return rebuild_backbone(ticket.header["arch"], seed=0, stream="init", size=ticket.header["input"]["size"])


def _classifier(ticket: Ticket, head: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    if not {"weight"} <= set(head) <= {"weight", "bias"} or head["weight"].dim() != 2:
        found = ", ".join(f"{name} {tuple(tensor.shape)}" for name, tensor in sorted(head.items())) or "none"
        raise InputError(f"--head: {ticket.path} has no linear classifier, its head is {found}; export without --head")
    return head
