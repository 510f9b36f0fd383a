"""Weights to start from: read a file in any layout, match it to a backbone by canonical names, and report what matched."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from common.errors import InputError
from common.files import sha256_file
from common.models.layouts.checkpoint import read_checkpoint, without_prefixes
from common.models.layouts.table import LAYOUTS, find_layout
from common.models.own_weights import read_own_weights
from common.models.resnet_form import resnet_form
from common.models.start_weights import HEAD, StartWeights
from common.tickets.container import read_bytes
from common.tickets.scope import stem_name
from common.tickets.weights_file import load_tensors

OWN_FORMATS = ("ticket", "weights")
_COUNTER = "num_batches_tracked"


@dataclass(frozen=True)
class MatchReport:
    """What of a file went into a backbone: names matched, missing from the file, unexpected in it, and left out on purpose."""

    matched: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    left_out: tuple[str, ...] = ()

    def __str__(self) -> str:
        parts = [("missing", self.missing), ("unexpected", self.unexpected), ("left out", self.left_out)]
        told = [f"{len(names)} {what}{f' [{_first(names)}]' if names else ''}" for what, names in parts]
        return ", ".join([f"{len(self.matched)} tensors matched", *told])


def _first(names: tuple[str, ...]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


def read_start_weights(path: Path | str, format: str = "auto") -> StartWeights:
    """Read weights from a ticket, a file of weights, a safetensors state dict, or a PyTorch checkpoint (`weights_only`).

    Args:
        path: the file; a name that ends in .safetensors is read as one.
        format: the layout that it must be in, or "auto" to try the table's in their order.

    Raises:
        InputError: the file is absent, truncated, of no known layout or not of the one asked for, holds no tensors or would run
            code.
    """
    path = Path(path)
    what = f"start.weights: {path}"
    tensors = None
    if path.suffix == ".safetensors":
        content = read_bytes(path)
        tensors = load_tensors(content, what)
        own = read_own_weights(path, content, tensors)
        if own is not None:
            if format not in ("auto", own.layout):
                raise InputError(f"start.format: got {format}, but {path} is a file of ours; expected auto or {own.layout}")
            return own
        tensors = without_prefixes(tensors, what)
    tensors = read_checkpoint(path, what) if tensors is None else tensors
    if not tensors:
        raise InputError(f"{what} holds no tensors")
    layout = find_layout(tensors, format, str(path))
    parts = layout.read(tensors, what)
    input = layout.input.to_json() if layout.input else None
    digest = sha256_file(path)
    return StartWeights(parts.state, input, layout.name, parts.head, layout.objective, parts.left_out, digest=digest)


def load_start_weights_(backbone: nn.Module, start: StartWeights, what: str, *, stem: str = "same") -> MatchReport:
    """Copy weights into a backbone in place.

    Every convolution, norm and other tensor of the backbone must be in the file; the file may hold more, such as a classifier.

    Args:
        backbone: the network that receives them.
        start: what `read_start_weights` returned.
        what: the file's name, for messages.
        stem: "fresh" keeps the backbone's own stem, which may then differ from the file's.

    Raises:
        InputError: another architecture; nothing matches; a tensor is missing, has another shape or kind, or is not finite. The
            backbone is unchanged.
    """
    _check_arch(backbone, start, what, stem)
    own = backbone.state_dict()
    kept = _stem_tensors(backbone, own) if stem == "fresh" else set()
    matched = tuple(sorted(name for name in own if name in start.state and name not in kept))
    missing = tuple(sorted(set(own) - set(matched) - kept))
    heads = {HEAD + name for name in start.head}
    unexpected = tuple(sorted(set(start.state) - set(own) - heads))
    report = MatchReport(matched, missing, unexpected, (*start.left_out, *sorted(kept & set(start.state))))
    _check_fit(own, start, report, backbone, what)
    with torch.no_grad():
        for name in matched:
            own[name].copy_(start.state[name])
    return report


def _stem_tensors(backbone: nn.Module, own: Mapping[str, Tensor]) -> set[str]:
    stem = stem_name(backbone)
    if stem is None:
        raise InputError("start.stem: got fresh, but this backbone has no convolution; expected same")
    return {name for name in own if name.rpartition(".")[0] == stem}


def _check_arch(backbone: nn.Module, start: StartWeights, what: str, stem: str) -> None:
    own = getattr(backbone, "arch", None)
    if start.arch is None or not isinstance(own, Mapping):
        return
    for key in ("name", "variant", *(("stem", "in_chans") if stem == "same" else ())):
        if own[key] != start.arch[key]:
            hint = "; start.stem fresh keeps the model's own stem" if key in ("stem", "in_chans") else ""
            raise InputError(
                f"start.weights: {what} are weights of {start.arch['name']} with {key} {start.arch[key]}, "
                f"the model is {own['name']} with {key} {own[key]}{hint}"
            )


def _check_fit(own: Mapping[str, Tensor], start: StartWeights, report: MatchReport, backbone: nn.Module, what: str) -> None:
    """Raise with all that tells why weights do not fit, or are not weights."""
    name, form = getattr(backbone, "arch", {}).get("name", "the backbone"), resnet_form(start.state)
    holds = f"it holds a {form}, {start.layout} layout: " if form else f"{start.layout} layout: "
    needed = [one for one in report.missing if not one.endswith(_COUNTER)]  # old checkpoints lack the counter
    wrong = [one for one in report.matched if own[one].shape != start.state[one].shape]
    stem = stem_name(backbone)
    if not report.matched:
        tried = f"; layouts considered: {', '.join([*OWN_FORMATS, *LAYOUTS])}"
        raise InputError(f"start.weights: {what} does not fit {name}: {holds}{report}{tried}")
    if wrong:
        got, expected = tuple(start.state[wrong[0]].shape), tuple(own[wrong[0]].shape)
        only_stem = all(one.rpartition(".")[0] == stem for one in wrong) and not needed
        hint = "; start.stem fresh keeps the model's own stem" if only_stem else ""
        raise InputError(
            f"start.weights: {what} does not fit {name}: {holds}{wrong[0]!r} has shape {got}, the backbone's has {expected} "
            f"({len(wrong)} such tensors); {report}{hint}"
        )
    if needed:
        raise InputError(f"start.weights: {what} does not fit {name}: {holds}{report}")
    for one in report.matched:
        check_values(one, start.state[one], own[one], f"start.weights: {what}")


def check_values(name: str, given: Tensor, own: Tensor, what: str) -> None:
    """Raise unless a tensor of a file can be a network's.

    Args:
        name: the tensor's.
        given: the file's.
        own: the network's, for its type.
        what: what the file is for and its name, for messages.

    Raises:
        InputError: it is sparse, quantised or complex, an integer where the network's is floating point or the reverse, or holds
            a value that is not finite.
    """
    if given.layout != torch.strided or given.is_quantized or given.is_complex():
        raise InputError(f"{what}: {name!r} is a {given.layout} tensor of {given.dtype}, expected a dense real one")
    if given.is_floating_point() != own.is_floating_point():
        raise InputError(f"{what}: {name!r} is of {given.dtype}, the backbone's of {own.dtype}")
    if given.is_floating_point() and not bool(torch.isfinite(given).all()):
        raise InputError(f"{what}: {name!r} holds values that are not finite; the file is damaged or of a failed run")
