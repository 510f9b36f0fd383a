"""Export: read a ticket, make another system's file of it, write that whole or not at all."""

from __future__ import annotations

from pathlib import Path

from common.errors import InputError
from common.exchange.exporters.exporter import Options
from common.exchange.exporters.table import EXPORTERS
from common.files import require_writable, write_bytes
from common.tickets.ticket import load_ticket


def export_ticket(source: Path | str, to: str, path: Path, options: Options) -> list[str]:
    """Write a ticket as a file of another system.

    Args:
        source: the ticket.
        to: a name of the table of exporters.
        path: the file to write; its suffix tells the container.
        options: what is asked for.

    Returns:
        What was written, in lines.

    Raises:
        InputError: the file exists, has a suffix that the target cannot have, or the ticket cannot be exported so.
        RunError: an ONNX graph did not compute what torch computes.
    """
    exporter = EXPORTERS.get(to)
    if exporter is None:
        raise InputError(f"--to: got {to!r}, expected one of {', '.join(EXPORTERS)}")
    if path.suffix not in exporter.suffixes:
        raise InputError(f"--to {to}: {path} has the suffix {path.suffix!r}, expected one of {', '.join(exporter.suffixes)}")
    exporter.check(options)
    if path.exists():
        raise InputError(f"{path} exists; choose another file")
    require_writable(path.parent)
    ticket = load_ticket(source)
    export = exporter.write(ticket, options)
    write_bytes(path, export.content)
    header = ticket.header
    what = "" if to == "masks" else f", {options.weights} weights"
    return [
        f"{path}: {to} of {ticket.path}{what}, density {ticket.density:.4%}, {len(export.content):,} bytes",
        *(f"  {note}" for note in export.notes),
        f"  input: {header['input']['channels']} channels, range {header['input']['range']}, mean {header['input']['mean']}, "
        f"std {header['input']['std']}",
    ]
