"""What torchvision and timm themselves call the weights of a model of a name, to see that an export will load there."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import nn

from common.errors import InputError
from common.exchange.exporters.exporter import SparseNetwork
from common.models.backbones import build_backbone
from common.models.names import OWN

Shapes = Mapping[str, tuple[int, ...]]
PLAIN = "--to plain writes its own names"


def torchvision_shapes(network: SparseNetwork, to: str, *, resnet: bool = False) -> Shapes:
    """Return name -> shape of torchvision's model of the ticket's architecture, the classifier among them.

    Args:
        network: what is exported.
        to: what `--to` says, for the message.
        resnet: the receiver can only be a ResNet.

    Raises:
        InputError: torchvision has no such model, or one that computes something else.
    """
    import torchvision

    arch = network.ticket.header["arch"]
    if arch["name"] not in torchvision.models.list_models(module=torchvision.models):
        raise InputError(f"--to {to}: torchvision has no model {arch['name']!r}; {PLAIN}")
    _refuse_variant(network, to)
    with torch.device("meta"):
        model = torchvision.models.get_model(arch["name"], weights=None)
    if resnet and not isinstance(model, torchvision.models.ResNet):
        raise InputError(f"--to {to}: expected a ResNet of torchvision's (resnet18, resnet50 ...), got {arch['name']}; {PLAIN}")
    return _shapes(model)


def timm_shapes(network: SparseNetwork, to: str) -> tuple[Shapes, str]:
    """Return name -> shape of timm's model of the ticket's architecture without classifier, and the classifier's name.

    Raises:
        InputError: timm has no such model, or one that computes something else.
    """
    import timm

    arch, size = network.ticket.header["arch"], network.ticket.header["input"]["size"]
    if arch["name"] in OWN:
        raise InputError(f"--to {to}: timm has no model {arch['name']!r}; {PLAIN}")
    patch = re.fullmatch(r"patch(\d+)", arch["variant"] or "")
    if patch is None:
        _refuse_variant(network, to)
    with torch.device("meta"):
        model = build_backbone(arch["name"], in_chans=arch["in_chans"], size=size, patch=None if patch is None else int(patch[1]))
    defaults = timm.get_pretrained_cfg(arch["name"])
    classifier = None if defaults is None else defaults.classifier
    return _shapes(model), classifier if isinstance(classifier, str) else ""


def timm_feature_shapes(network: SparseNetwork, to: str) -> Shapes:
    """Return name -> shape of timm's model of the ticket's architecture as an extractor of feature maps.

    Raises:
        InputError: timm has no such model, or one that gives no feature maps.
    """
    import timm

    arch = network.ticket.header["arch"]
    if arch["name"] in OWN:
        raise InputError(f"--to {to}: timm has no model {arch['name']!r}; {PLAIN}")
    _refuse_variant(network, to)
    try:
        with torch.device("meta"):
            return _shapes(timm.create_model(arch["name"], features_only=True, in_chans=arch["in_chans"]))
    except (RuntimeError, ValueError, AssertionError, AttributeError, KeyError) as error:
        why = " ".join(str(error).split())
        raise InputError(f"--to {to}: timm gives no feature maps of {arch['name']}: {why}") from error


def require_fit(network: SparseNetwork, names: Mapping[str, str], receiver: Shapes, to: str, *, fresh_stem: bool) -> list[str]:
    """See that every tensor of a receiver gets its own from the network.

    Args:
        network: what is exported.
        names: canonical name -> the receiver's name.
        receiver: the receiver's tensors, less its classifier.
        to: what `--to` says, for the message.
        fresh_stem: the stem is left out.

    Returns:
        Canonical names that the receiver has no place for.

    Raises:
        InputError: it lacks one, or one has another shape.
    """
    given = {names[name]: (name, tuple(tensor.shape)) for name, tensor in network.backbone.items()}
    for theirs, shape in receiver.items():
        name, got = given.get(theirs, (theirs, None))
        if got == shape or theirs.endswith("num_batches_tracked") or (fresh_stem and name in network.stem):
            continue
        hint = "; --stem fresh leaves the stem out" if name in network.stem else f"; {PLAIN}"
        arch = network.ticket.header["arch"]["name"]
        raise InputError(f"--to {to}: {theirs!r} of {arch} has shape {shape} there, and {got} in {network.ticket.path}{hint}")
    return sorted(name for theirs, (name, _) in given.items() if theirs not in receiver)


def _refuse_variant(network: SparseNetwork, to: str) -> None:
    arch = network.ticket.header["arch"]
    if arch["variant"] is not None:
        raise InputError(
            f"--to {to}: {network.ticket.path} is variant {arch['variant']} of {arch['name']}, which computes something else "
            f"than the receiver's; {PLAIN}"
        )


def _shapes(model: nn.Module) -> Shapes:
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
