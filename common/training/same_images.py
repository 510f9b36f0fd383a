"""A run goes on with the images that it began with, or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from common.config import DataConfig
from common.data.annotated.catalogue import annotated_entry, open_annotated
from common.data.annotated.config import AnnotatedDataConfig
from common.data.datasets import listed_fingerprint
from common.errors import InputError


def require_same_images(directory: Path, record: Mapping[str, Any], data: Mapping[str, Any]) -> None:
    """Refuse to continue a run on other images.

    Args:
        directory: the run directory.
        record: the content of its run.json.
        data: {"name", "split_hash", "fingerprint"} of the images that are there now, and "skipped" where some were left out.

    Raises:
        InputError: the images, or how they are split, differ from those that the run began with.
    """
    was = record.get("data") or {}
    if was.get("fingerprint") != data["fingerprint"]:
        raise _changed(directory, data["name"], _difference(was.get("fingerprint"), data["fingerprint"]))
    if was.get("split_hash") != data["split_hash"]:
        raise _changed(directory, data["name"], f"split as {was.get('split_hash')} then, as {data['split_hash']} now")
    if was.get("skipped") != data.get("skipped"):
        raise _changed(directory, data["name"], f"{_skipped(was)} images could not be read then, {_skipped(data)} now")


def compare_listed_images(directory: Path, record: Mapping[str, Any], config: DataConfig | AnnotatedDataConfig) -> str:
    """Refuse to call a run done whose folder of images holds others now; no image is decoded.

    Returns:
        What a reader must know beside that it is done: that the folder is not there, or nothing.

    Raises:
        InputError: the images differ in number, names or sizes from those that the run began with.
    """
    if config.root is not None and not Path(config.root).expanduser().is_dir():
        return f" (its images are not in {config.root}, so they were not compared)"
    now, was = _listed_fingerprint(config), (record.get("data") or {}).get("fingerprint")
    if now not in (None, was):
        raise _changed(directory, config.name, _difference(was, now))
    return ""


def _listed_fingerprint(config: DataConfig | AnnotatedDataConfig) -> str | None:
    """Return the fingerprint that a data set has now; None where it cannot have changed."""
    if not isinstance(config, AnnotatedDataConfig):
        return listed_fingerprint(config.name, root=config.root, domains=config.domains)
    if not annotated_entry(config.name).layout:
        return None
    return open_annotated(replace(config, download=False, skip_unreadable=False)).fingerprint


def _skipped(data: Mapping[str, Any]) -> int:
    return len(data.get("skipped", ()))


def _difference(was: str | None, now: str) -> str:
    before, after = (str(fingerprint).partition("-")[0] for fingerprint in (was, now))
    if before == after:
        return f"the {before} files have other names or sizes"
    return f"{before} images then, {after} now"


def _changed(directory: Path, name: str, difference: str) -> InputError:
    return InputError(
        f"{directory} began with other images of {name} than there are now: {difference}; "
        f"bring them back, or delete {directory} to run on these"
    )
