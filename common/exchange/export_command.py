"""`python -m common.exchange export`: a ticket becomes a file that another system loads."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from common.errors import InputError
from common.exchange.targets import TARGETS


def add_parser(commands: Any) -> None:
    """Add the command's parser."""
    parser = commands.add_parser("export", help="write a ticket as a file that another system loads, weights inside")
    parser.add_argument("ticket")
    parser.add_argument("--to", required=True, choices=TARGETS, metavar="TARGET", help=", ".join(TARGETS))
    parser.add_argument(
        "--weights", choices=("rewind", "trained"), default="rewind", help="the rewind point (default), or the round's end"
    )
    parser.add_argument("--head", action="store_true", help="the ticket's classifier too")
    parser.add_argument("--stem", choices=("same", "fresh"), default="same", help="fresh leaves the stem to the receiver")
    parser.add_argument("--prefix", help="put before every name (default: what the target needs)")
    parser.add_argument("--size", type=int, help="side of the images in pixels, for onnx (default: the ticket's)")
    parser.add_argument("-o", "--output", required=True, help="file to write; an existing one is refused")


def run(words: argparse.Namespace) -> int:
    """Export, and print what was written."""
    from common.exchange.export_ticket import export_ticket
    from common.exchange.exporters.exporter import Options

    if words.size is not None and words.size < 1:
        raise InputError(f"--size: got {words.size}, expected pixels >= 1")
    output = Path(words.output)
    options = Options(words.weights, words.head, words.stem, words.prefix, words.size, output.suffix)
    print("\n".join(export_ticket(words.ticket, words.to, output, options)))
    return 0
