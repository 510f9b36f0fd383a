"""The data sets that can be named. Adding one takes an entry in `catalogue_small` or `catalogue_files` and what loads it.

This module imports no torch, torchvision or scikit-learn: listing what there is costs nothing.
"""

from __future__ import annotations

from common.data.catalogue_files import FILE_SETS
from common.data.catalogue_small import SMALL_SETS
from common.data.entries import Entry
from common.errors import InputError

CATALOGUE: dict[str, Entry] = {**SMALL_SETS, **FILE_SETS}

OWN_IMAGES = ("folder", "list", "domains")
"""Data sets whose name does not say which images they have."""


def entry_of(name: str) -> Entry:
    """Return the entry of a name, its class subset and pair of domains aside.

    Raises:
        InputError: there is no such data set; the known ones are listed.
    """
    base = name.partition(":")[0].partition("(")[0]
    if base not in CATALOGUE:
        raise InputError(f"unknown data set {base!r}; known: {', '.join(CATALOGUE)}")
    return CATALOGUE[base]


def describe_catalogue() -> list[tuple[str, list[str]]]:
    """Return of every data set its name, and a line each: what it is, how it is judged and split, its source, its layout."""
    return [(name, _lines(entry)) for name, entry in CATALOGUE.items()]


def _lines(entry: Entry) -> list[str]:
    classes = f"{entry.num_classes} classes" if entry.num_classes else "its own classes"
    mean, std = (" ".join(f"{x:.4g}" for x in values) for values in (entry.input.mean, entry.input.std))
    side = entry.input.size or entry.size
    told = f"{classes}, {entry.metric}, {f'{side} px' if side else 'data.size'}, mean {mean}, std {std}"
    layout = [f"data.root DIR holds {entry.layout}"] if entry.layout else []
    return [entry.description, told, f"split: {entry.splits}", f"from: {entry.source}", *layout]
