"""Compact a ticket's network, write it, and say what it was worth: channels, parameters, MACs, bytes, measured latency."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from common.exchange.compaction.compact import Compaction, check_same, compact
from common.exchange.compaction.compacted_file import load_compacted, save_compacted
from common.exchange.cost import cost
from common.exchange.ticket_network import Weights, image_size, masked_network
from common.provenance import machine
from common.randomness import generator
from common.tickets.ticket import load_ticket
from common.timing import interleaved

_TOLERANCE = 1e-3  # of float32 over a deep network; `compact` has compared in float64
_STAY = {
    "constant": "stay: a constant that does not fold",
    "tied": "stay idle: the other side of a sum, or others of their group, are needed",
    "only": "stay: a layer's last one",
}


@dataclass(frozen=True)
class Request:
    """What to compact.

    Attributes:
        ticket: the ticket's file.
        output: the file to write.
        weights: "rewind" or "trained".
        size: side of the image in pixels; None: what the ticket records.
        batch: images at once when latency is measured, >= 1.
        repeats: interleaved repeats of the measurement; 0: none.
    """

    ticket: Path
    output: Path
    weights: Weights
    size: int | None = None
    batch: int = 1
    repeats: int = 15


def compact_ticket(request: Request) -> Iterator[str]:
    """Compact, write, and yield a report, line by line.

    The network that is measured is the one that was read back from the file.

    Raises:
        InputError: the ticket lacks such weights or a size, its network cannot be traced, or the file cannot be written.
        RunError: the outputs differ.
    """
    ticket = load_ticket(request.ticket)
    size = image_size(ticket, request.size)
    masked = masked_network(ticket, request.weights, size)
    draws = generator(0, "compact")
    images_NCHW = torch.randn(max(2, request.batch), int(ticket.header["arch"]["in_chans"]), size, size, generator=draws)
    compaction = compact(masked, images_NCHW[:2])
    difference = check_same(masked, compaction.network, images_NCHW[:2], _TOLERANCE)
    digest = save_compacted(request.output, compaction, ticket, weights=request.weights, size=size)
    yield f"{request.ticket}: density {ticket.density:.4%}, {request.weights} weights, {ticket.header['arch']['name']}"
    yield from _channels(compaction)
    yield from _changes(masked, load_compacted(request.output), size, request, images_NCHW[: request.batch])
    yield f"largest difference of outputs, of their size: {difference:.1e}"
    yield f"{request.output}: digest {digest}"


def _channels(compaction: Compaction) -> Iterator[str]:
    counts = compaction.counts
    yield f"output channels {sum(counts.values()):,}: {counts['removed']:,} removed, {counts['active']:,} active"
    for key, why in _STAY.items():
        if counts[key]:
            yield f"  {counts[key]:,} {why}"
    for name, channels in compaction.opaque.items():
        yield f"  not understood, so its channels stay: {name} ({channels:,})"


def _changes(before: nn.Module, after: nn.Module, size: int, request: Request, images_NCHW: Tensor) -> Iterator[str]:
    yield f"{'':<24}{'before':>16}{'after':>16}{'after/before':>14}"
    costs = [cost(network, None, size) for network in (before, after)]
    rows = {
        "parameters": [found.parameters for found in costs],
        "MACs": [found.macs for found in costs],
        "bytes": [found.storage.dense for found in costs],
    }
    for name, (first, second) in rows.items():
        yield f"{name:<24}{first:>16,}{second:>16,}{second / first:>14.4f}"
    if request.repeats:
        thick, thin = latencies(before, after, images_NCHW, request.repeats)
        yield f"{f'ms for {request.batch} of {size} px':<24}{1e3 * thick:>16.3f}{1e3 * thin:>16.3f}{thin / thick:>14.4f}"
        found = {key: value for key, value in machine().items() if value is not None}
        yield f"medians of {request.repeats} interleaved runs on " + ", ".join(f"{key} {value}" for key, value in found.items())


def latencies(before: nn.Module, after: nn.Module, images_NCHW: Tensor, repeats: int) -> tuple[float, float]:
    """Return the median seconds of one forward pass of each network, run in turn."""
    with torch.no_grad():
        seconds = interleaved({"before": lambda: before(images_NCHW), "after": lambda: after(images_NCHW)}, repeats)
    return statistics.median(seconds["before"]), statistics.median(seconds["after"])
