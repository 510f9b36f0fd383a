"""LARS: SGD with momentum whose step is scaled, tensor by tensor, to the size of the weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor


class LARS(torch.optim.Optimizer):
    """Layer-wise adaptive rate scaling (You et al. 2017, arXiv:1708.03888), with momentum as torch's SGD has it.

    g <- (g + weight_decay w) * ratio;  v <- momentum v + g;  w <- w - lr v, where
    ratio = trust_coefficient |w| / (|g| + weight_decay |w|), and 1 where |w| or |g| is 0. (The paper has the learning rate inside
    the momentum; the two agree while it is constant.)

    Args:
        params: parameters or groups; a group with "adapt": False (norms, biases) has the ratio 1.
        lr: learning rate, > 0.
        momentum: in [0, 1).
        weight_decay: L2, >= 0.
        trust_coefficient: > 0 (the paper's eta, 0.001).
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        *,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        trust_coefficient: float = 0.001,
    ) -> None:
        defaults = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "adapt": True}
        super().__init__(params, {**defaults, "trust_coefficient": trust_coefficient})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        """Take one step; nothing waits for the device."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            if parameters:
                self._update(group, parameters)
        return loss

    def _update(self, group: dict[str, Any], parameters: list[Tensor]) -> None:
        gradients = [p.grad for p in parameters]
        decay = group["weight_decay"]
        ratios = _ratios(parameters, gradients, decay, group["trust_coefficient"]) if group["adapt"] else None  # type: ignore[arg-type]
        updates = list(torch._foreach_add(gradients, parameters, alpha=decay))  # type: ignore[arg-type]
        if ratios is not None:
            torch._foreach_mul_(updates, ratios)
        if group["momentum"]:
            buffers = []
            for parameter in parameters:
                state = self.state[parameter]
                if "momentum_buffer" not in state:
                    state["momentum_buffer"] = torch.zeros_like(parameter)
                buffers.append(state["momentum_buffer"])
            torch._foreach_mul_(buffers, group["momentum"])
            torch._foreach_add_(buffers, updates)
            updates = buffers
        torch._foreach_add_(parameters, updates, alpha=-group["lr"])


def _ratios(parameters: list[Tensor], gradients: list[Tensor], decay: float, trust: float) -> list[Tensor]:
    """Return the trust ratio of every tensor, as scalars on its device."""
    weight_L = torch.stack(torch._foreach_norm(parameters))
    gradient_L = torch.stack(torch._foreach_norm(gradients))
    ratio_L = trust * weight_L / (gradient_L + decay * weight_L)
    return list(torch.where((weight_L > 0) & (gradient_L > 0), ratio_L, torch.ones_like(ratio_L)).unbind())
