"""Files of compacted networks: thin weights, and what was kept of every layer, so that the network is built anew from its name.

COMPACTED = safetensors; tensors under the names of the network's state dict; metadata: one key "compacted" = canonical JSON
{"format": 1, "digest", "arch", "classes": int|null, "size", "ticket": digest, "weights": "rewind"|"trained", "density", "input",
 "layers": {module: {"inputs": "0-15,17", "of_inputs": int, "outputs": "0-31", "of_outputs": int}}, "software"}
`inputs` and `outputs` are the positions kept of the dense network's channels. The digest is computed as a ticket's is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn

from common.exchange.compaction.compact import COMPACTED, Compaction
from common.exchange.compaction.layers import CONVOLUTIONS, groups_of, is_norm
from common.exchange.compaction.positions import read_positions, write_positions
from common.exchange.compaction.surgery import Cut, replace_, shrink_
from common.files import canonical_json, write_bytes
from common.models.backbones import rebuild_backbone
from common.models.heads import Network, linear_head
from common.models.resnet import PaddedShortcut
from common.provenance import software
from common.tickets.container import Container, parse_container, read_bytes
from common.tickets.errors import TicketError
from common.tickets.header import ticket_digest
from common.tickets.ticket import Ticket
from common.tickets.weights_file import load_tensors

FORMAT = 1
_FIELDS = {
    *("format", "digest", "arch", "classes", "size", "ticket", "weights", "density", "input", "layers", "software"),
}


def save_compacted(path: Path | str, compaction: Compaction, ticket: Ticket, *, weights: str, size: int) -> str:
    """Write a compacted network atomically.

    Args:
        path: the file.
        compaction: of the ticket's network as `masked_network` builds it.
        ticket: what was compacted.
        weights: which weights it has, "rewind" or "trained".
        size: side of the images in pixels that the backbone was built for.

    Returns:
        The file's digest, 64 hex digits.

    Raises:
        InputError: the file cannot be written.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in compaction.network.state_dict().items()}
    head = getattr(compaction.network, "head", None) if isinstance(compaction.network, Network) else None
    header = {
        "format": FORMAT,
        "arch": dict(ticket.header["arch"]),
        "classes": None if head is None else head.out_features,
        "size": size,
        "ticket": ticket.digest,
        "weights": weights,
        "density": ticket.density,
        "input": dict(ticket.header["input"]),
        "layers": {name: _written(cut) for name, cut in compaction.cuts.items()},
        "software": software(),
    }
    digest = ticket_digest(header, parse_container(save(tensors), str(path)).tensors)
    write_bytes(path, save(tensors, {COMPACTED: canonical_json({**header, "digest": digest})}))
    return digest


def load_compacted(path: Path | str) -> nn.Module:
    """Read a compacted network and build it, in eval mode. Nothing in the file is unpickled.

    Returns:
        A `Network` of backbone and classifier, or the bare backbone where the ticket carried no classifier.

    Raises:
        TicketError: the file is absent, damaged, edited, or no compacted network.
        InputError: its backbone is not known here.
    """
    what, content = str(path), read_bytes(path)
    container = parse_container(content, what)
    header = _header(container, what)
    tensors = load_tensors(content, what)
    network = _dense(header, what)
    for name, said in header["layers"].items():
        _shrink_(network, name, said, tensors, what)
    try:
        network.load_state_dict(tensors, strict=True)
    except RuntimeError as error:
        why = " ".join(str(error).split())[:200]
        raise TicketError(f"{what}: its tensors do not fit what it says of its layers: {why}") from error
    backbone = network.backbone if isinstance(network, Network) else network
    backbone.arch = {**header["arch"], "variant": COMPACTED}  # type: ignore[assignment]
    _check_runs(network.eval(), header, what)
    return network


