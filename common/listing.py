"""What `--list` says beside recipes: data sets and backbones. Imports no torch."""

from __future__ import annotations

from common.data.catalogue import describe_catalogue
from common.models.names import OWN


def list_data_and_backbones() -> str:
    """Return the known data sets, each with where to get it, and the known backbones."""
    data = [f"  {name:<18}" + f"\n{'':20}".join(about) for name, about in describe_catalogue()]
    models = [f"  {name:<18}{about}" for name, about in OWN.items()]
    heading = "data sets (NAME:0-4 is a subset of classes)"
    return "\n".join([heading, *data, "", "backbones", *models])
