"""Checkpoint: all that a killed run needs to go on as if nothing had happened. No generator's state: draws are derived."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from common.errors import DivergenceError, InputError
from common.files import write_bytes
from common.tickets.early_bird import EarlyBird
from common.tickets.mask import Mask
from common.tickets.rewind import capture, restore_
from common.training.task import Task

FORMAT = 2


@dataclass(frozen=True)
class Checkpoint:
    """A position in a run, and the state there.

    Attributes:
        round: the round that was being trained.
        step: optimizer steps done in it.
        seconds: what they took, over all attempts.
        mask: the round's mask; None for a dense run without a ticket.
        network: the network's tensors.
        optimizer: the optimizer's state dict.
        task: what the task itself asked to keep.
        early_bird: what `EarlyBird` asked to keep; empty where the round ends by its steps alone.
    """

    round: int
    step: int
    seconds: float
    mask: Mask | None
    network: Mapping[str, Tensor]
    optimizer: Mapping[str, Any]
    task: Mapping[str, Any]
    early_bird: Mapping[str, Any] = field(default_factory=dict)

    def restore_(self, task: Task, optimizer: torch.optim.Optimizer | None) -> None:
        """Put the state back into a task and its optimizer."""
        restore_(task.network, self.network)
        task.load_state_dict(self.task)
        if optimizer is not None:
            optimizer.load_state_dict(dict(self.optimizer))


def save_checkpoint(
    path: Path,
    task: Task,
    optimizer: torch.optim.Optimizer,
    mask: Mask | None,
    early_bird: EarlyBird | None = None,
    *,
    round_: int,
    step: int,
    seconds: float,
) -> None:
    """Write a checkpoint atomically, over the last one; arguments as `Checkpoint` has them.

    Raises:
        DivergenceError: a weight is not finite; the last good checkpoint stays.
        InputError: the folder cannot be written.
    """
    network = capture(task.network)
    require_finite(network, round_=round_, step=step)
    buffer = io.BytesIO()
    content = {
        "format": FORMAT,
        "round": round_,
        "step": step,
        "seconds": seconds,
        "mask": dict(mask or {}),
        "network": network,
        "optimizer": optimizer.state_dict(),
        "task": dict(task.state_dict()),
        "early_bird": early_bird.state_dict() if early_bird is not None else {},
    }
    torch.save(content, buffer)
    write_bytes(path, buffer.getvalue())


def require_finite(network: Mapping[str, Tensor], *, round_: int, step: int) -> None:
    """Refuse to go on with a network that has diverged.

    Raises:
        DivergenceError: a weight is not finite; names it.
    """
    broken = [name for name, tensor in network.items() if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all())]
    if broken:
        raise DivergenceError(
            f"{broken[0]} is not finite after step {step} of round {round_}; lower optim.lr. The last good checkpoint is kept"
        )


def load_checkpoint(path: Path) -> Checkpoint | None:
    """Read a checkpoint; None if there is none.

    Raises:
        InputError: the file is damaged or of another format.
    """
    if not path.exists():
        return None
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        if content["format"] != FORMAT:
            raise InputError(
                f"{path} has checkpoint format {content['format']}; this version reads format {FORMAT}; "
                f"delete it to start the run anew"
            )
        mask = Mask(content["mask"]) if content["mask"] else None
        position = (content["round"], content["step"], content["seconds"])
        kept = (content["network"], content["optimizer"], content["task"], content.get("early_bird", {}))
        return Checkpoint(*position, mask, *kept)
    except InputError:
        raise
    except Exception as error:  # torch.load raises many kinds for a damaged file
        raise InputError(f"{path} is damaged ({type(error).__name__}); delete it to start the run anew") from error
