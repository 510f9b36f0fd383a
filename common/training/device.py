"""Which device a run computes on, how many threads, and what was compiled; all put back afterwards."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from common.config import require
from common.errors import InputError

MOST_THREADS = 4
"""CPU threads that may be asked for, for each core."""


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
def threads(count: int | None, *, recorded: int | None = None) -> Iterator[int]:
    """Compute with `count` CPU threads (None: as many as before) inside the block; yields the number in force.

    Args:
        count: what the request says.
        recorded: what a killed run began with, perhaps on a larger machine; it wins, because other sums would round otherwise.

    Raises:
        InputError: the request asks for more than `MOST_THREADS` for each core: the system would give out before the cores do.
    """
    cores = os.cpu_count() or 1
    most = f"an integer in [1, {MOST_THREADS * cores}], {MOST_THREADS} for each of this machine's {cores} cores, or null"
    require(count is None or count <= MOST_THREADS * cores, "train.threads", count, most)
    before, wanted = torch.get_num_threads(), recorded or count
    if wanted is not None:
        torch.set_num_threads(wanted)
    try:
        yield torch.get_num_threads()
    finally:
        torch.set_num_threads(before)


@contextmanager
def compilation(used: bool) -> Iterator[None]:
    """Forget after the block what torch.compile has made inside it, where it was used.

    A process compiles a function anew for every network, and after a few of them it computes without compiling, saying so once.
    """
    try:
        yield
    finally:
        if used:
            torch.compiler.reset()
