"""Round 0 of a search: the mask that every later one lies in, and whether the round is trained."""

from __future__ import annotations

from dataclasses import dataclass

from common.config import PruneConfig, SearchConfig, require
from common.durations import steps
from common.errors import InputError
from common.tickets.mask import Mask
from common.tickets.schedule import kept_counts
from common.tickets.scope import find_scope
from common.tickets.ticket import Ticket
from common.training.task import Task


@dataclass(frozen=True)
class FirstRound:
    """What round 0 is.

    Attributes:
        mask: everything kept, or the mask of the ticket that the search starts from; later masks lie inside it.
        trained: whether the round is trained.
    """

    mask: Mask
    trained: bool

    @property
    def is_dense(self) -> bool:
        """Whether nothing is pruned yet."""
        return self.mask.kept == self.mask.size

    def kept(self, prune: PruneConfig, round_: int) -> int:
        """Return the weights of the whole scope that a round keeps, counted on from this round's."""
        return kept_counts(self.mask.kept, prune.rate, round_)[-1]

    def kept_per_tensor(self, prune: PruneConfig, round_: int) -> dict[str, int]:
        """Return the weights of every tensor that a round keeps, counted on from this round's; a tensor without any stays so."""
        counts = self.mask.kept_per_tensor
        return {name: kept_counts(count, prune.rate, round_)[-1] if count else 0 for name, count in counts.items()}


def first_round(task: Task, config: SearchConfig, ticket: Ticket | None = None) -> FirstRound:
    """Return round 0 of a search.

    Fresh weights are trained in it; those given to a pre-training objective were trained already and are not, unless
    `start.train` says so; on a task they are. The weights of a ticket with a mask were rewound: where they are not trained inside
    that mask first, the next mask would rank them as they were before. So they are, unless `start.train` is false.

    Args:
        task: what is trained.
        config: scope, start, rewind point.
        ticket: the ticket that the search starts from, if any.

    Raises:
        InputError: a scope that matches nothing or is another than the ticket's, or a rewind point at which weights outside the
            ticket's mask would be lost.
    """
    scope = find_scope(task.backbone, config.prune.include, config.prune.exclude)
    dense = Mask.dense({name: parameter.shape for name, parameter in scope.parameters(task.backbone).items()})
    if ticket is None or ticket.mask.kept == ticket.mask.size:
        return FirstRound(dense, config.trains_round_0)
    _check_ticket(ticket, dense, config)
    return FirstRound(ticket.mask, config.start.train is not False)


def _check_ticket(ticket: Ticket, dense: Mask, config: SearchConfig) -> None:
    scope = ticket.header["scope"]
    if ticket.mask.shapes != dense.shapes:
        odd = sorted(set(ticket.mask.shapes.items()) ^ set(dense.shapes.items()))[0][0]
        raise InputError(
            f"start.weights: the mask of {ticket.path} and the scope of this search differ in {odd!r}; "
            f"set prune.include and prune.exclude to the ticket's: {scope['include']} and {scope['exclude']}"
        )
    outside = "pretrained or null: outside the mask of the ticket that start.weights names, only its rewind point has weights"
    require(config.rewind.to in (None, "pretrained"), "rewind.to", config.rewind.to, outside)
    if ticket.header["rewind"]["to"] == "final":
        raise InputError(
            f"start.weights: {ticket.path} was never rewound (rewind.to final), so the weights outside its mask are lost; "
            f"start from a ticket of a search that rewinds"
        )


def round_steps(config: SearchConfig, steps_per_epoch: int, round_: int, first: FirstRound) -> tuple[int, int]:
    """Return the first step and the end of a round's training; rewound to a step, a round resumes the schedule of round 0.

    Raises:
        InputError: the rewind step lies behind the end of round 0.
    """
    if round_ == 0 and not first.trained:
        return 0, 0
    if round_ == 0 and first.is_dense:
        return 0, config.train.epochs * steps_per_epoch
    if config.rewind.step is not None:
        start, last = steps(config.rewind.step, steps_per_epoch), config.train.epochs * steps_per_epoch
        if not 0 <= start < last:
            raise InputError(f"rewind.step: got {config.rewind.step} ({start} steps), expected less than round 0 ({last} steps)")
        return start, last
    return 0, config.prune.round_epochs(config.train) * steps_per_epoch
