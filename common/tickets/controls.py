"""Controls: what a ticket is compared with, each with its own definition and draws.

K is the ticket's kept count, K_l that of tensor l, s0 the absolute parameters at the end of round 0.

Two controls compare costs, and a task makes them: `small_dense`, the widest dense network of the family with no more prunable
weights (or MACs) than K (`common.training.small_dense`), says whether sparsity does better than fewer channels; `dense_long`, the
dense network trained for the epochs of the ticket's search too (`common.training.dense_long`), whether that time was better spent
on training.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from math import prod

import torch
from torch import Tensor

from common.randomness import generator
from common.tickets.allocation import keep_global
from common.tickets.errors import TicketError
from common.tickets.mask import Mask
from common.tickets.scores import magnitude
from common.tickets.ticket import Ticket

FRESH, REWIND, START, NARROW = "fresh", "rewind", "start", "narrow"


@dataclass(frozen=True)
class Control:
    """One way to make a comparison from a ticket.

    Attributes:
        about: the definition, one line.
        mask: (ticket, generator) -> mask.
        weights: where the weights come from: "rewind" (the ticket's), "fresh" (random initialisation from the run's seed),
            "start" (the target recipe's start.weights), or "narrow" (another network: fresh, or start.weights of that network).
    """

    about: str
    mask: Callable[[Ticket, torch.Generator], Mask]
    weights: str = REWIND


def control_mask(ticket: Ticket, name: str, seed: int) -> Mask:
    """Make a control's mask.

    Args:
        ticket: the ticket that it is compared with.
        name: a name of `CONTROLS`.
        seed: the run's seed, >= 0. Draws also depend on the control's name and the ticket's mask, so that the controls of two
            tickets are independent.

    Raises:
        TicketError: an unknown control, one that this ticket has no file for, or one that has no meaning at its density.
    """
    control = find_control(name)
    stream = f"control/{name}/{ticket.header['mask_digest']}"
    return control.mask(ticket, generator(seed, stream))


def find_control(name: str) -> Control:
    """Look a control up.

    Raises:
        TicketError: unknown; lists the known ones.
    """
    if name not in CONTROLS:
        close = get_close_matches(name, CONTROLS, n=1)
        meant = f" (did you mean {close[0]}?)" if close else ""
        raise TicketError(f"unknown control {name!r}{meant}; known: {', '.join(CONTROLS)}")
    return CONTROLS[name]


def _dense(ticket: Ticket, draws: torch.Generator) -> Mask:
    del draws
    return Mask.dense(ticket.mask.shapes)


def _same(ticket: Ticket, draws: torch.Generator) -> Mask:
    del draws
    return ticket.mask


def _random(ticket: Ticket, draws: torch.Generator) -> Mask:
    return Mask.from_flat(_draw(ticket.mask.size, ticket.mask.kept, draws), ticket.mask.shapes)


def _random_layerwise(ticket: Ticket, draws: torch.Generator) -> Mask:
    return _random_per_tensor(ticket.mask, ticket.mask.kept_per_tensor, draws)


def _random_uniform(ticket: Ticket, draws: torch.Generator) -> Mask:
    counts = {name: round(ticket.mask.density * tensor.numel()) for name, tensor in ticket.mask.items()}
    return _random_per_tensor(ticket.mask, counts, draws)


def _shuffled(ticket: Ticket, draws: torch.Generator) -> Mask:
    def permuted(tensor: Tensor) -> Tensor:
        kernels = tensor.reshape(prod(tensor.shape[:2]), -1)
        return kernels[torch.randperm(len(kernels), generator=draws)].reshape(tensor.shape)

    return Mask({name: permuted(tensor) for name, tensor in ticket.mask.items()})


def _no_mask(ticket: Ticket, draws: torch.Generator) -> Mask:
    del draws
    raise TicketError(
        f"control small_dense of {ticket.path} is another, narrower network, so it has no mask of this one; "
        f"train it with ticket.control small_dense in a task"
    )


def _reversed(ticket: Ticket, draws: torch.Generator) -> Mask:
    del draws
    if ticket.mask.kept == ticket.mask.size:
        raise TicketError(
            f"control reversed has no meaning for {ticket.path}: its mask keeps everything, so the reverse keeps nothing"
        )
    return ticket.mask.complement()


def _reversed_matched(ticket: Ticket, draws: torch.Generator) -> Mask:
    del draws
    lowest_first = {name: -score for name, score in _round0_scores(ticket).items()}
    return keep_global(lowest_first, Mask.dense(ticket.mask.shapes), ticket.mask.kept)


def _one_shot(ticket: Ticket, draws: torch.Generator) -> Mask:
    del draws
    return keep_global(_round0_scores(ticket), Mask.dense(ticket.mask.shapes), ticket.mask.kept)


def _perturbed(ticket: Ticket, draws: torch.Generator) -> Mask:
    flat_N = ticket.mask.flat()
    return _flipped(ticket, flat_N, round(0.1 * ticket.mask.kept), round(0.1 * (ticket.mask.size - ticket.mask.kept)), draws)


def _swapped(ticket: Ticket, draws: torch.Generator) -> Mask:
    count = round(0.1 * ticket.mask.kept)
    if count > ticket.mask.size - ticket.mask.kept:
        raise TicketError(
            f"control swapped cannot be made of {ticket.path}: it prunes fewer weights than the {count} that would change places"
        )
    return _flipped(ticket, ticket.mask.flat(), count, count, draws)


def _flipped(ticket: Ticket, flat_N: Tensor, ones: int, zeros: int, draws: torch.Generator) -> Mask:
    """Flip `ones` kept and `zeros` pruned entries, drawn uniformly over the scope."""
    flipped_N = flat_N.clone()
    for value, count in ((True, ones), (False, zeros)):
        places = (flat_N == value).nonzero().squeeze(1)
        flipped_N[places[torch.randperm(len(places), generator=draws)[:count]]] = not value
    return Mask.from_flat(flipped_N, ticket.mask.shapes)


def _round0_scores(ticket: Ticket) -> dict[str, Tensor]:
    weights = ticket.round0_weights().backbone
    missing = [name for name in ticket.mask if name not in weights]
    if missing:
        raise TicketError(f"the round-0 weights of {ticket.path} have no tensor {missing[0]!r}")
    return magnitude({name: weights[name] for name in ticket.mask})


def _draw(size: int, count: int, draws: torch.Generator) -> Tensor:
    """Return bool (size,) with `count` True, every subset equally likely."""
    chosen = torch.zeros(size, dtype=torch.bool)
    chosen[torch.randperm(size, generator=draws)[:count]] = True
    return chosen


def _random_per_tensor(mask: Mask, counts: dict[str, int], draws: torch.Generator) -> Mask:
    return Mask({name: _draw(tensor.numel(), counts[name], draws).reshape(tensor.shape) for name, tensor in mask.items()})


CONTROLS = {
    "ticket": Control("the ticket itself", _same),
    "dense": Control("every weight kept, the ticket's weights", _dense),
    "scratch": Control("every weight kept, fresh random weights", _dense, FRESH),
    "random": Control("as many weights, drawn uniformly over the scope", _random),
    "random_layerwise": Control("as many weights in every tensor, drawn uniformly inside it", _random_layerwise),
    "random_uniform": Control("the same density in every tensor, drawn uniformly inside it", _random_uniform),
    "shuffled": Control("the mask's (out, in) kernels permuted inside every tensor", _shuffled),
    "reversed": Control("what the mask prunes; density 1 - d", _reversed),
    "reversed_matched": Control("as many weights, the smallest at the end of round 0", _reversed_matched),
    "one_shot": Control("as many weights, the largest at the end of round 0", _one_shot),
    "reinit": Control("the mask, fresh random weights", _same, FRESH),
    "mask_only": Control("the mask, the target recipe's start.weights", _same, START),
    "perturbed": Control("10% of the kept and 10% of the pruned flipped; its own density is reported", _perturbed),
    "small_dense": Control("a narrower dense network of no more weights, or MACs, than the ticket keeps", _no_mask, NARROW),
    "dense_long": Control("every weight kept, the ticket's weights, trained for the ticket's search epochs as well", _dense),
    "swapped": Control("10% of the kept off, equally many of the pruned on", _swapped),
}
