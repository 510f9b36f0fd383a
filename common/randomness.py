"""Every random draw of the project, from a generator whose seed is derived from what the draw is for.

No generator's state is ever saved: a draw depends on (seed, stream, indices) alone, so a run that was killed and resumed,
and a run that shares its process with others, draw the same numbers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from common.errors import InputError

if TYPE_CHECKING:
    import torch


def derive_seed(seed: int, stream: str, *indices: int) -> int:
    """Derive an independent seed from a run's seed, the name of a stream, and round, epoch, step or sample indices.

    Args:
        seed: the run's seed, >= 0.
        stream: what is drawn, for example "order" or "views".
        indices: integers that tell one draw of the stream from another.

    Returns:
        An integer in [0, 2**63): the first 63 bits of SHA-256 over the arguments.

    Raises:
        InputError: a negative seed.
    """
    if seed < 0:
        raise InputError(f"a seed must be an integer >= 0, got {seed}")
    text = "/".join([str(seed), stream, *(str(int(index)) for index in indices)])
    return int.from_bytes(hashlib.sha256(text.encode("utf-8")).digest()[:8], "big") >> 1


def generator(seed: int, stream: str, *indices: int) -> torch.Generator:
    """Return a CPU generator seeded by `derive_seed`; arguments and errors are the same."""
    import torch

    return torch.Generator().manual_seed(derive_seed(seed, stream, *indices))


@contextmanager
def seeded(seed: int, stream: str, *indices: int, device: torch.device | None = None) -> Iterator[None]:
    """Seed torch's global CPU generator for library code that draws from it (initialisation, dropout), then put it back.

    Arguments and errors as `derive_seed`; a GPU's generator is seeded too if its `device` is given.
    """
    import torch

    gpus = [device] if device is not None and device.type == "cuda" else []
    with torch.random.fork_rng(devices=gpus):
        derived = derive_seed(seed, stream, *indices)
        torch.default_generator.manual_seed(derived)  # torch.manual_seed reseeds all GPUs as well
        for gpu in gpus:
            with torch.cuda.device(gpu):
                torch.cuda.manual_seed(derived)
        yield
