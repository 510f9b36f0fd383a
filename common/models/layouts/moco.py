"""MoCo's checkpoints (He et al. 2020, Chen et al. 2020): a query and a key encoder of torchvision's names, and the queue.

    encoder_q.conv1.weight ... encoder_q.layer4.2.bn3.bias      the backbone
    encoder_q.fc.weight, .bias (v1); encoder_q.fc.0.*, fc.2.*   the projection head (v2: Linear, ReLU, Linear)
    encoder_k.*, queue, queue_ptr                               the encoder that follows, and its keys

The query encoder is what is published and evaluated; some files hold nothing else. Both prefixes have the same length, so cutting
names at a length would mix the encoders.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from common.data.inputs import IMAGENET_INPUT
from common.errors import InputError
from common.models.layouts.layout import Layout, Parts

QUERY, KEY, HEAD = "encoder_q.", "encoder_k.", "fc."


def _recognises(tensors: Mapping[str, Tensor]) -> bool:
    return any(name.startswith((QUERY, KEY)) for name in tensors)


def _read(tensors: Mapping[str, Tensor], what: str) -> Parts:
    query = {name[len(QUERY) :]: tensor for name, tensor in tensors.items() if name.startswith(QUERY)}
    if not query:
        raise InputError(f"{what} holds MoCo's key encoder alone ({KEY}*); expected the query encoder ({QUERY}*) to start from")
    head = {name[len(HEAD) :]: tensor for name, tensor in query.items() if name.startswith(HEAD)}
    if set(head) <= {"weight", "bias"}:
        head = {f"0.{name}": tensor for name, tensor in head.items()}  # v1: one layer
    state = {name: tensor for name, tensor in query.items() if not name.startswith(HEAD)}
    return Parts(state, head, tuple(sorted(name for name in tensors if not name.startswith(QUERY))))


MOCO = Layout(
    "moco",
    "MoCo v1 and v2: the query encoder and its projection head",
    f"{QUERY}*",
    _recognises,
    _read,
    IMAGENET_INPUT,
    "moco",
)
