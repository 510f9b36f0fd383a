"""Data sets whose images are named in text files, one line an image: `list`, any of your own, and VisDA-2017.

A line is a path below the folder that the paths of the list start from, a blank, and the number of its class from 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from common.data.datasets import Dataset
from common.data.entries import Request
from common.data.file_dataset import held_out_splits, listed_fingerprint, make_dataset, side_of
from common.data.folder_listing import Listing, list_named
from common.data.splits import MANY_CLASSES, base_name
from common.errors import InputError

_CLASSES = "classes.txt"


@dataclass(frozen=True)
class _Lists:
    """The list that trains, the one that validates (None: a part of it does), and the one that tests, below the root."""

    train: str
    validation: str | None
    test: str


_VISDA = _Lists("train/image_list.txt", None, "validation/image_list.txt")


def load_list(request: Request) -> Dataset:
    """Read the lists of a set and the images that they name.

    Raises:
        InputError: no root or size, a list that is not there or has a line of another form, labels and classes that disagree, a
            missing image or one that is named twice, an unknown class, or a label of 100,000 or more.
    """
    side_of(request)
    lists = _lists_of(request)
    listing = _listing(request, lists)
    return make_dataset(request, listing, held_out_splits(listing, lists.train, lists.validation, lists.test, request.validation))


def list_fingerprint(request: Request) -> str:
    """Return the fingerprint that `load_list` gives; no image is opened."""
    return listed_fingerprint(request, _listing(request, _lists_of(request)))


def _lists_of(request: Request) -> _Lists:
    folder = request.folder()
    if base_name(request.name) == "visda":
        lists = _VISDA
    else:
        val, test = "val.txt", "test.txt"
        has_test = (folder / test).is_file()
        lists = _Lists("train.txt", val if has_test and (folder / val).is_file() else None, test if has_test else val)
    for name in (lists.train, lists.test):
        if not (folder / name).is_file():
            raise request.not_as_expected(f"there is no {name}")
    return lists


def _listing(request: Request, lists: _Lists) -> Listing:
    folder = request.folder()
    parts = {name: _read(request, folder, name) for name in (lists.train, lists.validation, lists.test) if name is not None}
    return list_named(request, _classes(request, folder, [label for part in parts.values() for _, label in part]), parts)


def _read(request: Request, folder: Path, name: str) -> list[tuple[str, int]]:
    """Read one list; paths become relative to the root."""
    place = PurePosixPath(name).parent
    samples = []
    for number, line in enumerate(_lines(request, folder / name), start=1):
        path, _, label = line.strip().rpartition(" ")
        if not path.strip() or not label.isdecimal() or not label.isascii():
            raise request.not_as_expected(f"line {number} of {name} is {line.strip()[:80]!r}, and a line is PATH LABEL")
        digits = label.lstrip("0") or "0"  # int() itself refuses a text of thousands of digits
        if len(digits) > len(str(MANY_CLASSES)) or int(digits) >= MANY_CLASSES:
            raise request.not_as_expected(
                f"line {number} of {name} has the label {label[:20]}, and labels are below {MANY_CLASSES:,}"
            )
        found = place / path.strip().replace("\\", "/")
        if found.is_absolute() or ".." in found.parts:
            raise request.not_as_expected(f"line {number} of {name} leads out of the folder ({path.strip()})")
        samples.append((str(found), int(digits)))
    return samples


def _lines(request: Request, file: Path) -> list[str]:
    try:
        return [line for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    except UnicodeDecodeError as error:
        raise request.not_as_expected(f"{file.name} is no UTF-8 text") from error
    except OSError as error:
        raise InputError(f"cannot read {file}: {error.strerror}") from error


def _classes(request: Request, folder: Path, labels: list[int]) -> tuple[str, ...]:
    """Return the names of the classes: the catalogue's, those of classes.txt, or the numbers of the labels."""
    if request.classes is not None:
        return request.classes
    if (folder / _CLASSES).is_file():
        names = tuple(line.strip() for line in _lines(request, folder / _CLASSES))
        if len(set(names)) < len(names):
            raise request.not_as_expected(f"{_CLASSES} names a class twice")
        return names
    return tuple(str(label) for label in range(max(labels, default=-1) + 1))
