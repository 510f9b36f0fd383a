"""The ticket file's header, format 1: what it says, its digests, and every check that needs no torch.

TICKET = safetensors; tensors "mask/<name>" (uint8, packed bits), "weight/<name>", "head/<name>"; metadata: one key "ticket".
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path, PurePosixPath
from typing import Any

from common.files import canonical_json
from common.tickets.container import MAX_HEADER_BYTES, Container, StoredTensor, parse_container, read_bytes
from common.tickets.errors import TicketError

FORMAT = 1
MASK, WEIGHT, HEAD = "mask/", "weight/", "head/"

_FIELDS: dict[str, tuple[type, ...]] = {
    "format": (int,),
    "digest": (str,),
    "mask_digest": (str,),
    "arch": (dict,),
    "scope": (dict,),
    "shapes": (dict,),
    "kept": (dict,),
    "density": (float,),
    "origin": (dict,),
    "parent": (str, type(None)),
    "rewind": (dict,),
    "weights": (dict,),
    "scores": (dict, type(None)),
    "input": (dict,),
    "software": (dict,),
}
_PARTS = {
    "arch": {"name", "stem", "in_chans", "variant"},
    "scope": {"include", "exclude"},
    "origin": {"folder", "objective", "data", "split", "recipe", "config", "seed", "round", "run", "importer"},
    "rewind": {"to", "at"},
    "weights": {"embedded", "file", "sha256"},
    "scores": {"file", "sha256"},
    "input": {"size", "channels", "range", "mean", "std", "interpolation"},
    "software": {"version", "commit", "torch"},
}


@dataclass(frozen=True)
class Parsed:
    """A ticket file that passed every check: its header and its tensors, still as bytes."""

    header: dict[str, Any]
    tensors: Mapping[str, StoredTensor]


def read_header(path: Path | str) -> dict[str, Any]:
    """Read and check a ticket file whole; return its header, the JSON object of format 1. Needs no torch.

    Raises:
        TicketError: the file is absent, damaged, edited or no ticket.
    """
    return parse_ticket(read_bytes(path), str(path)).header


def is_ticket(path: Path | str) -> bool:
    """Say whether a file calls itself a ticket, whole or not; False for other files and where there is none. Needs no torch."""
    try:
        with open(path, "rb") as file:
            size = int.from_bytes(file.read(8), "little")
            if size > MAX_HEADER_BYTES:
                return False
            return "ticket" in (json.loads(file.read(size)).get("__metadata__") or {})
    except (OSError, ValueError, AttributeError, TypeError, RecursionError):
        return False


def parse_ticket(content: bytes, what: str) -> Parsed:
    """Check a ticket file's bytes.

    Args:
        content: the file's bytes.
        what: the file's name, for messages.

    Raises:
        TicketError: any change to mask, weights or header since it was written, or another format.
    """
    container = parse_container(content, what)
    header = _decode(container, what)
    _check_fields(header, what)
    _check_tensors(header, container.tensors, what)
    if header["digest"] != ticket_digest(header, container.tensors):
        raise TicketError(f"{what}: the digest does not match the content; the file is damaged or was edited")
    return Parsed(header, container.tensors)


def ticket_digest(header: Mapping[str, Any], tensors: Mapping[str, StoredTensor]) -> str:
    """Return the SHA-256 over the header without "digest", then name 00 dtype 00 shape 00 bytes of each tensor, sorted."""
    sha = hashlib.sha256(canonical_json({key: value for key, value in header.items() if key != "digest"}).encode("utf-8"))
    for name in sorted(tensors):
        tensor = tensors[name]
        shape = ",".join(map(str, tensor.shape))
        sha.update(name.encode("utf-8") + b"\0" + tensor.dtype.encode("ascii") + b"\0" + shape.encode("ascii") + b"\0")
        sha.update(tensor.content)
    return sha.hexdigest()


def _decode(container: Container, what: str) -> dict[str, Any]:
    if set(container.metadata) != {"ticket"}:
        raise TicketError(
            f"{what} is a safetensors file but no ticket: its metadata hold {sorted(container.metadata) or 'nothing'}"
        )
    text = container.metadata["ticket"]
    try:
        header = json.loads(text)
        canonical = canonical_json(header)
    except (ValueError, TypeError, RecursionError) as error:
        raise TicketError(f"{what}: the ticket's description is not JSON; the file is damaged or was edited") from error
    if not isinstance(header, dict) or canonical != text:
        raise TicketError(f"{what}: the ticket's description is not in canonical form; the file is damaged or was edited")
    if header.get("format") != FORMAT:
        raise TicketError(f"{what}: ticket format {str(header.get('format'))[:20]!r}; this version reads format {FORMAT}")
    return header


def _check_fields(header: Mapping[str, Any], what: str) -> None:
    if set(header) != set(_FIELDS):
        odd = sorted(set(header) ^ set(_FIELDS))
        raise TicketError(f"{what}: the description has a missing or unknown field {odd[0]!r}")
    for key, kinds in _FIELDS.items():
        if type(header[key]) not in kinds:
            raise TicketError(f"{what}: field {key!r} is a {type(header[key]).__name__}, expected {kinds[0].__name__}")
    for key, parts in _PARTS.items():
        if header[key] is not None and set(header[key]) != parts:
            raise TicketError(f"{what}: field {key!r} must hold {sorted(parts)}, got {sorted(header[key])}")
    for key in ("seed", "round"):
        value = header["origin"][key]
        if value is not None and (type(value) is not int or value < 0):
            raise TicketError(f"{what}: origin.{key} is {value!r}, expected an integer >= 0 or null")
    if header["scores"] is not None and header["scores"]["file"] is None:
        raise TicketError(f"{what}: field 'scores' names no file; expected a file and its SHA-256, or null")
    for key in ("weights", "scores"):
        if header[key] is not None:
            _check_reference(header[key]["file"], header[key]["sha256"], f"{what}: {key}")
    if type(header["weights"]["embedded"]) is not bool or (
        header["weights"]["embedded"] and header["weights"]["file"] is not None
    ):
        raise TicketError(f"{what}: weights are embedded or in a file, not both; the file is damaged or was edited")


def _check_reference(file: Any, sha256: Any, what: str) -> None:
    """A referenced file lies in the ticket's run directory: no absolute path, no way out."""
    if file is None and sha256 is None:
        return
    if not isinstance(file, str) or not isinstance(sha256, str):
        raise TicketError(f"{what}: the reference to a file is incomplete; the file is damaged or was edited")
    parts = PurePosixPath(file).parts
    inner = parts[1:] if parts[:1] == ("..",) else parts
    if not inner or "\\" in file or not file.isprintable() or file.startswith("/") or ".." in inner:
        raise TicketError(f"{what}: the reference {file!r} leaves the run directory; the ticket is refused")


