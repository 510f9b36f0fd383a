"""Start a backbone from given weights: find them, see that their input is the data's, fill it, and tell what matched."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from common.config import StartConfig
from common.data.inputs import NORMALISATIONS, InputSpec, accept_input
from common.errors import InputError
from common.files import read_json
from common.models.names import published_library
from common.models.published_weights import published_weights
from common.models.start import MatchReport, StartWeights, load_start_weights_, read_start_weights
from common.training.distributed import is_first


def fill_backbone_(
    backbone: nn.Module, config: StartConfig, given: InputSpec, *, accept_mismatch: bool, dense: bool = False
) -> tuple[StartWeights, tuple[str, ...]]:
    """Fill a backbone with the weights that a recipe starts from.

    Args:
        backbone: its own weights are replaced in place.
        config: which weights, in which layout, for which input; `weights` is not None.
        given: the input specification of the data.
        accept_mismatch: go on although the weights expect another input.
        dense: of a ticket that was never rewound, take the weights at the end of round 0, of which none was pruned.

    Returns:
        The weights, whose `facts` say what a run records of its start, and flags for its results.

    Raises:
        InputError: the weights cannot be read or fetched, do not fit, expect another input, or do not say which.
    """
    what = str(config.weights)
    start = _find(config, str(getattr(backbone, "arch", {}).get("name")))
    if dense and start.ticket is not None:
        start = replace(start, state=start.ticket.dense_weights().backbone)
    start = replace(start, input=_expected_input(start, config, given))
    flags = accept_input(what, start.input, given, accept_mismatch=accept_mismatch)
    report = load_start_weights_(backbone, start, what, stem=config.stem)
    if is_first():
        print(f"start.weights: {what}, layout {start.layout}: {report}")
    start.facts.update(_facts(start, config, report))
    return start, flags


def source_of(origin: Mapping[str, Any]) -> dict[str, Any]:
    """Return which search a ticket comes from: {"folder", "recipe", "seed", "round"}."""
    return {key: origin[key] for key in ("folder", "recipe", "seed", "round")}


def _find(config: StartConfig, name: str) -> StartWeights:
    weights = str(config.weights)
    if published_library(weights) is not None:
        return published_weights(weights, name)
    return read_start_weights(weights, config.format)


def _expected_input(start: StartWeights, config: StartConfig, given: InputSpec) -> dict[str, Any]:
    """Return the input that weights expect: what the recipe says, else what the file or its layout says.

    Raises:
        InputError: neither says it, or the recipe contradicts a ticket.
    """
    if config.input is None:
        if start.input is None:
            raise InputError(
                f"start.weights: {config.weights} (layout {start.layout}) does not say which input its weights expect; say "
                f"it with --start.input: imagenet (mean and std), unit ([0, 1], SimCLR's), half, data (as it is), or a JSON file"
            )
        return dict(start.input)
    said = _said(config.input, given)
    difference = said.mismatch(InputSpec.from_json(start.input)) if start.arch is not None and start.input is not None else None
    if difference is not None:
        raise InputError(
            f"start.input: got {config.input}, but {config.weights} records another: {difference}; leave start.input out"
        )
    return said.to_json()


def _said(text: str, given: InputSpec) -> InputSpec:
    """Return the input specification that `start.input` names."""
    if text == "data":
        return given
    if text in NORMALISATIONS:
        mean, std = NORMALISATIONS[text]
        return InputSpec(None, len(mean), (0.0, 1.0), mean, std, None)
    if not Path(text).is_file():
        raise InputError(f"start.input: got {text!r}, expected {', '.join(NORMALISATIONS)}, data, or a JSON file that is there")
    try:
        return InputSpec.from_json(read_json(text))
    except InputError as error:
        raise InputError(f"start.input: {text}: {error}") from error


def _facts(start: StartWeights, config: StartConfig, report: MatchReport) -> dict[str, Any]:
    return {
        "layout": start.layout,
        "digest": start.digest,
        "ticket": start.ticket.digest if start.ticket else None,
        "source": source_of(start.origin) if start.origin else None,
        "density": start.ticket.density if start.ticket else 1.0,
        "input": start.input,
        "input_said_by": "start.input" if config.input else "weights",
        "matched": len(report.matched),
        "missing": list(report.missing),
        "unexpected": list(report.unexpected),
        "left_out": list(report.left_out),
    }
