"""Weights to start from: read a file, match it to a backbone by canonical names, and report what matched."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from common.errors import InputError
from common.tickets.container import read_bytes
from common.tickets.header import WEIGHT
from common.tickets.weights_file import NetworkState, load_tensors, load_weights

_PREFIXES = ("module.", "backbone.")
_HEAD = "head."


@dataclass(frozen=True)
class StartWeights:
    """Weights that were read from a file.

    Attributes:
        state: name -> tensor, canonical names; a head's tensors are there too, under the file's names or behind "head.".
        input: the input specification that the file carries (tickets do), else None.
    """

    state: Mapping[str, Tensor]
    input: Mapping[str, Any] | None


@dataclass(frozen=True)
class MatchReport:
    """What of a file went into a backbone: names matched, missing from the file, and unexpected in it."""

    matched: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]

    def __str__(self) -> str:
        missing, unexpected = list(self.missing[:3]), list(self.unexpected[:3])
        return (
            f"{len(self.matched)} tensors matched, {len(self.missing)} missing {missing}, "
            f"{len(self.unexpected)} unexpected {unexpected}"
        )


def read_start_weights(path: Path | str) -> StartWeights:
    """Read weights from a ticket, a file of weights, a safetensors state dict, or a PyTorch state dict (`weights_only`).

    Raises:
        InputError: the file is absent, of none of these kinds, or holds no tensors.
    """
    path = Path(path)
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise InputError(f"start.weights: cannot read {path}: {error.strerror}") from error
    except Exception as error:  # torch.load raises many kinds for a file that is no checkpoint
        raise InputError(
            f"start.weights: {path} is no PyTorch state dict ({type(error).__name__}); expected tensors only"
        ) from error
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    tensors = {str(k): v for k, v in content.items() if isinstance(v, Tensor)} if isinstance(content, dict) else {}
    return StartWeights(_canonical(tensors, path), None)


def _read_safetensors(path: Path) -> StartWeights:
    content = read_bytes(path)
    tensors = load_tensors(content, f"start.weights: {path}")
    if "ticket" in _metadata(content):
        from common.tickets.ticket import load_ticket

        ticket = load_ticket(path)
        return StartWeights(_with_head(ticket.rewind_point()), ticket.header["input"])
    own_format = any(name.startswith(WEIGHT) for name in tensors)
    return StartWeights(_with_head(load_weights(path)) if own_format else _canonical(tensors, path), None)


def _with_head(state: NetworkState) -> dict[str, Tensor]:
    return {**state.backbone, **{f"{_HEAD}{name}": tensor for name, tensor in state.head.items()}}


def is_ticket(path: Path) -> bool:
    """Say whether a file is a ticket, whole or not, and no other file of weights.

    Raises:
        InputError: it is a safetensors file by name and cannot be read as one.
    """
    if path.suffix != ".safetensors":
        return False
    content = read_bytes(path)
    load_tensors(content, str(path))
    return "ticket" in _metadata(content)


def _metadata(content: bytes) -> Mapping[str, str]:
    """Return the metadata of a safetensors file that the library could read; others than ours need not be in canonical form."""
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    return header.get("__metadata__") or {}


def _canonical(tensors: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Take off the prefixes of DataParallel and of our networks where every tensor, or every one of the backbone, has them."""
    found = dict(tensors)
    for prefix in _PREFIXES:
        inside = {name.removeprefix(prefix): tensor for name, tensor in found.items() if name.startswith(prefix)}
        head = {name: tensor for name, tensor in found.items() if name.startswith(_HEAD)}
        found = {**head, **inside} if inside else found
    if not found:
        raise InputError(f"start.weights: {path} holds no tensors")
    return found


def load_start_weights_(backbone: nn.Module, start: StartWeights, path: str) -> MatchReport:
    """Copy weights into a backbone in place.

    Every convolution, norm and other tensor of the backbone must be in the file; the file may hold more, such as a classifier.

    Raises:
        InputError: nothing matches, a tensor is missing or has another shape. The backbone is unchanged.
    """
    own = backbone.state_dict()
    matched = tuple(sorted(name for name in own if name in start.state))
    report = MatchReport(matched, tuple(sorted(set(own) - set(matched))), tuple(sorted(set(start.state) - set(own))))
    wrong = [name for name in matched if own[name].shape != start.state[name].shape]
    needed = [name for name in report.missing if not name.endswith("num_batches_tracked")]  # old checkpoints lack the counter
    if not matched or needed:
        raise InputError(f"start.weights: {path} does not fit the backbone: {report}")
    if wrong:
        got, expected = tuple(start.state[wrong[0]].shape), tuple(own[wrong[0]].shape)
        raise InputError(
            f"start.weights: {path}: {wrong[0]!r} has shape {got}, the backbone's has {expected} ({len(wrong)} such tensors)"
        )
    with torch.no_grad():
        for name in matched:
            own[name].copy_(start.state[name])
    return report
