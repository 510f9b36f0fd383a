"""Which GPUs a study's processes are bound to. Asks the driver, not torch."""

from __future__ import annotations

import os
import subprocess

from common.errors import InputError

VISIBLE = "CUDA_VISIBLE_DEVICES"


def choose_gpus(text: str) -> list[str]:
    """Return the identifiers of the GPUs that an option asks for, as CUDA_VISIBLE_DEVICES takes them.

    Args:
        text: "auto" for every GPU that this process may use, a number N for the first N of them, or a list such as "0,1" or "2,".

    Raises:
        InputError: text of another form, or more GPUs, or others, than there are.
    """
    usable = usable_gpus()
    if text == "auto":
        if not usable:
            raise InputError("--gpus auto: this process may use no GPU; leave --gpus out to compute on the CPU")
        return usable
    if "," in text:
        asked = [part.strip() for part in text.split(",") if part.strip()]
        absent = [gpu for gpu in asked if gpu not in usable]
        if not asked or absent or len(set(asked)) < len(asked):
            raise InputError(f"--gpus: got {text!r}, expected different ones of {_listed(usable)}")
        return asked
    if not text.isdecimal() or int(text) < 1:
        raise InputError(f"--gpus: got {text!r}, expected auto, a number >= 1, or a list with a comma such as 0,1 or 2,")
    if int(text) > len(usable):
        raise InputError(f"--gpus: got {text}, but this process may use {_listed(usable)}")
    return usable[: int(text)]


def usable_gpus() -> list[str]:
    """Return the GPUs that this process may use: those of CUDA_VISIBLE_DEVICES where it is set, else all of nvidia-smi's."""
    told = os.environ.get(VISIBLE)
    if told is not None:
        return [part.strip() for part in told.split(",") if part.strip()]
    try:
        listed = subprocess.run(["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"], capture_output=True, text=True)
    except OSError:
        return []
    return listed.stdout.split() if listed.returncode == 0 else []


def _listed(gpus: list[str]) -> str:
    return ", ".join(gpus) or "no GPU"
