"""Files of our own to start from: tickets, and the weights that runs leave (rewind, scores, trained)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from common.files import sha256_bytes
from common.models.start_weights import HEAD, StartWeights
from common.tickets.errors import TicketError
from common.tickets.header import WEIGHT, read_header
from common.tickets.ticket import load_ticket
from common.tickets.weights_file import NetworkState, read_weights


def read_own_weights(path: Path, content: bytes, tensors: Mapping[str, Tensor]) -> StartWeights | None:
    """Read a ticket or a file of weights; return None for the safetensors file of another writer.

    A ticket gives its rewind point. A file of weights does not say which input it expects or what its head was trained on; the
    ticket that names it, where it lies in its place in the run directory, does.

    Args:
        path: the file.
        content: its bytes, which the library could read.
        tensors: what the library read.

    Raises:
        InputError: the file is damaged or was edited, or the ticket is a mask without weights.
    """
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    if "ticket" in (header.get("__metadata__") or {}):
        ticket = load_ticket(path)
        return _of(ticket.rewind_point(), "ticket", ticket.header, ticket=ticket, digest=ticket.digest)
    if not any(name.startswith(WEIGHT) for name in tensors):
        return None
    sha256 = sha256_bytes(content)
    stored = read_weights(path, sha256)
    return _of(stored.state, "weights", _its_ticket(path, sha256, stored.ticket), digest=sha256)


def _of(state: NetworkState, layout: str, header: Mapping[str, Any] | None, **known: Any) -> StartWeights:
    everything = {**state.backbone, **{HEAD + name: tensor for name, tensor in state.head.items()}}
    if header is None:
        return StartWeights(everything, None, layout, state.head, **known)
    origin = header["origin"]
    return StartWeights(
        everything, header["input"], layout, state.head, origin["objective"], arch=header["arch"], origin=origin, **known
    )


def _its_ticket(path: Path, sha256: str, owner: Mapping[str, str] | None) -> Mapping[str, Any] | None:
    """Return the header of a ticket near a file of weights that names it, or that it names as the one it belongs to."""
    for header in _tickets_near(path):
        named = [header[key]["sha256"] for key in ("weights", "scores") if header[key] is not None]
        if sha256 in named or (owner is not None and owner["digest"] == header["digest"]):
            return header
    return None


def _tickets_near(path: Path) -> Iterator[Mapping[str, Any]]:
    for file in (path.parent / "ticket.safetensors", path.parent / "round_00" / "ticket.safetensors"):
        if file.is_file():
            try:
                yield read_header(file)
            except TicketError:  # a damaged ticket names nothing; the weights have a digest of their own
                continue
