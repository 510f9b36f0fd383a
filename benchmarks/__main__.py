"""Run every benchmark: `python -m benchmarks` (or `make bench`)."""

from __future__ import annotations

import subprocess
import sys

NAMES = (
    "startup",
    "augment",
    "hold",
    "allocator",
    "pretrain",
    "views_jpeg",
    "linear",
    "many_tickets",
    "exchange",
    "compact",
    "detection",
    "detection_evaluation",
    "segmentation",
)

if __name__ == "__main__":
    for name in NAMES:
        print(f"== benchmarks.{name}", flush=True)
        subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=True)
