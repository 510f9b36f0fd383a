"""The command of a task on annotated images: transfer a ticket, or find tickets on the task."""

from __future__ import annotations

from common.cli import Invocation
from common.training.annotated_setting import Kind


def run_annotated(invocation: Invocation, kind: Kind) -> None:
    """Transfer one ticket or control, or find tickets on the task itself; a killed run continues; errors as either."""
    if invocation.config.searches:
        from common.training.annotated_search import find_tickets

        find_tickets(invocation, kind)
    else:
        from common.training.annotated_transfer import transfer

        transfer(invocation, kind)
