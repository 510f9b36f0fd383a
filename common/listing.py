"""What `--list` says beside recipes: data sets and backbones. Imports no torch."""

from __future__ import annotations

from common.data.catalogue import describe_catalogue
from common.models.names import OWN


def list_data_and_backbones() -> str:
    """Return the known data sets and backbones, a line each."""
    data = [f"  {name:<16}{about}{'  (needs data.root)' if root else ''}" for name, about, root in describe_catalogue()]
    models = [f"  {name:<16}{about}" for name, about in OWN.items()]
    return "\n".join(["data sets", *data, "", "backbones", *models])
