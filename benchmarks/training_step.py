"""One whole training step, as the benchmarks that compare networks time it: forward, loss, backward, SGD, waited for on a GPU."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from common.config import OptimConfig
from common.training.optim import build_optimizer
from common.training.precision import Precision, autocast


def training_step(
    network: nn.Module, loss: Callable[[nn.Module], Tensor], device: torch.device, precision: Precision
) -> Callable[[], None]:
    """Return what trains a network on the device by one step.

    Args:
        network: on the device, laid out.
        loss: of the network, scalar; what it is computed on lies on the device.
        device: where it is computed.
        precision: of the forward pass.
    """
    optimizer = build_optimizer([{"params": list(network.parameters())}], OptimConfig(lr=1e-4))

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with autocast(device, precision):
            total = loss(network)
        total.backward()
        optimizer.step()
        if device.type == "cuda":
            torch.cuda.synchronize()

    return step
