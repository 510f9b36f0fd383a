"""Containers of state dicts: torch's own, which loads with `weights_only=True`, and safetensors."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from common.exchange.exporters.exporter import Options
from common.files import canonical_json
from common.tickets.ticket import Ticket

TORCH = (".pth", ".pt", ".bin", ".ckpt")
SAFETENSORS = ".safetensors"
STATE_SUFFIXES = (*TORCH, SAFETENSORS)


def state_dict_bytes(
    tensors: Mapping[str, Tensor], ticket: Ticket, options: Options, wrapper: Mapping[str, Any] | None = None
) -> bytes:
    """Return a state dict as the bytes of a file.

    Args:
        tensors: name -> tensor.
        ticket: where they come from, which safetensors' metadata name.
        options: the suffix tells the container.
        wrapper: of torch's container: what stands beside the state dict, which is then found under "model".
    """
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    if options.suffix == SAFETENSORS:
        origin = {"ticket": ticket.digest, "mask_digest": ticket.header["mask_digest"], "weights": options.weights}
        return save(state, {"export": canonical_json(origin)})
    buffer = io.BytesIO()
    torch.save(state if wrapper is None else {"model": state, **wrapper}, buffer)
    return buffer.getvalue()
