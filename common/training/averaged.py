"""An exponential moving average of a network's weights, under the mask that the weights are held by."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from common.tickets.rewind import capture, restore_


class WeightAverage:
    """The average that a network is judged by (Polyak averaging with exponential weights).

    Parameters and norm statistics are averaged alike; counters follow the network. What the mask prunes is zero in the network
    at every step, and so in the average of them, bit for bit.

    Args:
        network: what is averaged; its state as it is now begins the average.
        decay: share of the average that a step keeps, in (0, 1). Early on it is less, (1 + t) / (10 + t) after t steps, so that
            the start is forgotten.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network, self.decay = network, decay
        self.begin_()

    def begin_(self) -> None:
        """Forget what was averaged, and begin with the network as it is."""
        self.steps = 0
        self._state = {name: tensor.detach().clone() for name, tensor in self.network.state_dict().items()}

    @torch.no_grad()
    def update_(self) -> None:
        """Take the network's state after a step in."""
        self.steps += 1
        share = 1 - min(self.decay, (1 + self.steps) / (10 + self.steps))
        own, floats, news = self.network.state_dict(), [], []
        for name, tensor in own.items():
            if tensor.is_floating_point():
                floats.append(self._state[name])
                news.append(tensor)
            else:
                self._state[name].copy_(tensor)
        torch._foreach_lerp_(floats, news, share)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Put the average in the network's place inside the block."""
        own = capture(self.network)
        self.take_()
        try:
            yield
        finally:
            restore_(self.network, own)

    def take_(self) -> None:
        """Put the average in the network's place."""
        restore_(self.network, self._state)

    def state_dict(self) -> Mapping[str, object]:
        """Return what a checkpoint needs."""
        state = {name: tensor.detach().to("cpu", copy=True) for name, tensor in self._state.items()}
        return {"steps": self.steps, "state": state}

    def load_state_dict(self, state: Mapping[str, object]) -> None:
        """Take back what `state_dict` returned."""
        self.steps = int(str(state["steps"]))
        kept: Mapping[str, Tensor] = state["state"]  # type: ignore[assignment]
        for name, tensor in self._state.items():
            tensor.copy_(kept[name])
