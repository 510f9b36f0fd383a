"""The classifier that comes with weights to start from."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from common.errors import InputError
from common.models.start_weights import StartWeights


@dataclass(frozen=True)
class ClassifierReport:
    """Whether a classifier was taken from a file, and a sentence that says so or why not."""

    taken: bool
    text: str

    def __str__(self) -> str:
        return self.text


def load_classifier_(head: nn.Linear, backbone: nn.Module, start: StartWeights) -> ClassifierReport:
    """Copy a file's classifier into a head in place, if its shape is the head's.

    A classifier is a weight and a bias that are no part of the backbone, such as `fc.weight` and `fc.bias`. Its classes must be
    the head's, in the same order: files do not say, so nothing but the shape is checked.

    Args:
        head: a linear classifier of (K, D) weights; unchanged where nothing is taken.
        backbone: the network that the other tensors belong to.
        start: what `read_start_weights` returned.

    Raises:
        InputError: two classifiers fit.
    """
    own, shape = backbone.state_dict(), tuple(head.weight.shape)
    layers = [name.removesuffix(".weight") for name in start.state if name.endswith(".weight") and name not in own]
    found = {layer: start.state[f"{layer}.weight"] for layer in layers if f"{layer}.bias" in start.state}
    fitting = sorted(layer for layer, weight in found.items() if tuple(weight.shape) == shape)
    if len(fitting) > 1:
        raise InputError(
            f"start.weights: {' and '.join(fitting)} both are classifiers of shape {shape}; leave one out of the file, or set "
            f"start.head fresh"
        )
    if not fitting:
        there = ", ".join(f"{layer} of shape {tuple(weight.shape)}" for layer, weight in sorted(found.items())) or "no classifier"
        return ClassifierReport(False, f"no classifier of shape {shape} (there is {there}), so the head is fresh")
    (layer,) = fitting
    with torch.no_grad():
        head.weight.copy_(start.state[f"{layer}.weight"])
        head.bias.copy_(start.state[f"{layer}.bias"])
    return ClassifierReport(True, f"the head is {layer} of the file, of shape {shape}; its classes must be those of the data")
