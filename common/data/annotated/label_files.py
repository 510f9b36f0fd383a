"""Label maps in image files: one channel whose values are classes, or codes that stand for classes.

A palette image (mode P, as PASCAL VOC's are) is read by its indices, whatever colours the palette shows them in.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common.data.annotated.division import images_of
from common.data.annotated.sets import IGNORE, AnnotatedImages
from common.errors import InputError
from common.files import sha256_bytes

_THREADS = 8
_INDEXED = ("1", "L", "P", "I", "I;16", "I;16B", "I;16L")
_NO_CLASS = -1
CONVERT = "python -m common.data.annotated.colour_masks"


@dataclass(frozen=True)
class Codes:
    """What the values of a label file stand for.

    Attributes:
        table: int16 (V,): value -> class, IGNORE, or -1 where no file has it.
        expected: the values that there may be, for messages.
    """

    table: np.ndarray
    expected: str

    @classmethod
    def of(cls, classes: Mapping[int, int], ignored: Sequence[int], expected: str) -> Codes:
        """Return the codes of some values; all others are refused.

        Args:
            classes: value -> class.
            ignored: values that neither train nor are judged.
            expected: the values that there may be, for messages.
        """
        table = np.full(1 + max(*classes, *ignored), _NO_CLASS, dtype=np.int16)
        for value, label in classes.items():
            table[value] = label
        table[list(ignored)] = IGNORE
        return cls(table, expected)

    @classmethod
    def plain(cls, count: int, ignored: Sequence[int] = (IGNORE,)) -> Codes:
        """Return the codes of maps that hold classes as they are, 0 to count - 1.

        Raises:
            InputError: there are so many that one would be ignored.
        """
        if count > min(ignored):
            raise InputError(f"{count} classes, expected at most {min(ignored)}: {min(ignored)} says that a pixel is ignored")
        told = " and ".join(str(value) for value in ignored)
        return cls.of(
            {label: label for label in range(count)}, ignored, f"0 to {count - 1}, or {told} for pixels that are ignored"
        )

    def decode(self, values_HW: np.ndarray, file: Path) -> np.ndarray:
        """Return classes or IGNORE, uint8 (H, W).

        Raises:
            InputError: a value that stands for nothing; names the file.
        """
        top = int(values_HW.max(initial=0))
        low = int(values_HW.min(initial=0))
        if low < 0 or top >= len(self.table):
            raise self._unknown(values_HW, low if low < 0 else top, file)
        labels_HW = self.table[values_HW]
        unknown_HW = labels_HW == _NO_CLASS
        if unknown_HW.any():
            raise self._unknown(values_HW, int(values_HW[unknown_HW][0]), file)
        return labels_HW.astype(np.uint8)

    def _unknown(self, values_HW: np.ndarray, value: int, file: Path) -> InputError:
        count = int((values_HW == value).sum())
        return InputError(f"{file}: the value {value} in {count:,} pixels is no label; expected {self.expected}; mend the file")


@dataclass(frozen=True)
class LabelFiles:
    """Label maps of some images, read when they are asked for; can be sent to another process.

    Attributes:
        folder: what the names are relative to.
        names: of the label files: images of one channel, or .mat files of the Semantic Boundaries Dataset.
        sizes: int64 (N, 2), height and width of the images.
        codes: what their values stand for.
    """

    folder: Path
    names: tuple[str, ...]
    sizes: np.ndarray
    codes: Codes

    def __call__(self, index: int) -> np.ndarray:
        """Return the class of every pixel or IGNORE, uint8 (H, W).

        Raises:
            InputError: it cannot be read, has another size than its image, has colours, or a value that is no label.
        """
        path = self.folder / self.names[index]
        values_HW = read_boundaries(path) if path.suffix == ".mat" else read_indices(path)
        height, width = self.sizes[index].tolist()
        require_same_size(path, values_HW.shape, (height, width))
        return self.codes.decode(values_HW, path)

    def digest(self) -> str:
        """Return a hash over the files' names and sizes in bytes, 64 hex digits."""
        with ThreadPoolExecutor(_THREADS) as pool:
            sizes = pool.map(lambda name: os.stat(self.folder / name).st_size, self.names)
            return sha256_bytes("".join(f"{name}\0{size}\n" for name, size in zip(self.names, sizes, strict=True)).encode())


