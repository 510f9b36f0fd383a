"""Ticket: a mask, the weights to start from, and where both come from, as one portable file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import save
from torch import Tensor, nn

from common.data.inputs import InputSpec, accept_input
from common.errors import InputError
from common.files import canonical_json, write_bytes
from common.provenance import software
from common.tickets.container import parse_container, read_bytes
from common.tickets.errors import TicketError
from common.tickets.header import FORMAT, MASK, parse_ticket, ticket_digest
from common.tickets.mask import Mask, pack_bits, unpack_bits
from common.tickets.scope import find_scope, stem_name
from common.tickets.trained import load_trained_weights
from common.tickets.weights_file import NetworkState, load_tensors, load_weights, state_of

_HEADS = ("fc.", "classifier.", "head.")


@dataclass(frozen=True)
class Description:
    """What a ticket says of itself beside mask and weights; the fields are those of file format 1.

    Attributes:
        arch: {"name", "stem", "in_chans", "variant"} of the backbone.
        scope: {"include", "exclude"}, the patterns that chose the prunable tensors.
        origin: {"folder", "objective", "data", "split", "recipe", "config", "seed", "round", "run", "importer"}.
        rewind: {"to", "at"}: the rewind point and, for `step`, the optimizer step of round 0.
        input: {"size", "channels", "range", "mean", "std", "interpolation"}.
        parent: digest of the ticket that this one was made from.
        scores: {"file", "sha256"} of the parameters at the end of round 0, relative to the ticket.
    """

    arch: Mapping[str, Any]
    scope: Mapping[str, Any]
    origin: Mapping[str, Any]
    rewind: Mapping[str, Any]
    input: Mapping[str, Any]
    parent: str | None = None
    scores: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Ticket:
    """A ticket that was read from a file and passed every check.

    Attributes:
        path: the file.
        header: the JSON object of file format 1.
        mask: what is kept.
    """

    path: Path
    header: Mapping[str, Any]
    mask: Mask
    _embedded: NetworkState | None = field(default=None, repr=False)

    @property
    def digest(self) -> str:
        """The ticket's identity, 64 hex digits."""
        return str(self.header["digest"])

    @property
    def density(self) -> float:
        """Kept fraction of the scope, in (0, 1]."""
        return float(self.header["density"])

    @property
    def round(self) -> int:
        """The pruning round that the mask belongs to; 0 where the file does not say."""
        return int(self.header["origin"]["round"] or 0)

    @property
    def has_weights(self) -> bool:
        """Whether the ticket embeds weights or names their file; else it is a mask alone."""
        return self._embedded is not None or self.header["weights"]["file"] is not None

    def rewind_point(self) -> NetworkState:
        """Return the dense weights to start from; the mask is not applied.

        Raises:
            TicketError: the ticket carries none, or its file is absent or was changed.
        """
        if self._embedded is not None:
            return self._embedded
        reference = self.header["weights"]
        if reference["file"] is None:
            raise TicketError(f"{self.path} is a mask without weights; give weights with start.weights and control mask_only")
        return load_weights(self._beside(reference["file"]), reference["sha256"])

    def dense_weights(self) -> NetworkState:
        """Return weights of which none was pruned, for masks other than the ticket's own.

        They are the rewind point, but for a ticket that was never rewound (`final`), whose own weights were pruned in the rounds
        before: its controls start from the end of round 0.

        Raises:
            TicketError: as `rewind_point` and `round0_weights`.
        """
        return self.round0_weights() if self.header["rewind"]["to"] == "final" else self.rewind_point()

    def round0_weights(self) -> NetworkState:
        """Return the parameters at the end of round 0, which controls are cut from.

        Raises:
            TicketError: the ticket has no such file, or it is absent or was changed.
        """
        reference = self.header["scores"]
        if reference is None:
            raise TicketError(
                f"{self.path} names no file of round-0 weights (scores.safetensors); this control cannot be made from it"
            )
        return load_weights(self._beside(reference["file"]), reference["sha256"])

    def trained_weights(self) -> NetworkState:
        """Return the weights at the end of the ticket's round; errors as `load_trained_weights`."""
        return load_trained_weights(self)

    def _beside(self, reference: str) -> Path:
        return self.path.parent / reference

    def check_input(self, expected: Mapping[str, Any]) -> None:
        """Raise unless the ticket's weights expect the input that they will get (size and interpolation are only recorded).

        Raises:
            TicketError: channels, range, mean or std differ.
        """
        try:
            accept_input(str(self.path), self.header["input"], InputSpec.from_json(expected), accept_mismatch=False)
        except InputError as error:
            raise TicketError(str(error)) from error

    def apply_to(
        self,
        model: nn.Module,
        *,
        prefix: str = "",
        weights: NetworkState | Literal["rewind", "trained", "none"] = "rewind",
        stem: Literal["same", "fresh"] = "same",
    ) -> Mask:
        """Put the ticket into a model: copy the weights in place, zero what is pruned.

        Args:
            model: any module whose backbone has the canonical (torchvision, timm) names behind `prefix`.
            prefix: for example "backbone." or "encoder.".
            weights: which weights to copy; "none" leaves the model's own, only zeroing what is pruned.
            stem: "fresh" keeps the model's own stem, which may then differ from the ticket's.

        Returns:
            The mask under the model's names, for `hold`.

        Raises:
            TicketError: another architecture or stem, or no weights. The model is unchanged.
        """
        return apply(self, self.mask, model, prefix=prefix, weights=weights, stem=stem)


