"""Several processes that train one network: who is who, what they agree on, and rows gathered with gradient.

Started by torchrun, which sets RANK, WORLD_SIZE and LOCAL_RANK; NCCL on GPUs, gloo on CPUs. One process is the same code: every
function here then returns at once.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch import distributed as dist

from common.errors import InputError, RunError

T = TypeVar("T")
TIMEOUT = timedelta(minutes=30)


def rank() -> int:
    """This process's number among those that train together, 0 alone."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """How many processes train together, 1 alone."""
    return dist.get_world_size() if dist.is_initialized() else 1


def is_first() -> bool:
    """Say whether this process is the one that writes."""
    return rank() == 0


@contextmanager
def process_group(device: torch.device) -> Iterator[torch.device]:
    """Join the processes that torchrun started, inside the block; alone, do nothing.

    Args:
        device: what `choose_device` returned; with several GPUs each process takes the one of its local rank.

    Yields:
        The device of this process.

    Raises:
        InputError: more local processes than GPUs.
        RunError: another process was lost inside the block.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) < 2 or dist.is_initialized():
        yield device
        return
    if device.type == "cuda":
        device = torch.device("cuda", _local_gpu())
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=TIMEOUT)
    try:
        yield device
    except (RuntimeError, dist.DistBackendError) as error:
        if isinstance(error, RunError) or not _is_lost_peer(error):
            raise
        raise RunError(
            f"process {rank()} lost another one ({str(error).splitlines()[0][:200]}); run the same command again to continue"
        ) from error
    finally:
        dist.destroy_process_group()


def _local_gpu() -> int:
    local = int(os.environ.get("LOCAL_RANK", "0"))
    if local >= torch.cuda.device_count():
        raise InputError(
            f"torchrun started process {local} on a machine with {torch.cuda.device_count()} GPUs; lower --nproc_per_node"
        )
    return local


def _is_lost_peer(error: BaseException) -> bool:
    text = str(error).lower()
    return isinstance(error, dist.DistBackendError) or any(
        word in text for word in ("gloo", "nccl", "connection closed", "reset by peer")
    )


def broadcast(value: T) -> T:
    """Return rank 0's value on every rank; the others' is not looked at."""
    if world_size() == 1:
        return value
    box: list[Any] = [value]
    dist.broadcast_object_list(box, src=0)
    return box[0]


def gather_objects(value: T) -> list[T]:
    """Return every rank's value, in order of rank, on every rank."""
    if world_size() == 1:
        return [value]
    values: list[Any] = [None] * world_size()
    dist.all_gather_object(values, value)
    return values


def require_agreement(what: str, value: str) -> None:
    """Stop every rank if they do not hold the same value.

    Raises:
        RunError: they differ; names what and the values.
    """
    if world_size() == 1:
        return
    values = gather_objects(value)
    if len(set(values)) > 1:
        raise RunError(
            f"the ranks disagree on {what}: {', '.join(str(v)[:16] for v in values)}; no checkpoint was written from here on"
        )


def mean_over_ranks(values: Tensor) -> Tensor:
    """Return the mean of a tensor over the ranks, on every rank; without gradient."""
    if world_size() == 1:
        return values
    total = values.clone()
    dist.all_reduce(total)
    return total / world_size()


@torch.no_grad()
def follow_first_(module: nn.Module) -> None:
    """Copy rank 0's parameters and buffers into the other ranks' module, in place."""
    if world_size() > 1:
        for tensor in module.state_dict().values():
            dist.broadcast(tensor, src=0)


def state_digest(module: nn.Module) -> str:
    """Return the SHA-256 of a module's parameters; norm statistics are left out, which every process keeps of its own part."""
    sha = hashlib.sha256()
    for name, parameter in sorted(module.named_parameters()):
        sha.update(name.encode("utf-8") + parameter.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return sha.hexdigest()


def share(length: int) -> range:
    """Return this rank's positions among `length` items: contiguous parts whose sizes differ by at most one."""
    size, number = world_size(), rank()
    return range(number * length // size, (number + 1) * length // size)


class _GatherRows(torch.autograd.Function):
    """All ranks' rows, in order of rank; backward sums what every rank says of a row."""

    @staticmethod
    def forward(ctx: Any, rows_ND: Tensor) -> Tensor:
        parts = [torch.empty_like(rows_ND) for _ in range(world_size())]
        dist.all_gather(parts, rows_ND.contiguous())
        ctx.count = len(rows_ND)
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total_MD = gradients[0].contiguous()
        dist.all_reduce(total_MD)
        return total_MD[rank() * ctx.count : (rank() + 1) * ctx.count]


def gather_rows(rows_ND: Tensor) -> Tensor:
    """Return the rows of every rank, (world size * N, D), in order of rank, with gradient.

    The gradient of a row is the sum of what the ranks' losses say of it; every rank must bring as many rows.
    """
    return rows_ND if world_size() == 1 else _GatherRows.apply(rows_ND)
