"""How images are read and framed: the options, without the code that does it (this module imports no torch)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal

Storage = Literal["auto", "memory", "files"]
Decode = Literal["auto", "cpu", "cuda"]
Metric = Literal["top1", "mean_per_class"]
Crop = Literal["auto", "margin", "fit", "square"]
Interpolation = Literal["bilinear", "bicubic"]
Validation = Literal["own", "tenth"]

_MOST_WORKERS = 16


@dataclass(frozen=True)
class Reading:
    """How the files of a split are read in training; no choice changes which images or crops a batch has.

    Attributes:
        workers: processes that read for each training process; 0: none beside it; None: the cores divided by the training
            processes of this machine, at most 16.
        decode: what decodes JPEGs of training images; auto is cpu.
    """

    workers: int | None = None
    decode: Decode = "auto"

    def processes(self) -> int:
        """Return the number of reading processes, the choice of None made."""
        if self.workers is not None:
            return self.workers
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return max(1, min(_MOST_WORKERS, cores // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))))


@dataclass(frozen=True)
class Framing:
    """How an image of any size becomes the S x S pixels that a network is evaluated on, and how crops are resized in training.

    Attributes:
        crop: `margin`: the shorter side becomes S * 256 / 224 and the centre is cut out (ImageNet's evaluation); `fit`: the
            shorter side becomes S and the centre is cut out; `square`: both sides become S, whatever the shape; `auto`: the data
            set's own, else `fit` for images in memory and `margin` for images in files.
        interpolation: of every resize, evaluation and training, with antialiasing.
    """

    crop: Crop = "auto"
    interpolation: Interpolation = "bilinear"


FIT, MARGIN = Framing("fit"), Framing("margin")
