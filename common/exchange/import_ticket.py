"""Make a ticket of another system's sparse checkpoint: read, recognise, match, check, write."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from common.data.inputs import InputSpec
from common.errors import InputError
from common.exchange.import_report import Report
from common.exchange.importers.importer import Found, Importer
from common.exchange.importers.table import find_importer
from common.exchange.input_option import named_input
from common.exchange.mask_rules import (
    Kept,
    check_density,
    check_pruned,
    few_zeros,
    kept_by_masks,
    kept_by_zeros,
    kept_densely,
    zeros_of,
)
from common.exchange.match import Matched, Named, canonical, match
from common.exchange.source import read_source
from common.models.backbones import rebuild_backbone
from common.models.resnet_skeleton import resnet_skeleton
from common.tickets.ticket import Description, save_ticket
from common.tickets.weights_file import NetworkState

_ORIGIN = ("folder", "objective", "data", "split", "recipe", "config", "seed", "round", "run")


@dataclass(frozen=True)
class Request:
    """What is to be imported.

    Attributes:
        file: the checkpoint, or file of masks.
        arch: the backbone, as `model.name`.
        output: the ticket to write.
        format: a name of the table of importers, or "auto".
        stem: the backbone's, as `model.stem`.
        input: what the weights expect: a name or a file; None: what file and format say.
        expect_density: of the mask, in (0, 1]; None: any.
        weights: file of the weights where `file` holds masks alone.
        dense: take weights without a mask as a ticket of density 1.
        data: what the weights were trained on; None: not known.
        objective: what they were trained for; None: what the layout of the names says, such as moco.
    """

    file: Path
    arch: str
    output: Path
    format: str = "auto"
    stem: str = "native"
    input: str | None = None
    expect_density: float | None = None
    weights: Path | None = None
    dense: bool = False
    data: str | None = None
    objective: str | None = None


def import_ticket(request: Request) -> Report:
    """Import a file and write the ticket; return what was matched.

    Raises:
        InputError: the file is absent, damaged, hostile or in no known format; it does not fit the backbone; mask and weights do
            not belong together; nothing says what input the weights expect. Nothing is written.
    """
    what = str(request.file)
    source = read_source(request.file, request.weights)
    importer = find_importer(source, request.format)
    _check_options(request, importer)
    found = importer.read(source)
    named = canonical(found, what)
    spec = _input_of(request, importer, found, named)
    backbone = _layers({"name": request.arch, "stem": request.stem, "in_chans": spec.channels, "variant": importer.variant}, spec)
    matched = match(named.weights, backbone, found.left_out, what) if named.weights is not None else None
    kept = _kept(request, found, named, matched, backbone)
    check_density(kept.mask, request.expect_density, what)
    description = _description(request, importer, found, named, kept, spec, backbone)
    ticket = save_ticket(request.output, kept.mask, description, weights=_state(matched, kept))
    return Report(ticket, importer.name, named.layout.name, matched, kept)


def _layers(arch: Mapping[str, Any], spec: InputSpec) -> nn.Module:
    """Return a backbone to match names and shapes with; the usual ones without what building them takes."""
    skeleton = resnet_skeleton(arch["name"], stem=arch["stem"], in_chans=arch["in_chans"]) if arch["variant"] is None else None
    return skeleton or rebuild_backbone(arch, seed=0, stream="import", size=spec.size)


def _check_options(request: Request, importer: Importer) -> None:
    if request.weights is not None and not importer.takes_weights:
        raise InputError(
            f"--weights: {request.file} is in the format {importer.name}, which holds weights itself; leave --weights out, "
            f"or give --format masks to take the masks alone"
        )


def _input_of(request: Request, importer: Importer, found: Found, named: Named) -> InputSpec:
    """Return what the weights expect of their input: what the user says, else the file, the format, or the layout of its names.

    Raises:
        InputError: none of them does.
    """
    if request.input is not None:
        return named_input(request.input)
    spec = found.input or importer.input or named.layout.input
    if spec is None:
        raise InputError(
            f"{request.file} (format {importer.name}) does not say which input its weights expect; say it with --input: imagenet "
            f"(mean and std), unit ([0, 1]), half, a data set's name such as cifar10, or a JSON or YAML file"
        )
    return spec


def _kept(request: Request, found: Found, named: Named, matched: Matched | None, backbone: nn.Module) -> Kept:
    """Find the mask by the format's rule, and check it against the weights."""
    what = str(request.file)
    if found.rule == "masks":
        if request.dense:
            raise InputError(f"--dense: {what} holds masks; leave --dense out")
        kept = kept_by_masks(named, backbone, matched, what)
        if matched is not None and not found.dense_weights:
            check_pruned(kept, matched.state, matched.head, what)
        return kept
    if matched is None:
        raise InputError(f"{what} holds neither masks nor weights")
    if found.rule == "zeros":
        if request.dense:
            raise InputError(
                f"--dense: {what} holds weights that are 0, which are its mask; give --format plain to take all as kept"
            )
        return kept_by_zeros(matched.state, backbone, what, explicit=request.format == "zeros")
    if not request.dense:
        zeros, size = zeros_of(matched.state, backbone)
        if zeros:
            raise few_zeros(zeros, size, what)
        raise InputError(
            f"{what} holds no mask, and no zeros that could be one; --dense takes every weight as kept, a ticket of density 1"
        )
    return kept_densely(matched.state, backbone, what)


def _state(matched: Matched | None, kept: Kept) -> NetworkState | None:
    """Return the weights to embed; the mask of a head is applied, because a ticket's mask is the backbone's alone."""
    if matched is None:
        return None
    head = {name: tensor * kept.head[name] if name in kept.head else tensor for name, tensor in matched.head.items()}
    return NetworkState(matched.state, head)


def _description(
    request: Request, importer: Importer, found: Found, named: Named, kept: Kept, spec: InputSpec, backbone: nn.Module
) -> Description:
    arch: Any = backbone.arch
    objective = request.objective or named.layout.objective
    origin = {**dict.fromkeys(_ORIGIN), "importer": importer.name, "data": request.data, "objective": objective}
    given = request.weights is not None or found.rule == "dense"
    return Description(
        arch=arch,
        scope=kept.scope,
        origin=origin,
        rewind={"to": "pretrained" if given else "final", "at": None},
        input=spec.to_json(),
    )
