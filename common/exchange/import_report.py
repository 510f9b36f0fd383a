"""What an import says of itself: what was matched, the head, the density, kind by kind."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from common.exchange.mask_rules import Kept
from common.exchange.match import Matched
from common.tickets.ticket import Ticket


@dataclass(frozen=True)
class Report:
    """An import that was done.

    Attributes:
        ticket: as it was written.
        format: the importer's name.
        layout: of the file's names.
        matched: the weights; None where the ticket is a mask alone.
        kept: the mask and what belongs to it.
    """

    ticket: Ticket
    format: str
    layout: str
    matched: Matched | None
    kept: Kept

    def lines(self) -> list[str]:
        """Return it as lines of text."""
        mask = self.kept.mask
        rows = [
            ("format", f"{self.format}, names in the layout {self.layout}"),
            ("matched", self._matched()),
            ("head", self._head()),
            ("density", f"{mask.density:.4%} ({mask.kept:,} of {mask.size:,} weights kept, {len(mask)} tensors)"),
        ]
        rows += [("", text) for text in _kinds(self.kept)]
        if self.kept.left_out:
            rows.append(("left out", f"{len(self.kept.left_out)} masks of other parts ({self.kept.left_out[0]} ...)"))
        rows.append(("ticket", f"{self.ticket.path}: digest {self.ticket.digest}"))
        return [f"{key:<10}{text}" for key, text in rows]

    def _matched(self) -> str:
        if self.matched is None:
            return f"{len(self.kept.mask)} masks; a mask without weights"
        counters = f", {self.matched.counters} counters that the file lacks" if self.matched.counters else ""
        left_out = f", {len(self.matched.left_out)} left out ({self.matched.left_out[0]} ...)" if self.matched.left_out else ""
        return f"{len(self.matched.state) - self.matched.counters} tensors{counters}{left_out}"

    def _head(self) -> str:
        head = {} if self.matched is None else self.matched.head
        if not head:
            return "none"
        if self.matched is None or self.matched.classifier is None:
            return f"a projection of {len(head)} tensors"
        weight = head["weight"]
        kept = self.kept.head.get("weight", weight != 0)
        density = f", density {int(torch.count_nonzero(kept)) / weight.numel():.4f}" if not bool(kept.all()) else ""
        return f"{self.matched.classifier}, {weight.shape[0]} classes{density}"


def _kinds(kept: Kept) -> Iterator[str]:
    """Yield a line for each kind of layer: shortcuts, and others by the size of their kernels."""
    sizes: dict[str, list[int]] = {}
    for name, count in kept.mask.kept_per_tensor.items():
        shape = kept.mask.shapes[name]
        kernel = "x".join(map(str, shape[2:])) if len(shape) > 2 else "linear"
        total = sizes.setdefault(f"{'shortcuts ' if '.downsample.' in name else ''}{kernel}", [0, 0, 0])
        total[0] += 1
        total[1] += count
        total[2] += kept.mask[name].numel()
    for kind, (tensors, count, size) in sorted(sizes.items()):
        yield f"{kind:<14} {count / size:8.4%} of {size:,} in {tensors}"
