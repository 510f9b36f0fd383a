"""Files of weights beside tickets: the rewind point, the scores, trained weights.

WEIGHTS = safetensors; tensors "weight/<name>" (backbone, buffers too) and "head/<name>"; metadata: one key: "digest", or for
weights of one ticket "weights" = canonical JSON {"digest", "ticket": {...}}, whose digest covers the ticket too.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from common.files import canonical_json, sha256_bytes, write_bytes
from common.tickets.container import Container, StoredTensor, parse_container, read_bytes
from common.tickets.errors import TicketError
from common.tickets.header import HEAD, WEIGHT


@dataclass(frozen=True)
class NetworkState:
    """A network's tensors: the backbone's by canonical name, the head's by its own names."""

    backbone: Mapping[str, Tensor]
    head: Mapping[str, Tensor]

    @classmethod
    def split(cls, state: Mapping[str, Tensor]) -> NetworkState:
        """Take a network's state apart at the prefixes "backbone." and "head.".

        Raises:
            TicketError: a tensor is in neither.
        """
        parts: dict[str, dict[str, Tensor]] = {"backbone": {}, "head": {}}
        for name, tensor in state.items():
            part, _, rest = name.partition(".")
            if part not in parts:
                raise TicketError(f"a network's tensors are named backbone.* or head.*, got {name!r}")
            parts[part][rest] = tensor
        return cls(**parts)

    def joined(self) -> dict[str, Tensor]:
        """Return the tensors under the names of a network with `backbone` and `head`."""
        return {**{f"backbone.{k}": v for k, v in self.backbone.items()}, **{f"head.{k}": v for k, v in self.head.items()}}

    def tensors(self) -> dict[str, Tensor]:
        """Return the tensors under the names that files use."""
        return {**{WEIGHT + k: v for k, v in self.backbone.items()}, **{HEAD + k: v for k, v in self.head.items()}}


def save_weights(path: Path, state: NetworkState, ticket: Mapping[str, str] | None = None) -> str:
    """Write a file of weights atomically; return the SHA-256 of its bytes.

    Args:
        path: the file.
        state: the weights.
        ticket: what names the one ticket that the weights belong to; None where they belong to none.

    Raises:
        InputError: the folder cannot be written.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.tensors().items()}
    digest = _content_digest(parse_container(save(tensors), str(path)).tensors, ticket)
    said = {"digest": digest} if ticket is None else {"weights": canonical_json({"digest": digest, "ticket": dict(ticket)})}
    content = save(tensors, said)  # one key: the library writes several in any order
    write_bytes(path, content)
    return sha256_bytes(content)


@dataclass(frozen=True)
class StoredWeights:
    """A file of weights that was read: the weights, and what names the ticket that they belong to (None: to none)."""

    state: NetworkState
    ticket: Mapping[str, str] | None


def load_weights(path: Path | str, sha256: str | None = None) -> NetworkState:
    """Read a file of weights, whichever ticket it belongs to; arguments and errors as `read_weights`."""
    return read_weights(path, sha256).state


def read_weights(path: Path | str, sha256: str | None = None, *, named_by: str = "its ticket") -> StoredWeights:
    """Read a file of weights.

    Args:
        path: the file.
        sha256: what its bytes must hash to, where a ticket or result says so.
        named_by: who says so, for the message.

    Raises:
        TicketError: the file is absent, damaged, edited, or another one than the one named.
    """
    content = read_bytes(path)
    if sha256 is not None and sha256_bytes(content) != sha256:
        raise TicketError(f"{path} is not the file that {named_by} names (its SHA-256 differs); it is damaged or was replaced")
    container = parse_container(content, str(path))
    digest, ticket = _said(container)
    if digest is None or digest != _content_digest(container.tensors, ticket):
        raise TicketError(
            f"{path}: the weights do not match their digest; the file is damaged, was edited, or is no file of weights"
        )
    return StoredWeights(state_of(load_tensors(content, str(path))), ticket)


def _said(container: Container) -> tuple[str | None, Mapping[str, str] | None]:
    """Return the digest that a file names and the ticket that it says it belongs to."""
    if "weights" not in container.metadata:
        return container.metadata.get("digest"), None
    try:
        said = json.loads(container.metadata["weights"])
        return str(said["digest"]), {str(key): str(value) for key, value in said["ticket"].items()}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None, None


def load_tensors(content: bytes, what: str) -> dict[str, Tensor]:
    """Read a safetensors file's bytes.

    Raises:
        TicketError: the library refuses them.
    """
    try:
        return load(content)
    except (SafetensorError, RuntimeError, ValueError, OverflowError, TypeError, KeyError) as error:
        raise TicketError(f"{what} is not a safetensors file that can be read: {' '.join(str(error).split())}") from error


def state_of(tensors: Mapping[str, Tensor]) -> NetworkState:
    """Sort a file's tensors into backbone and head by their prefixes; others (masks) are left out."""
    return NetworkState(
        {name[len(WEIGHT) :]: tensor for name, tensor in tensors.items() if name.startswith(WEIGHT)},
        {name[len(HEAD) :]: tensor for name, tensor in tensors.items() if name.startswith(HEAD)},
    )


def _content_digest(tensors: Mapping[str, StoredTensor], ticket: Mapping[str, str] | None) -> str:
    sha = hashlib.sha256(b"" if ticket is None else canonical_json(dict(ticket)).encode() + b"\0")
    for name in sorted(tensors):
        tensor = tensors[name]
        sha.update(f"{name}\0{tensor.dtype}\0{','.join(map(str, tensor.shape))}\0".encode())
        sha.update(tensor.content)
    return sha.hexdigest()
