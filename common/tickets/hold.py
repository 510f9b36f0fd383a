"""Hold: keep pruned weights, their gradients and their optimizer state at zero while a network trains.

One engine for every loop: multiply by stored masks, many tensors in one call. No module is wrapped, no parameter replaced and no
second copy of the weights kept, so state dicts, DistributedDataParallel and compilers see the plain network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn

from common.tickets.errors import TicketError
from common.tickets.mask import Mask


class Hold:
    """Zero the pruned entries of gradients, weights and optimizer state, in place.

    Args:
        named_parameters: the model's parameters by name; those without a mask are left alone.
        mask: what is kept. Device masks take the parameter's device, memory format and, on the CPU, its float type (there a
            bool mask costs three to five times more); on an accelerator they are bool, one byte a weight.

    Raises:
        TicketError: a masked name is no parameter, or has another shape.
    """

    def __init__(self, named_parameters: Iterable[tuple[str, nn.Parameter]], mask: Mask) -> None:
        parameters = dict(named_parameters)
        for name, tensor in mask.items():
            if name not in parameters or parameters[name].shape != tensor.shape:
                got = "no such parameter" if name not in parameters else f"shape {tuple(parameters[name].shape)}"
                raise TicketError(f"the mask holds {name!r} of shape {tuple(tensor.shape)}; the model has {got}")
        self._parameters = [parameters[name] for name in mask]
        self._masks = [_device_mask(tensor, parameters[name]) for name, tensor in mask.items()]

    @torch.no_grad()
    def grads_(self) -> None:
        """Zero the pruned gradients: after the last backward and before clipping and the optimizer's step."""
        pairs = [(p.grad, m) for p, m in zip(self._parameters, self._masks, strict=True) if p.grad is not None]
        if pairs:
            torch._foreach_mul_([grad for grad, _ in pairs], [mask for _, mask in pairs])  # type: ignore[arg-type]

    @torch.no_grad()
    def weights_(self) -> None:
        """Zero the pruned weights."""
        torch._foreach_mul_(self._parameters, self._masks)  # type: ignore[arg-type]

    @torch.no_grad()
    def state_(self, optimizer: torch.optim.Optimizer) -> None:
        """Zero the pruned entries of the optimizer's per-weight state, such as momentum."""
        for parameter, mask in zip(self._parameters, self._masks, strict=True):
            for value in optimizer.state.get(parameter, {}).values():
                if isinstance(value, Tensor) and value.shape == parameter.shape:
                    value.mul_(mask)

    @torch.no_grad()
    def is_held(self, optimizer: torch.optim.Optimizer | None = None) -> bool:
        """Say whether every pruned weight (and, given the optimizer, its state) is exactly zero. Synchronises the device."""
        for parameter, mask in zip(self._parameters, self._masks, strict=True):
            pruned = mask == 0
            held: list[Tensor] = [parameter]
            if optimizer is not None:
                held += [
                    v for v in optimizer.state.get(parameter, {}).values() if isinstance(v, Tensor) and v.shape == parameter.shape
                ]
            if any(bool((tensor[pruned] != 0).any()) for tensor in held):
                return False
        return True


def _device_mask(mask: Tensor, parameter: nn.Parameter) -> Tensor:
    """Copy a mask to where the parameter lives, laid out as the parameter is."""
    dtype = parameter.dtype if parameter.device.type == "cpu" else torch.bool
    return torch.empty_like(parameter, dtype=dtype, requires_grad=False).copy_(mask)


class HoldHandle:
    """What `hold` returns: a switch that takes the hooks off again, by `remove()` or at the end of a `with` block.

    Attributes:
        hold: the engine. Call `hold.grads_()` yourself before clipping, so that pruned gradients do not count in the norm.
    """

    def __init__(self, engine: Hold, optimizer: torch.optim.Optimizer) -> None:
        self.hold = engine
        self._hooks = [
            optimizer.register_step_pre_hook(self._before),
            optimizer.register_step_post_hook(lambda *_: engine.weights_()),
        ]

    def _before(self, optimizer: Any, args: tuple[Any, ...], settings: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Mask the gradients; a closure makes new ones inside the step, so it is made to mask them too."""
        self.hold.grads_()
        at = 1 if args and args[0] is optimizer else 0
        if len(args) > at and callable(args[at]):
            return (*args[:at], self._masking(args[at]), *args[at + 1 :]), settings
        if callable(settings.get("closure")):
            return args, {**settings, "closure": self._masking(settings["closure"])}
        return args, settings

    def _masking(self, closure: Callable[[], Any]) -> Callable[[], Any]:
        def masked() -> Any:
            loss = closure()
            self.hold.grads_()
            return loss

        return masked

    def remove(self) -> None:
        """Take the hooks off; the weights stay as they are."""
        for hook in self._hooks:
            hook.remove()

    def __enter__(self) -> HoldHandle:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.remove()


def hold(model: nn.Module, optimizer: torch.optim.Optimizer, mask: Mask | Mapping[str, Tensor]) -> HoldHandle:
    """Hold a mask in any PyTorch training loop, by hooks on the optimizer.

    Applies the mask to the weights and the optimizer's state at once, then before every step to the gradients and after it to
    the weights.

    Args:
        model: the network that trains.
        optimizer: any torch optimizer over its parameters.
        mask: parameter name -> bool tensor, as `Ticket.apply_to` returns it.

    Raises:
        TicketError: the mask does not fit the model.

    Example:
        mask = load_ticket("ticket.safetensors").apply_to(model, prefix="backbone.")
        handle = hold(model, optimizer, mask)
        ...  # train as ever
        handle.remove()
    """
    engine = Hold(model.named_parameters(), mask if isinstance(mask, Mask) else Mask(mask))
    engine.weights_()
    engine.state_(optimizer)
    return HoldHandle(engine, optimizer)
