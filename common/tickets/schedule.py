"""Schedules: how many weights are kept after each round, and after each event of gradual pruning."""

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


def gradual_counts(size: int, first: float, last: float, *, start: int, end: int, every: int) -> dict[int, int]:
    """Return the kept weights of a tensor after each event of automated gradual pruning (AGP).

    With sparsity s = 1 - density: s(t) = s_last + (s_first - s_last) (1 - (t - start) / span)^3 (Zhu and Gupta 2017,
    arXiv:1710.01878, eq. 1), and int(s n) weights are removed. As in Distiller, `end` is exclusive and the span reaches to the
    last event, which so hits `last` exactly.

    Args:
        size: number of the tensor's weights, >= 1.
        first: density at the first event, in (0, 1].
        last: density at the last event, in (0, first).
        start: the first event's time, such as an epoch, >= 0.
        end: the time at which there are no events any more.
        every: time between events, >= 1.

    Raises:
        TicketError: an argument out of its range, or fewer than two events.
    """
    span = (end - start - 1) // every * every if every >= 1 else 0
    if size < 1 or start < 0 or span <= 0 or not 0 < last < first <= 1:
        raise TicketError(
            f"gradual pruning needs size >= 1, densities 0 < last < first <= 1 and two events or more from start to end; "
            f"got {size}, {first} to {last}, {start} to {end} every {every}"
        )
    counts = {}
    for time in range(start, start + span + 1, every):
        sparsity = (1 - last) + (last - first) * (1 - (time - start) / span) ** 3
        counts[time] = size - int(sparsity * size)
    return counts