def apply(
    ticket: Ticket,
    mask: Mask,
    model: nn.Module,
    *,
    prefix: str = "",
    weights: NetworkState | Literal["rewind", "trained", "none"] = "rewind",
    stem: Literal["same", "fresh"] = "same",
) -> Mask:
    """Put a mask of the ticket's architecture (its own or a control's) into a model; see `Ticket.apply_to`."""
    prefix = f"{prefix.rstrip('.')}." if prefix else ""
    backbone = _backbone(model, prefix)
    _check_architecture(ticket, backbone, stem)
    if weights == "rewind":
        weights = ticket.rewind_point()
    elif weights == "trained":
        weights = ticket.trained_weights()
    own = backbone.state_dict()
    if weights == "none":
        _check_scope(ticket, backbone)
    source = {} if weights == "none" else _matched(weights.backbone, own, backbone, ticket, stem)
    with torch.no_grad():
        for name, tensor in source.items():
            own[name].copy_(tensor)
        for name, kept in mask.items():
            own[name].mul_(kept.to(own[name].device))
    return Mask({prefix + name: kept for name, kept in mask.items()})


def _backbone(model: nn.Module, prefix: str) -> nn.Module:
    try:
        return model.get_submodule(prefix.rstrip("."))
    except AttributeError as error:
        known = ", ".join(name for name, _ in model.named_children()) or "none"
        raise TicketError(f"the model has no part {prefix.rstrip('.')!r}; its parts are {known}") from error


def _check_architecture(ticket: Ticket, backbone: nn.Module, stem: str) -> None:
    arch = ticket.header["arch"]
    own = getattr(backbone, "arch", None)
    hint = "ticket.stem fresh keeps the model's own stem"
    if isinstance(own, Mapping):
        for key in ("name", "variant"):
            if own[key] != arch[key]:
                raise TicketError(
                    f"{ticket.path} is a ticket of {arch['name']} (variant {arch['variant']}), "
                    f"the model is {own['name']} (variant {own['variant']})"
                )
        for key in ("stem", "in_chans"):
            if stem == "same" and own[key] != arch[key]:
                raise TicketError(f"{ticket.path} has {key} {arch[key]}, the model has {key} {own[key]}; {hint}")
    weights = dict(backbone.named_parameters())
    for name, kept in ticket.mask.items():
        if name not in weights or weights[name].shape != kept.shape:
            got = "has no such parameter" if name not in weights else f"has shape {tuple(weights[name].shape)}"
            raise TicketError(
                f"{ticket.path} is a ticket of {arch['name']}: "
                f"its mask has {name!r} of shape {tuple(kept.shape)}, the model {got}"
            )


def _check_scope(ticket: Ticket, backbone: nn.Module) -> None:
    """Without weights to compare, tell a model with more layers (whose names are a superset) by what its scope would hold."""
    scope = ticket.header["scope"]
    if hasattr(backbone, "arch") or not scope["include"]:
        return
    names = {name for name in find_scope(backbone, scope["include"], scope["exclude"]).names if not name.startswith(_HEADS)}
    more = sorted(names - set(ticket.mask))
    if more:
        raise TicketError(
            f"{ticket.path} has no mask for {more[0]!r} ({len(more)} tensors of the model's scope); is it another architecture?"
        )


