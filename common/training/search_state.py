"""A search in progress: what it works on, and the mask that its next round would have."""

from __future__ import annotations

from dataclasses import dataclass

from common.config import SearchConfig
from common.durations import steps
from common.tickets.allocation import keep_global, keep_layerwise
from common.tickets.mask import Mask
from common.tickets.scope import Scope
from common.tickets.scores import magnitude, random
from common.tickets.weights_file import load_weights
from common.training.checkpoint import Checkpoint
from common.training.first_round import FirstRound, round_steps
from common.training.logs import Log
from common.training.loop import Span
from common.training.progress import Progress
from common.training.records import Records
from common.training.run import Run
from common.training.task import Task


@dataclass
class Search:
    """One search in progress: what it works on, and the rewind point once it is known.

    Attributes:
        task: what is trained.
        config: the run's configuration.
        run: the run directory, locked.
        records: what every result and ticket of this run says of task and data.
        scope: the prunable tensors.
        first: round 0, whose mask every other lies in.
        log: metrics.
        progress: steps done and time left.
        resumed: the checkpoint that the run continues from.
    """

    task: Task
    config: SearchConfig
    run: Run
    records: Records
    scope: Scope
    first: FirstRound
    log: Log
    progress: Progress
    resumed: Checkpoint | None

    @property
    def rewind_step(self) -> int | None:
        """The step of round 0 that is rewound to, where the rewind point is `step`."""
        return steps(self.config.rewind.step, self.task.steps_per_epoch) if self.config.rewind.step else None

    @property
    def rewind_to(self) -> str:
        """The rewind point."""
        return self.config.rewind_point

    def span(self, round_: int) -> Span:
        """The steps of a round."""
        return Span(round_, *round_steps(self.config, self.task.steps_per_epoch, round_, self.first))


def next_mask(s: Search, mask: Mask, round_: int) -> Mask:
    """Rank by the parameters as they are now, after the last step, and keep what the round's count allows."""
    prune = s.config.prune
    parameters = s.scope.parameters(s.task.backbone)
    if prune.score == "random":
        scores = random(parameters, seed=s.records.seed, round=round_)
    elif prune.schedule == "one_shot" and round_ > 1:  # the first mask ranks what ends round 0, as it is now
        trained_densely = load_weights(s.run.path / "scores.safetensors").backbone
        scores = magnitude({name: trained_densely[name] for name in s.scope.names})
    else:
        scores = magnitude(parameters)
    if prune.allocation == "layerwise":
        return keep_layerwise(scores, mask, s.first.kept_per_tensor(prune, round_))
    return keep_global(scores, mask, s.first.kept(prune, round_))


def of_network(mask: Mask) -> Mask:
    """Return a mask of the backbone under the network's names."""
    return Mask({f"backbone.{name}": kept for name, kept in mask.items()})
