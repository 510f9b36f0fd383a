"""`python -m common.exchange cost`: what a ticket's network costs, dense and under the mask."""

from __future__ import annotations

import argparse
import json
from typing import Any


def add_parser(commands: Any) -> None:
    """Add the command's parser."""
    parser = commands.add_parser("cost", help="parameters, MACs and bytes of a ticket's network, dense and under the mask")
    parser.add_argument("ticket")
    parser.add_argument("--size", type=int, help="side of the image in pixels (default: what the ticket records)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def run(words: argparse.Namespace) -> int:
    """Count, and print."""
    from common.exchange.cost_report import as_json, print_cost
    from common.exchange.ticket_cost import ticket_cost
    from common.tickets.ticket import load_ticket

    found = ticket_cost(load_ticket(words.ticket), words.size)
    if words.json:
        print(json.dumps({"ticket": found.digest, "network": found.network, **as_json(found.cost)}, sort_keys=True, indent=1))
        return 0
    height, width = found.cost.size or (0, 0)
    print_cost(found.cost, f"{words.ticket}: {found.network}, one image of {height} x {width} px")
    return 0
