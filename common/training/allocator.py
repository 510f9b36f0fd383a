"""What the C library does with freed memory: kept for the next step, instead of given back to the system and asked for again."""

from __future__ import annotations

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h
_KEPT, _MAPPED = 2**31 - 1, 2**30


def keep_freed_memory() -> bool:
    """Let glibc's malloc keep freed memory, up to 2 GiB, and serve blocks of less than 1 GiB from it.

    A training step on the CPU frees its activations and asks for the same blocks again. With malloc's own settings every large
    block is mapped and unmapped each time, and the system clears its pages anew. No number changes. The setting is the
    process's and stays; `python -m benchmarks.allocator` measures what it gives.

    Returns:
        Whether the C library took the settings; another library than glibc does not have them, and works as before.
    """
    if sys.platform != "linux":
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, _MAPPED) and mallopt(_M_TRIM_THRESHOLD, _KEPT))
