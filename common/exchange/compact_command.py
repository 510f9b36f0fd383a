"""`python -m common.exchange compact`: a ticket's network with fewer channels, or the ticket with a pattern of 2 in 4."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from common.errors import InputError

SEMI_STRUCTURED = "2:4"


def add_parser(commands: Any) -> None:
    """Add the command's parser."""
    parser = commands.add_parser("compact", help="cut out channels that do nothing; or project a ticket to 2:4 sparsity")
    parser.add_argument("ticket")
    parser.add_argument("-o", "--output", required=True, help="file to write; an existing one is refused")
    parser.add_argument("--to", choices=[SEMI_STRUCTURED], help="write a ticket that keeps at most 2 of 4 inputs instead")
    parser.add_argument("--weights", choices=["rewind", "trained"], default="rewind", help="which weights (default: rewind)")
    parser.add_argument("--size", type=int, help="side of the image in pixels (default: what the ticket records)")
    parser.add_argument("--batch", type=int, help="images at once when latency is measured (default: 1)")
    parser.add_argument("--repeats", type=int, help="interleaved repeats of that, 0 for none (default: 15)")


def run(words: argparse.Namespace) -> int:
    """Compact or project, write, and print what changed."""
    if Path(words.output).exists():
        raise InputError(f"{words.output} exists; choose another file")
    return _project(words) if words.to == SEMI_STRUCTURED else _compact(words)


def _project(words: argparse.Namespace) -> int:
    from common.exchange.semi_structured import project_ticket
    from common.tickets.ticket import load_ticket

    for flag in ("size", "batch", "repeats"):
        if getattr(words, flag) is not None:
            raise InputError(f"--{flag} means nothing with --to {words.to}, which runs no network; leave it out")
    ticket = load_ticket(words.ticket)
    written, projection = project_ticket(ticket, words.output, words.weights)
    width = max(map(len, projection.magnitude))
    print(f"{'tensor':<{width}}  {'kept before':>12}{'after':>12}  magnitude that stays ({words.weights} weights)")
    for name, (before, after) in projection.magnitude.items():
        counts = (int(mask[name].sum()) for mask in (ticket.mask, written.mask))
        share = f"{after / before:.4%}" if before else "none was kept"
        print(f"{name:<{width}}  " + "".join(f"{count:>12,}" for count in counts) + f"  {share}")
    print(f"density {ticket.density:.4%} before, {written.density:.4%} after; {projection.kept_magnitude:.4%} of magnitude stays")
    print(f"{words.output}: digest {written.digest}, parent {ticket.digest}")
    return 0


def _compact(words: argparse.Namespace) -> int:
    from common.exchange.compact_ticket import Request, compact_ticket

    given = {key: value for key in ("batch", "repeats") if (value := getattr(words, key)) is not None}
    for key, least in (("batch", 1), ("repeats", 0)):
        if given.get(key, least) < least:
            raise InputError(f"--{key}: got {given[key]}, expected an integer >= {least}")
    request = Request(Path(words.ticket), Path(words.output), words.weights, words.size, **given)
    print("\n".join(compact_ticket(request)))
    return 0
