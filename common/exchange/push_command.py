"""`python -m common.exchange push`: share a ticket, weights inside and with a card, on the Hugging Face Hub."""

from __future__ import annotations

import argparse
from typing import Any


def add_parser(commands: Any) -> None:
    """Add the command's parser."""
    parser = commands.add_parser("push", help="share a ticket and its card on the Hugging Face Hub")
    parser.add_argument("ticket")
    parser.add_argument("repo", help="user/name; made where it is absent")
    parser.add_argument("--licence", required=True, help="licence of the weights, as the Hub names it: mit, cc-by-4.0 ...")
    parser.add_argument("--result", action="append", default=[], help="result of the ticket or a control, for the card; repeat")
    parser.add_argument("--file", default="ticket.safetensors", help="its name there (default: ticket.safetensors)")
    parser.add_argument("--revision", help="branch, made where it is absent (default: the main one)")
    parser.add_argument("--private", action="store_true", help="make a repository that only you see")


def run(words: argparse.Namespace) -> int:
    """Push, and print where it lies."""
    from common.exchange.hub import push

    shared = push(
        words.ticket,
        words.repo,
        licence=words.licence,
        results=words.result,
        file=words.file,
        revision=words.revision,
        private=words.private,
    )
    print(f"{words.ticket}: {shared.url}\n  digest {shared.digest}\n  pin it with --revision {shared.commit}")
    return 0