def _check_tensors(header: Mapping[str, Any], tensors: Mapping[str, StoredTensor], what: str) -> None:
    shapes, kept = header["shapes"], header["kept"]
    masks = {name[len(MASK) :]: tensor for name, tensor in tensors.items() if name.startswith(MASK)}
    others = {name for name in tensors if not name.startswith(MASK)}
    if not masks or set(masks) != set(shapes) or set(masks) != set(kept):
        raise TicketError(f"{what}: masks, shapes and kept counts name different tensors; the file is damaged or was edited")
    if any(not name.startswith((WEIGHT, HEAD)) for name in others):
        raise TicketError(f"{what}: holds a tensor that is neither mask, weight nor head; the file is damaged or was edited")
    if bool(others) != header["weights"]["embedded"]:
        raise TicketError(f"{what}: embedded weights are announced and absent, or the reverse; the file is damaged or was edited")
    for name, tensor in masks.items():
        _check_mask(name, tensor, shapes[name], kept[name], what)
        stored = tensors.get(WEIGHT + name)
        if others and (stored is None or list(stored.shape) != shapes[name]):
            raise TicketError(f"{what}: mask and embedded weights of {name!r} differ in shape; the file is damaged or was edited")
    size, total = sum(prod(shape) for shape in shapes.values()), sum(kept.values())
    if total == 0 or header["density"] != total / size:
        raise TicketError(f"{what}: density {header['density']} is not {total}/{size}; the file is damaged or was edited")
    if header["mask_digest"] != stored_mask_digest(masks, shapes):
        raise TicketError(f"{what}: the mask does not match its digest; the file is damaged or was edited")


def _check_mask(name: str, tensor: StoredTensor, shape: Any, kept: Any, what: str) -> None:
    whole = isinstance(shape, list) and all(type(n) is int and n >= 1 for n in shape) and type(kept) is int and len(shape) <= 16
    if not whole or tensor.dtype != "U8" or tensor.shape != (-(-prod(shape) // 8),):
        raise TicketError(f"{what}: mask of {name!r} does not fit its shape; the file is damaged or was edited")
    bits = int.from_bytes(tensor.content, "little")
    if bits.bit_length() > prod(shape) or bits.bit_count() != kept:
        raise TicketError(
            f"{what}: mask of {name!r} does not hold the {kept} weights it names; the file is damaged or was edited"
        )


def stored_mask_digest(masks: Mapping[str, StoredTensor], shapes: Mapping[str, list[int]]) -> str:
    """Return the digest of masks as they lie in a file (`common.tickets.mask.mask_digest` of the same masks)."""
    sha = hashlib.sha256()
    for name in sorted(masks):
        sha.update(name.encode("utf-8") + b"\0" + ",".join(map(str, shapes[name])).encode("ascii") + b"\0")
        sha.update(masks[name].content)
    return sha.hexdigest()
