"""State dicts under detectron2's names: the stem under `stem`, stages res2 to res5, norms inside convolutions, shortcuts.

detectron2 builds a ResNet that computes the same only when it is told to: it takes BGR pixels of 0 to 255 and, unless
MODEL.RESNETS.STRIDE_IN_1X1 is False, puts a bottleneck's stride elsewhere. The settings are printed with every export.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from common.errors import InputError
from common.exchange.exporters.container import SAFETENSORS, STATE_SUFFIXES, state_dict_bytes
from common.exchange.exporters.exporter import Export, Exporter, Options, SparseNetwork, sparse_network
from common.exchange.exporters.receivers import require_fit, torchvision_shapes
from common.tickets.ticket import Ticket

NAME = "detectron2"
_COUNTER = "num_batches_tracked"
_NORM = re.compile(r"bn([1-3])$")
_MODULES = {"downsample.0": "shortcut", "downsample.1": "shortcut.norm"}
_BLOCK = re.compile(r"layer([1-4])\.(\d+)\.(conv[1-3]|bn[1-3]|downsample\.[01])")


def detectron2_name(name: str) -> str | None:
    """Return what detectron2 calls a tensor of a torchvision ResNet's backbone; None for one that it has not.

    Args:
        name: canonical, such as "layer1.0.bn2.weight", which becomes "res2.0.conv2.norm.weight".
    """
    module, _, leaf = name.rpartition(".")
    if leaf == _COUNTER:
        return None
    if module in ("conv1", "bn1"):
        return f"stem.{_conv_or_norm(module)}.{leaf}"
    block = _BLOCK.fullmatch(module)
    if block is None:
        return None
    stage, number, part = block.groups()
    return f"res{int(stage) + 1}.{number}.{_MODULES.get(part) or _conv_or_norm(part)}.{leaf}"


def _conv_or_norm(module: str) -> str:
    return _NORM.sub(r"conv\1.norm", module)


def write_detectron2(ticket: Ticket, options: Options) -> Export:
    """Write a masked state dict under detectron2's names; its counters of norms have no place there.

    Torch's container is detectron2's own kind of checkpoint, which finds its place behind any prefix ("matching_heuristics").

    Raises:
        InputError: the backbone is no ResNet that detectron2 builds, or the ticket has no such weights.
    """
    network = sparse_network(ticket, options)
    theirs = torchvision_shapes(network, NAME, resnet=True)
    body = {name: shape for name, shape in theirs.items() if not name.startswith("fc.")}
    fresh = options.stem == "fresh"
    require_fit(network, {name: name for name in network.backbone}, body, NAME, fresh_stem=fresh)
    names = {name: detectron2_name(name) for name in network.backbone if not (fresh and name in network.stem)}
    strange = [name for name, theirs in names.items() if theirs is None and not name.endswith(_COUNTER)]
    if strange:
        raise InputError(f"--to {NAME}: detectron2's ResNets have nothing like {strange[0]!r} ({len(strange)} such tensors)")
    prefix = options.prefix or ""
    masked = network.masked()
    state = {prefix + theirs: masked[name] for name, theirs in names.items() if theirs is not None}
    wrapper = {"__author__": "pretraining-tickets", "matching_heuristics": True}
    content = state_dict_bytes(state, ticket, options, None if options.suffix == SAFETENSORS else wrapper)
    return Export(content, (f"{len(state)} tensors under the names of detectron2", *_settings(network)))


def _settings(network: SparseNetwork) -> list[str]:
    """Say which settings of detectron2 make its network compute what ours does."""
    input = network.ticket.header["input"]
    low, high = input["range"]
    scale = 255 / (high - low)
    mean, std = ([round(scale * (x - at), 4) for x in input[key]] for key, at in (("mean", low), ("std", 0.0)))
    resnet = _resnet_settings(network)
    return [
        f"set MODEL.PIXEL_MEAN {mean}, MODEL.PIXEL_STD {std}, INPUT.FORMAT RGB",
        "set " + ", ".join(f"MODEL.RESNETS.{key} {value}" for key, value in resnet.items()),
    ]


def _resnet_settings(network: SparseNetwork) -> Mapping[str, Any]:
    shapes = {name: tuple(tensor.shape) for name, tensor in network.skeleton.state_dict().items()}
    blocks = [max(int(m[2]) for m in map(_BLOCK.match, shapes) if m and m[1] == str(stage)) + 1 for stage in (1, 2, 3, 4)]
    bottleneck = "layer1.0.conv3.weight" in shapes
    width, inside = shapes["layer1.0.conv2.weight"][:2]
    settings: dict[str, Any] = {"DEPTH": sum(blocks) * (3 if bottleneck else 2) + 2, "STRIDE_IN_1X1": False}
    if not bottleneck:
        settings["RES2_OUT_CHANNELS"] = width
    elif (width, inside) != (64, 64):
        settings |= {"NUM_GROUPS": width // inside, "WIDTH_PER_GROUP": inside}
    return settings


EXPORTER = Exporter(NAME, "detectron2's ResNets", STATE_SUFFIXES, ("weights", "stem", "prefix"), write_detectron2)
