"""The one error of tickets."""

from __future__ import annotations

from common.errors import InputError


class TicketError(InputError):
    """A ticket, mask, scope or control that cannot be used; the message is one line."""
