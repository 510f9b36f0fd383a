"""Schedule: how many weights are kept after each round."""

from __future__ import annotations

from common.tickets.errors import TicketError


def kept_counts(size: int, rate: float, rounds: int) -> list[int]:
    """Return the kept weights of rounds 0 to `rounds`: round k removes round(rate * kept(k-1)), ties to even as torch.

    The density of round k is about (1 - rate)^k (Frankle and Carbin 2019; Chen et al. 2021).

    Args:
        size: number of prunable weights, >= 1.
        rate: fraction of the kept weights that a round removes, in (0, 1).
        rounds: number of rounds after round 0, >= 0.

    Raises:
        TicketError: an argument out of its range, or a round that would keep nothing.
    """
    if size < 1 or rounds < 0 or not 0 < rate < 1:
        raise TicketError(f"a schedule needs size >= 1, rounds >= 0 and a rate in (0, 1); got {size}, {rounds} and {rate}")
    counts = [size]
    for round_ in range(1, rounds + 1):
        counts.append(counts[-1] - round(rate * counts[-1]))
        if counts[-1] < 1:
            raise TicketError(f"round {round_} would keep none of {size} weights; use fewer rounds or a lower rate")
    return counts
