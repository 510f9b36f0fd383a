"""`python -m common.exchange pull`: fetch a ticket from the Hugging Face Hub and check it before it is put anywhere."""

from __future__ import annotations

import argparse
from typing import Any


def add_parser(commands: Any) -> None:
    """Add the command's parser."""
    parser = commands.add_parser("pull", help="fetch a ticket from the Hugging Face Hub and verify it")
    parser.add_argument("repo", help="user/name")
    parser.add_argument("-o", "--output", required=True, help="file to write; another file there is refused")
    parser.add_argument("--file", default="ticket.safetensors", help="its name there (default: ticket.safetensors)")
    parser.add_argument("--revision", help="branch, tag or commit (default: the newest of the main branch)")
    parser.add_argument("--digest", help="what its digest must be (default: any)")


def run(words: argparse.Namespace) -> int:
    """Pull, and print what was fetched."""
    from common.exchange.hub import pull

    ticket = pull(words.repo, words.output, file=words.file, revision=words.revision, digest=words.digest)
    weights = "" if ticket.has_weights else "; a mask without weights"
    print(f"{words.output}: {ticket.header['arch']['name']}, density {ticket.density:.4%}, digest {ticket.digest}{weights}")
    return 0