def _matched(
    source: Mapping[str, Tensor], own: Mapping[str, Tensor], backbone: nn.Module, ticket: Ticket, stem: str
) -> dict[str, Tensor]:
    """Match stored weights to the backbone's tensors; every one of its convolutions and norms must get its own."""
    first = stem_name(backbone)
    fresh = {name for name in set(own) | set(source) if stem == "fresh" and first and name.rpartition(".")[0] == first}
    head = {name for name in own if name.startswith(_HEADS)}
    missing = sorted(set(own) - set(source) - fresh - head)
    if missing:
        raise TicketError(
            f"{ticket.path} has no weights for {missing[0]!r} ({len(missing)} tensors of the model); is it another architecture?"
        )
    unexpected = sorted(set(source) - set(own) - fresh)
    if unexpected:
        raise TicketError(
            f"{ticket.path} has weights {unexpected[0]!r} ({len(unexpected)} tensors) that the model has not; "
            f"is it another architecture?"
        )
    matched = {name: tensor for name, tensor in source.items() if name not in fresh}
    for name, tensor in matched.items():
        if own[name].shape != tensor.shape:
            hint = "; ticket.stem fresh keeps the model's own stem" if name.rpartition(".")[0] == first else ""
            raise TicketError(
                f"{ticket.path}: {name!r} has shape {tuple(tensor.shape)}, the model's has {tuple(own[name].shape)}{hint}"
            )
    return matched


def save_ticket(
    path: Path | str,
    mask: Mask,
    description: Description,
    *,
    weights: NetworkState | None = None,
    weights_file: Mapping[str, str] | None = None,
) -> Ticket:
    """Write a ticket atomically (file format 1) and read it back.

    Args:
        path: the file to write.
        mask: what is kept, by canonical name.
        description: what the ticket says of itself.
        weights: the dense rewind point, to embed; or
        weights_file: {"file", "sha256"} of a file of weights, relative to the ticket. Neither: a mask without weights.

    Raises:
        TicketError: both kinds of weights are given, or the description does not fit the format.
        InputError: the file cannot be written.
    """
    if weights is not None and weights_file is not None:
        raise TicketError("a ticket embeds its weights or names their file, not both")
    tensors = {MASK + name: pack_bits(kept) for name, kept in mask.items()}
    if weights is not None:
        tensors.update({name: tensor.detach().cpu().contiguous() for name, tensor in weights.tensors().items()})
    header = _header(mask, description, embedded=weights is not None, weights_file=weights_file)
    plain = parse_container(save(tensors), str(path)).tensors
    try:
        header["digest"] = ticket_digest(header, plain)
    except (TypeError, ValueError) as error:
        raise TicketError(f"{path}: the ticket's description cannot be written as JSON: {error}") from error
    content = save(tensors, {"ticket": canonical_json(header)})
    parse_ticket(content, str(path))
    write_bytes(path, content)
    return load_ticket(path)


def _header(mask: Mask, description: Description, *, embedded: bool, weights_file: Mapping[str, str] | None) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "mask_digest": mask.digest(),
        "arch": dict(description.arch),
        "scope": dict(description.scope),
        "shapes": {name: list(shape) for name, shape in mask.shapes.items()},
        "kept": mask.kept_per_tensor,
        "density": mask.density,
        "origin": dict(description.origin),
        "parent": description.parent,
        "rewind": dict(description.rewind),
        "weights": {"embedded": embedded, **(weights_file or {"file": None, "sha256": None})},
        "scores": dict(description.scores) if description.scores else None,
        "input": dict(description.input),
        "software": software(),
    }


def load_ticket(path: Path | str) -> Ticket:
    """Read a ticket file. Nothing in it is unpickled; a file that was changed since it was written is refused.

    Raises:
        TicketError: the file is absent, damaged, edited, no ticket, or of another format. One line.
    """
    path = Path(path)
    content = read_bytes(path)
    parsed = parse_ticket(content, str(path))
    tensors = load_tensors(content, str(path))
    mask = Mask({name: unpack_bits(tensors[MASK + name], shape) for name, shape in parsed.header["shapes"].items()})
    embedded = state_of(tensors) if parsed.header["weights"]["embedded"] else None
    return Ticket(path, parsed.header, mask, embedded)
