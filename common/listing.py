"""What `--list` says beside recipes: data sets and backbones. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence

from common.data.annotated.catalogue import describe_annotated
from common.data.catalogue import describe_catalogue
from common.models.names import OWN


def list_data_and_backbones() -> str:
    """Return the known data sets, each with where to get it, and the known backbones."""
    return _listing("data sets (NAME:0-4 is a subset of classes)", describe_catalogue())


def list_annotated_and_backbones() -> str:
    """Return the known sets of annotated images, each with where to get it, and the known backbones."""
    return _listing("sets of annotated images", describe_annotated())


def _listing(heading: str, described: Sequence[tuple[str, list[str]]]) -> str:
    data = [f"  {name:<18}" + f"\n{'':20}".join(about) for name, about in described]
    models = [f"  {name:<18}{about}" for name, about in OWN.items()]
    return "\n".join([heading, *data, "", "backbones", *models])
