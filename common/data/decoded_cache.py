"""Decoded images on disk (`data.cache`), so that evaluating many tickets on a data set decodes it once.

One file per split, and per way of framing it: what a network is evaluated on, uint8 (N, 3, S, S), as one tensor of a safetensors
file whose metadata say which images these are. It is written beside its place and renamed once it is whole, read by memory
mapping, and never unpickled. Whether the images are still the same is told by names and sizes of their files, as everywhere.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from common.data.decoding import decode_split
from common.data.file_images import FileImages
from common.errors import InputError
from common.files import canonical_json, sync_folder
from common.locks import locked

FORMAT = 1
MOST_SIDE = 224
_MEND = "choose another folder with data.cache"


@dataclass(frozen=True)
class SplitCache:
    """The decoded images of one split.

    Attributes:
        folder: `data.cache`.
        data: canonical name of the data set.
        split: name of the split.
        fingerprint: `<number>-<hex digits>` over names and sizes of the split's files.
        validation: how the data set is split (data.validation).
        files: the split, all of it.
        skip_unreadable: images that cannot be read are left out, and written down.
    """

    folder: Path
    data: str
    split: str
    fingerprint: str
    validation: str
    files: FileImages
    skip_unreadable: bool

    @property
    def file(self) -> Path:
        """The file that holds them."""
        files, framing = self.files, self.files.framing
        words = [self.data, self.split, *(["tenth"] if self.validation == "tenth" else []), str(files.size), framing.crop]
        name = "-".join([*words, framing.interpolation])
        return self.folder / f"{re.sub(r'[^A-Za-z0-9_.,-]+', '_', name)}.safetensors"

    def pixels(self) -> torch.Tensor:
        """Return the images, uint8 (N, 3, S, S), mapped from the file; they are decoded into it where it is absent.

        Raises:
            InputError: the file is of other images or damaged, an image cannot be read, or the folder cannot be written.
        """
        return self._opened()[0]

    def unreadable(self) -> list[int]:
        """Return which images of the split cannot be read, decoding them where that is not known yet; errors as `pixels`."""
        return self._opened()[1]

    def _opened(self) -> tuple[torch.Tensor, list[int]]:
        if not self.file.is_file():
            with locked(self.file.with_suffix(".lock"), str(self.file), _MEND):
                if not self.file.is_file():
                    self._write()
        pixels, rows = self._map(self.file, self._begin_of_data(), writes=False)
        unreadable = np.flatnonzero(rows).tolist()
        if unreadable and not self.skip_unreadable:
            raise InputError(
                f"cannot read the image {self.files.path(unreadable[0])} ({self.file} says so, of {len(unreadable)} images); "
                f"mend the images and delete that file, or leave such images out with data.skip_unreadable true"
            )
        return torch.from_numpy(pixels), unreadable

    def _map(self, file: Path, begin: int, *, writes: bool) -> tuple[np.ndarray, np.ndarray]:
        """Map the images, and which of them cannot be read, uint8 (N,)."""
        count, shape = len(self.files), self._shape
        # Read, they are copied on write: torch wants memory that may be written, and the file stays as it is.
        mapped = np.memmap(file, np.uint8, "r+" if writes else "c", begin, (prod(shape) + count,))
        return mapped[:-count].reshape(shape), mapped[-count:]  # of a memory map, a part is one

    @property
    def _shape(self) -> tuple[int, int, int, int]:
        return (len(self.files), 3, self.files.size, self.files.size)

    def _facts(self) -> dict[str, Any]:
        return {"format": FORMAT, "data": self.data, "split": self.split, "fingerprint": self.fingerprint}

    def _begin_of_data(self) -> int:
        """Return where the images begin in the file, once it is known to be whole and of these images."""
        import safetensors

        try:
            with safetensors.safe_open(self.file, "np") as opened:
                facts = json.loads((opened.metadata() or {})["cache"])
                shapes = [tuple(opened.get_slice(name).get_shape()) for name in ("images", "unreadable")]
            with open(self.file, "rb") as raw:
                length = int.from_bytes(raw.read(8), "little")
        except (OSError, KeyError, ValueError, safetensors.SafetensorError) as error:
            why = next(iter(str(error).splitlines()), type(error).__name__)
            raise InputError(f"data.cache: {self.file} is damaged or no cache ({why}); delete it, or {_MEND}") from error
        for key, value in {**self._facts(), "shapes": [self._shape, self._shape[:1]]}.items():
            found = shapes if key == "shapes" else facts.get(key)
            if found != value:
                raise InputError(
                    f"data.cache: {self.file} was made of other images than are there now: its {key} is {found}, theirs is "
                    f"{value}; delete it, or {_MEND}"
                )
        return 8 + length

    def _write(self) -> None:
        count = prod(self._shape) + len(self.files)
        free = shutil.disk_usage(self.folder).free
        if free < count:
            raise InputError(f"data.cache: {self.file} takes {count / 1e9:.3g} GB, {free / 1e9:.3g} are free there; {_MEND}")
        header = _header(self._facts(), self._shape)
        with _replacing(self.file) as partial:
            with open(partial, "wb") as file:
                file.write(header)
                file.truncate(len(header) + count)
            pixels, unreadable = self._map(partial, len(header), writes=True)
            unreadable[decode_split(self.files, torch.from_numpy(pixels), skip_unreadable=self.skip_unreadable)] = 1
            cast("np.memmap", pixels).flush()


def _header(facts: dict[str, Any], shape: tuple[int, ...]) -> bytes:
    """Return the beginning of a safetensors file of one tensor of images, and of one that says which cannot be read."""
    size = prod(shape)
    tensors = {
        "images": {"dtype": "U8", "shape": list(shape), "data_offsets": [0, size]},
        "unreadable": {"dtype": "U8", "shape": [shape[0]], "data_offsets": [size, size + shape[0]]},
    }
    text = json.dumps({"__metadata__": {"cache": canonical_json(facts)}, **tensors}, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


@contextmanager
def _replacing(file: Path) -> Iterator[Path]:
    """Yield a file to write, which takes the place of `file` once the block is done, and is deleted if it fails."""
    partial = file.with_suffix(".partial")  # whoever writes it holds the lock; a killed writer's is written over
    try:
        yield partial
        with open(partial, "rb+") as written:
            os.fsync(written.fileno())
        os.replace(partial, file)
    finally:
        partial.unlink(missing_ok=True)
    sync_folder(file.parent)
