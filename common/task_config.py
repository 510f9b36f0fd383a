"""What every task's configuration has: a ticket that is transferred to it, or rounds that find tickets on it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import ClassVar, Literal

from common.config import SearchConfig, TicketConfig
from common.option import option, require
from common.start_config import SearchStartConfig


@dataclass(frozen=True)
class TaskConfig(SearchConfig):
    """A task from a ticket or a control or, with prune.rounds, a search for tickets on the task itself."""

    REWINDS_OF_GIVEN: ClassVar[tuple[tuple[str, ...], str]] = (
        ("pretrained", "round0", "step", "final"),
        "pretrained, round0, step or final: with start.weights there is no random start",
    )

    select: Literal["last", "best"] = option("last", "the last epoch, or the best one on validation")
    ticket: TicketConfig = option(TicketConfig, "which ticket, as what")
    start: SearchStartConfig = option(
        SearchStartConfig, "weights of control mask_only, of a dense run without a ticket, or of round 0 of a search"
    )

    @property
    def searches(self) -> bool:
        """Whether tickets are found on the task itself instead of one being transferred to it."""
        return self.prune.rounds > 0

    @property
    def rewind_point(self) -> str:
        """As every search's, but that fresh weights are rewound to their initialisation (Frankle and Carbin 2019)."""
        return self.rewind.to or ("init" if self.start.weights is None else "pretrained")

    @property
    def trains_round_0(self) -> bool:
        """As every search's, but that given weights, which were trained on something else, are trained on the task."""
        return self.start.train is not False

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_search() if self.searches else self.check_transfer()

    def check_search(self) -> None:
        """Refuse what a search on the task cannot be combined with.

        Raises:
            InputError: names the option.
        """
        for item in fields(TicketConfig):
            got, unset = getattr(self.ticket, item.name), getattr(TicketConfig(), item.name)
            expected = f"{unset or 'null'} with prune.rounds: a search goes on inside the ticket that start.weights names, if any"
            require(got == unset, f"ticket.{item.name}", got, expected)
        schedule = "true with rewind.to step, whose schedule is that of round 0"
        require(self.rewind.to != "step" or self.trains_round_0, "start.train", self.start.train, schedule)

    def check_transfer(self) -> None:
        """Refuse what only a search reads.

        Raises:
            InputError: names the option.
        """
        for name, got in {
            "rewind.to": self.rewind.to,
            "start.head": self.start.head,
            "start.train": self.start.train,
        }.items():
            require(got is None, name, got, "null without prune.rounds: only a search for tickets has rounds")
        keep = list(self.rewind.keep)
        require(not keep, "rewind.keep", keep, "nothing without prune.rounds: only a search for tickets has rounds")