def read_indices(path: Path) -> np.ndarray:
    """Return what an image of one channel holds, an integer array (H, W); of a palette image, the indices.

    Raises:
        InputError: it cannot be read, has several channels, or is a JPEG.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as opened:
            _require_indexed(path, opened.mode, opened.format)
            values_HW = np.asarray(opened)
    except UnidentifiedImageError as error:
        raise InputError(f"cannot read the label map {path}: it is no image of a known kind") from error
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(f"cannot read the label map {path}: {next(iter(str(error).splitlines()), 'damaged')}") from error
    return values_HW.astype(np.uint8) if values_HW.dtype == np.bool_ else values_HW


def read_boundaries(path: Path) -> np.ndarray:
    """Return the classes in a .mat file of the Semantic Boundaries Dataset (GTcls.Segmentation), uint8 (H, W).

    Raises:
        InputError: it cannot be read, or holds something else.
    """
    from scipy.io import loadmat

    try:
        return np.asarray(loadmat(path)["GTcls"]["Segmentation"][0, 0])
    except OSError as error:
        raise InputError(f"cannot read the label map {path}: {error.strerror or error}") from error
    except (KeyError, ValueError, IndexError, TypeError, RuntimeError) as error:  # scipy has no error of its own
        raise InputError(f"{path} is no label map of SBD: expected a .mat file with GTcls.Segmentation") from error


def labelled_images(root: Path, pairs: Sequence[tuple[str, str]], codes: Codes) -> AnnotatedImages:
    """Return images with their label maps; headers are looked at now, pixels later.

    Args:
        root: what the names are relative to.
        pairs: names of image and label file.
        codes: what the label files' values stand for.

    Raises:
        InputError: a file is missing or no image, a label map has another size than its image, colours, or is a JPEG.
    """
    with ThreadPoolExecutor(_THREADS) as pool:
        sizes = list(pool.map(lambda pair: _size_of_pair(root, *pair), pairs))
    sizes_N2 = np.asarray(sizes, dtype=np.int64).reshape(-1, 2)
    names = [image for image, _ in pairs]
    read_labels = LabelFiles(root, tuple(label for _, label in pairs), sizes_N2, codes)
    return images_of(root, names, sizes, read_labels=read_labels)


def require_same_size(label: Path, size: Sequence[int], image: Sequence[int]) -> None:
    """Refuse a label map that has not its image's size; both are height and width.

    Raises:
        InputError: it has another.
    """
    if tuple(size) != tuple(image):
        raise InputError(
            f"{label} is {size[1]} x {size[0]} px, and its image {image[1]} x {image[0]}; bring the label map of this image, "
            f"or resize it by nearest neighbour"
        )


def _size_of_pair(root: Path, image: str, label: str) -> tuple[int, int]:
    size, _, _ = _header(root / image, "image")
    if label.endswith(".mat"):
        return size
    own, mode, kind = _header(root / label, "label map")
    _require_indexed(root / label, mode, kind)
    require_same_size(root / label, own, size)
    return size


def _header(path: Path, what: str) -> tuple[tuple[int, int], str, str | None]:
    """Return height and width, mode and format of an image file."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as opened:
            return (opened.height, opened.width), opened.mode, opened.format
    except UnidentifiedImageError as error:
        raise InputError(f"cannot read the {what} {path}: it is no image of a known kind") from error
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        why = getattr(error, "strerror", None) or next(iter(str(error).splitlines()), "damaged")
        raise InputError(f"cannot read the {what} {path}: {why}") from error


def _require_indexed(path: Path, mode: str, kind: str | None) -> None:
    if mode not in _INDEXED:
        raise InputError(
            f"{path} holds colours (mode {mode}), expected one channel of class numbers; convert such masks once with "
            f"{CONVERT} FOLDER OUT --colours R,G,B ..."
        )
    if kind == "JPEG":
        raise InputError(f"{path} is a JPEG, whose compression changes labels; expected a PNG of class numbers")
