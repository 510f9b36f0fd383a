"""The network that a ticket is of: its backbone, and the classifier that the ticket carries."""

from __future__ import annotations

from typing import Literal

from torch import nn

from common.errors import InputError
from common.models.backbones import rebuild_backbone
from common.models.heads import Network, linear_head
from common.tickets.ticket import Ticket
from common.tickets.weights_file import NetworkState

Weights = Literal["rewind", "trained"]


def read_state(ticket: Ticket, weights: Weights) -> NetworkState:
    """Return a ticket's rewind point, or the weights at the end of its round; errors as the ticket's own methods."""
    return ticket.rewind_point() if weights == "rewind" else ticket.trained_weights()


def masked_network(ticket: Ticket, weights: Weights, size: int) -> nn.Module:
    """Build a ticket's network with its weights under its mask, in eval mode.

    Args:
        ticket: what to build.
        weights: which weights it gets.
        size: side of the images in pixels, for backbones that are made for one size.

    Returns:
        A `Network` of the backbone and the ticket's linear classifier, or the bare backbone where the ticket has no classifier
        (a projection is a part of pre-training, not of the network).

    Raises:
        TicketError: the ticket has no such weights, or they do not fit its architecture.
    """
    state = read_state(ticket, weights)
    backbone = rebuild_backbone(ticket.header["arch"], seed=0, stream="init", size=size)
    ticket.apply_to(backbone, weights=state)
    classifier = classifier_shape(state)
    if classifier is None:
        return backbone.eval()
    head = linear_head(classifier[1], classifier[0], seed=0)
    head.load_state_dict(dict(state.head))
    return Network(backbone, head).eval()


def classifier_shape(state: NetworkState) -> tuple[int, int] | None:
    """Return (classes, features) of the linear classifier among a network's tensors; None where there is none."""
    if set(state.head) != {"weight", "bias"} or state.head["weight"].dim() != 2:
        return None
    classes, features = state.head["weight"].shape
    return int(classes), int(features)


def image_size(ticket: Ticket, asked: int | None) -> int:
    """Return the side of images in pixels: what was asked for, or what the ticket records.

    Raises:
        InputError: neither is there, or it is not positive.
    """
    size = asked if asked is not None else ticket.header["input"]["size"]
    if size is None:
        raise InputError(f"{ticket.path} records no size of images; give --size in pixels")
    if size < 1:
        raise InputError(f"--size: got {size}, expected pixels >= 1")
    return int(size)