def _written(cut: Cut) -> dict[str, Any]:
    return {
        "inputs": write_positions(cut.inputs.tolist()),
        "of_inputs": cut.in_chans,
        "outputs": write_positions(cut.outputs.tolist()),
        "of_outputs": cut.out_chans,
    }


def _header(container: Container, what: str) -> dict[str, Any]:
    text = container.metadata.get(COMPACTED)
    if text is None or len(container.metadata) != 1:
        raise TicketError(
            f"{what} is a safetensors file but no compacted network: its metadata hold {sorted(container.metadata)}"
        )
    try:
        header = json.loads(text)
        whole = isinstance(header, dict) and canonical_json(header) == text
    except (ValueError, TypeError, RecursionError):
        header, whole = {}, False
    if not whole or set(header) != _FIELDS or header["digest"] != ticket_digest(header, container.tensors):
        raise TicketError(f"{what}: the digest does not match the content; the file is damaged or was edited")
    if header["format"] != FORMAT:
        raise TicketError(f"{what}: format {str(header['format'])[:20]!r} of compacted networks; this version reads {FORMAT}")
    return header


def _dense(header: Mapping[str, Any], what: str) -> nn.Module:
    """Build the network before it was compacted."""
    arch, classes = header["arch"], header["classes"]
    try:
        backbone: Any = rebuild_backbone(arch, seed=0, stream="init", size=header["size"])
        return backbone if classes is None else Network(backbone, linear_head(backbone.num_features, classes, seed=0))
    except (KeyError, TypeError, AttributeError, RuntimeError, ZeroDivisionError) as error:
        raise TicketError(f"{what}: the architecture that it names cannot be built: {arch!r}, {classes!r} classes") from error


def _check_runs(network: nn.Module, header: Mapping[str, Any], what: str) -> None:
    """Run an image through, because every layer may fit what the file says and not the next one."""
    size = header["size"]
    try:
        with torch.no_grad():
            network(torch.zeros(1, header["arch"]["in_chans"], size, size))
    except (RuntimeError, ValueError, TypeError) as error:
        raise TicketError(f"{what}: its layers do not fit one another: {' '.join(str(error).split())[:200]}") from error


def _shrink_(network: nn.Module, name: str, said: Any, tensors: Mapping[str, Tensor], what: str) -> None:
    """Cut one layer to the positions that the file says."""
    try:
        module: Any = network.get_submodule(name)
        counts = _channels(module)
        if not isinstance(said, dict) or [said.get("of_inputs"), said.get("of_outputs")] != counts:
            raise ValueError(f"its numbers of channels are not {counts}")
        inputs, outputs = (
            torch.tensor(read_positions(said[key], count)) for key, count in zip(("inputs", "outputs"), counts, strict=True)
        )
    except (AttributeError, KeyError, ValueError) as error:
        raise TicketError(f"{what}: what it says of layer {name!r} does not fit its architecture: {error}") from error
    shares = {len(positions) * groups_of(module) / count for positions, count in zip((inputs, outputs), counts, strict=True)}
    if groups_of(module) > 1 and (len(shares) > 1 or not shares.pop().is_integer()):
        raise TicketError(f"{what}: what it says of layer {name!r} cuts through groups of the convolution")
    shrink_(module, Cut(inputs, outputs, *counts))
    bias = tensors.get(f"{name}.bias")
    if bias is not None and getattr(module, "bias", bias) is None and hasattr(module, "weight"):
        replace_(module, "bias", torch.zeros(len(outputs)))


def _channels(module: Any) -> list[int]:
    """Return a module's numbers of input and output channels."""
    if type(module) in CONVOLUTIONS:
        return [module.in_channels, module.out_channels]
    if type(module) is nn.Linear:
        return [module.in_features, module.out_features]
    if is_norm(module):
        return [module.running_mean.numel()] * 2
    if type(module) is PaddedShortcut:
        return [module.in_chans, module.in_chans + module.before + module.after]
    raise ValueError("layers of its kind are not compacted")
