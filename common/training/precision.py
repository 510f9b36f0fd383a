"""Numbers: float32, TF32 or bfloat16, and how tensors lie in memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Literal

import torch

Precision = Literal["fp32", "tf32", "bf16"]


@contextmanager
def float32_products(precision: Precision) -> Iterator[None]:
    """Allow TF32 for float32 products on GPUs inside the block, unless the precision is fp32; then as before."""
    matmul, cudnn = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision != "fp32"
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = matmul, cudnn


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[None]:
    """Return the context of a forward pass: bfloat16 autocast, or nothing. Weights, gradients and their masks stay float32."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")
