"""Around every run: the device, the processes that train together, threads and precision; all put back afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from common.cli import Invocation
from common.training.allocator import keep_freed_memory
from common.training.device import choose_device, compilation, threads
from common.training.distributed import process_group
from common.training.precision import float32_products
from common.training.run import is_done, recorded_threads
from common.training.wandb_run import check_wandb


@contextmanager
def session(invocation: Invocation) -> Iterator[torch.device | None]:
    """Make this process ready to compute a run.

    Yields:
        The device, or None if the run is done already, which was said.

    Raises:
        InputError: an unknown device, or one that is not there; too many threads; logs that could not be written.
        RunError: another process of the run was lost inside the block.
    """
    train = invocation.config.train
    with process_group(choose_device(train.device)) as device:
        if is_done(invocation):
            yield None
            return
        check_wandb(invocation.config.log)
        keep_freed_memory()
        with (
            threads(train.threads, recorded=recorded_threads(invocation)),
            float32_products(train.precision),
            compilation(train.compile),
        ):
            yield device
