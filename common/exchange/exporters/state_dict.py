"""State dicts of other libraries: the zeros in place, under the names and behind the prefix that each gives a backbone."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from common.errors import InputError
from common.exchange.exporters.container import STATE_SUFFIXES, state_dict_bytes
from common.exchange.exporters.exporter import Export, Exporter, Options, SparseNetwork, sparse_network
from common.exchange.exporters.receivers import (
    PLAIN,
    Shapes,
    require_fit,
    timm_feature_shapes,
    timm_shapes,
    torchvision_shapes,
)
from common.tickets.ticket import Ticket

OWN_HEAD = "fc"


@dataclass(frozen=True)
class Names:
    """What a receiver calls the tensors.

    Attributes:
        of: canonical name -> the receiver's, without prefix.
        receiver: the receiver's tensors by name, less its classifier; None where nothing is known to compare with.
        head: the receiver's classifier; None where it takes none.
    """

    of: Mapping[str, str]
    receiver: Shapes | None
    head: str | None


def _same(network: SparseNetwork) -> dict[str, str]:
    return {name: name for name in network.backbone}


def _plain(network: SparseNetwork, to: str) -> Names:
    del to
    return Names(_same(network), None, OWN_HEAD)


def _torchvision(network: SparseNetwork, to: str) -> Names:
    theirs = torchvision_shapes(network, to)
    layers = {name.rpartition(".")[0] for name in theirs if name not in network.backbone}
    head = layers.pop() if len(layers) == 1 else None
    return Names(_same(network), {name: shape for name, shape in theirs.items() if name.rpartition(".")[0] != head}, head)


def _timm(network: SparseNetwork, to: str) -> Names:
    theirs, head = timm_shapes(network, to)
    return Names(_same(network), theirs, head or None)


def _body(network: SparseNetwork, to: str) -> Names:
    """A backbone of torchvision's detectors and of smp's own encoders: a ResNet of torchvision's without its classifier."""
    theirs = torchvision_shapes(network, to, resnet=True)
    return Names(_same(network), {name: shape for name, shape in theirs.items() if not name.startswith("fc.")}, None)


def _timm_features(network: SparseNetwork, to: str) -> Names:
    """A tu- encoder of smp's: timm's extractor of feature maps, which puts some models behind `model.` and flattens others."""
    theirs = timm_feature_shapes(network, to)
    names = {}
    for name in network.backbone:
        candidates = (name, f"model.{name}", re.sub(r"^(\w+)\.(\d+)\.", r"\1_\2.", name))
        names[name] = next((candidate for candidate in candidates if candidate in theirs), name)
    return Names(names, theirs, None)


@dataclass(frozen=True)
class Layout:
    """One receiver of state dicts: its prefix, what it calls the tensors, and whether it takes a classifier, or a part only."""

    name: str
    about: str
    prefix: str
    names: Callable[[SparseNetwork, str], Names]
    head: bool = False
    part: bool = False


LAYOUTS = (
    Layout("torchvision", "torchvision's models", "", _torchvision, head=True),
    Layout("timm", "timm's models", "", _timm, head=True),
    Layout("plain", "the backbone's own names, of any architecture", "", _plain, head=True),
    Layout("torchvision-detection", "the body of torchvision's detectors", "backbone.body.", _body),
    Layout("smp", "segmentation-models-pytorch, its own ResNet encoders", "encoder.", _body),
    Layout("smp-tu", "segmentation-models-pytorch, its tu- encoders", "encoder.model.", _timm_features, part=True),
)


def write_state(ticket: Ticket, options: Options, layout: Layout) -> Export:
    """Write a masked state dict under a receiver's names.

    Raises:
        InputError: the receiver has no such network or takes no head, or the ticket has no such weights.
    """
    network = sparse_network(ticket, options)
    names = layout.names(network, layout.name)
    fresh = options.stem == "fresh"
    left_out: list[str] = []
    if names.receiver is not None:
        left_out = require_fit(network, names.of, names.receiver, layout.name, fresh_stem=fresh)
    if left_out and not layout.part:
        raise InputError(f"--to {layout.name}: {layout.about} have no {left_out[0]!r} ({len(left_out)} such tensors); {PLAIN}")
    prefix = layout.prefix if options.prefix is None else options.prefix
    skipped = {*left_out, *(network.stem if fresh else ())}
    state = {prefix + names.of[name]: tensor for name, tensor in network.masked().items() if name not in skipped}
    state |= {f"{prefix}{_head(names, layout)}.{name}": tensor for name, tensor in network.head.items()}
    notes = [f"{len(state)} tensors under the names of {layout.about}"]
    if fresh:
        notes.append("the stem is left out; the receiver keeps its own")
    if left_out:
        notes.append(f"left out, as the receiver has no place for them: {', '.join(left_out)}")
    if network.head:
        notes.append(f"the classifier has {network.head['weight'].shape[0]} classes; build the receiver with as many")
    return Export(state_dict_bytes(state, ticket, options), tuple(notes))


def _head(names: Names, layout: Layout) -> str:
    if names.head is None:
        raise InputError(f"--head: this one of {layout.about} has no classifier under one name; export without --head")
    return names.head


def _exporter(layout: Layout) -> Exporter:
    takes = ("weights", *(("head",) if layout.head else ()), "stem", "prefix")
    return Exporter(
        layout.name, layout.about, STATE_SUFFIXES, takes, lambda ticket, options: write_state(ticket, options, layout)
    )


EXPORTERS = tuple(_exporter(layout) for layout in LAYOUTS)
