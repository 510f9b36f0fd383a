"""The table of importers, and which of them a file belongs to."""

from __future__ import annotations

from common.errors import InputError
from common.exchange.importers.distiller import DISTILLER
from common.exchange.importers.importer import Importer
from common.exchange.importers.masks import MASKS
from common.exchange.importers.torch_prune import TORCH_PRUNE
from common.exchange.importers.zeros import PLAIN, ZEROS
from common.exchange.source import Source

IMPORTERS: dict[str, Importer] = {importer.name: importer for importer in (TORCH_PRUNE, DISTILLER, MASKS, ZEROS, PLAIN)}


def find_importer(source: Source, wanted: str) -> Importer:
    """Return the importer of a file: the one that is wanted, or for "auto" the one format that recognises it.

    Raises:
        InputError: the file is not in the format that is wanted, in none, or in several.
    """
    if wanted != "auto" and wanted not in IMPORTERS:
        raise InputError(f"--format: got {wanted!r}, expected auto or one of {', '.join(IMPORTERS)}")
    fitting = [importer for importer in IMPORTERS.values() if importer.recognises(source)]
    if wanted != "auto":
        if IMPORTERS[wanted].automatic and IMPORTERS[wanted] not in fitting:
            raise InputError(f"--format {wanted}: {source.path} has no {IMPORTERS[wanted].signs}; {_holds(source, fitting)}")
        return IMPORTERS[wanted]
    chosen = [importer for importer in fitting if importer.automatic] or fitting
    if len(chosen) == 1:
        return chosen[0]
    if chosen:
        names = " and ".join(f"{importer.name} ({importer.signs})" for importer in chosen)
        raise InputError(f"{source.path} is in several formats: {names}; say which is meant with --format")
    raise InputError(f"{source.path} is in no known format; considered: {', '.join(IMPORTERS)}; {_holds(source, [])}")


def _holds(source: Source, fitting: list[Importer]) -> str:
    if fitting:
        return f"it is in the format {' or '.join(importer.name for importer in fitting)}"
    names = sorted(source.tensors) or sorted(str(name) for name in source.tree)
    return f"its names are {', '.join(names[:3])} ..." if names else "it holds nothing"
