"""Where results come from: versions, commit, machine."""

from __future__ import annotations

import functools
import os
import platform
import socket
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import common


@functools.cache
def commit() -> str | None:
    """Return the commit of the source tree, with "+changes" if tracked files differ from it; None outside a git checkout."""
    root = Path(common.__file__).resolve().parent.parent

    def git(*words: str) -> str:
        return subprocess.run(
            ["git", "-C", str(root), *words], capture_output=True, text=True, check=True, timeout=30
        ).stdout.strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")).resolve() != root:
            return None  # installed inside somebody else's repository
        changed = git("status", "--porcelain", "--untracked-files=no")
        return git("rev-parse", "HEAD") + ("+changes" if changed else "")
    except (OSError, subprocess.SubprocessError):
        return None


def version_of(package: str) -> str | None:
    """Return an installed package's version without importing it; None if it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


@functools.cache
def versions() -> dict[str, str | None]:
    """Return the versions that can change a number: Python, ours, torch, torchvision, timm, numpy."""
    packages = ("torch", "torchvision", "timm", "numpy")
    return {"python": platform.python_version(), "project": common.__version__, **{name: version_of(name) for name in packages}}


def software() -> dict[str, Any]:
    """Return what a ticket records of the software that wrote it."""
    return {"version": common.__version__, "commit": commit(), "torch": version_of("torch")}


def machine() -> dict[str, Any]:
    """Describe the machine and the software that measured figures belong to. Loads torch."""
    import torch

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {"processor": _processor(), "threads": torch.get_num_threads(), "gpu": gpu, "commit": commit(), **versions()}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def host() -> dict[str, Any]:
    """Return this process for `run.json`: host name and process id."""
    return {"host": socket.gethostname(), "pid": os.getpid()}
