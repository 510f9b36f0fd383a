"""Which device a run computes on, and how many threads; both put back afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from common.errors import InputError


def choose_device(name: str) -> torch.device:
    """Return the device that a name means; "auto" is CUDA where there is a GPU, else the CPU.

    Raises:
        InputError: an unknown name, or a GPU that is not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise InputError(f"train.device: got {name!r}, expected auto, cpu, cuda or cuda:N") from error
    if device.type not in ("cpu", "cuda"):
        raise InputError(f"train.device: got {name!r}, expected auto, cpu, cuda or cuda:N")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise InputError(f"train.device: got {name!r}, but {torch.cuda.device_count()} GPUs are visible; use cpu or auto")
    return device


@contextmanager
def threads(count: int | None) -> Iterator[int]:
    """Compute with `count` CPU threads (None: as many as before) inside the block; yields the number in force."""
    before = torch.get_num_threads()
    if count is not None:
        torch.set_num_threads(count)
    try:
        yield torch.get_num_threads()
    finally:
        torch.set_num_threads(before)
