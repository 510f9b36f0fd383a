"""The search: iterative magnitude pruning with rewinding, on a pre-training objective or on a task."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

from common.config import SearchConfig
from common.errors import InputError, RunError
from common.files import read_json
from common.tickets.early_bird import EarlyBird
from common.tickets.hold import Hold
from common.tickets.mask import Mask
from common.tickets.rewind import capture, restore_
from common.tickets.schedule import kept_counts
from common.tickets.scope import find_scope
from common.tickets.ticket import Ticket
from common.tickets.weights_file import NetworkState, load_weights, save_weights
from common.training.alarms import ALARMS, alarm_text
from common.training.carried_parts import names_of_parts
from common.training.checkpoint import load_checkpoint
from common.training.distributed import broadcast, follow_first_, require_agreement, state_digest, world_size
from common.training.first_round import FirstRound, first_round, round_steps
from common.training.logs import open_log
from common.training.progress import Progress
from common.training.records import Records, Round, record_round
from common.training.run import Run
from common.training.search_state import Search, next_mask, of_network
from common.training.span import Trained, check_durations, train_span
from common.training.task import Task


def check_search(task: Task, config: SearchConfig, ticket: Ticket | None = None) -> FirstRound:
    """Refuse a search that could not be finished, before anything is written.

    Args:
        task: what is trained.
        config: the run's configuration.
        ticket: the ticket that the search starts from, if any.

    Returns:
        Round 0.

    Raises:
        InputError: an ill-typed duration, a scope that matches nothing, a ticket that cannot be continued from, a part to carry
            over that the network lacks, or a round that would remove or keep nothing.
    """
    check_durations(config, task.steps_per_epoch)
    names_of_parts(task.network, config.rewind.keep)
    first = first_round(task, config, ticket)
    for round_ in range(config.prune.rounds + 1):
        round_steps(config, task.steps_per_epoch, round_, first)
    if config.prune.allocation == "layerwise":
        for name, count in first.mask.kept_per_tensor.items():
            if count:
                _counts(name, count, config)
    for round_, (before, after) in enumerate(pairwise(_counts("the scope", first.mask.kept, config)), start=1):
        if before == after:
            raise InputError(f"prune.rounds: round {round_} would remove none of the {before} weights left; use fewer rounds")
    return first


def _counts(name: str, size: int, config: SearchConfig) -> list[int]:
    """Return the kept counts of a tensor or of the scope; an error names which."""
    try:
        return kept_counts(size, config.prune.rate, config.prune.rounds)
    except InputError as error:
        raise InputError(f"prune.rounds: {name}: {error}") from error


def search(task: Task, config: SearchConfig, run: Run, records: Records, first: FirstRound | None = None) -> None:
    """Find tickets by iterative magnitude pruning with rewinding (Frankle et al. 2020; Chen et al. 2021, algorithm 1).

    Train; remove the smallest of the kept weights; rewind the others; repeat. Every round leaves a ticket and a result.

    Args:
        task: what is trained, in its state at the start of round 0.
        config: how many rounds, at what rate, rewound to where.
        run: the run directory, locked; a killed run continues behind its last checkpoint, to the same tickets.
        records: what tickets and results say of task and data.
        first: round 0, as `check_search` returned it; None where the search starts from no ticket.

    Raises:
        RunError: a loss or weight is not finite, or a round is ruined and prune.on_alarm is stop.
        InputError: a file of the run is damaged or cannot be written.
    """
    rounds = config.prune.rounds
    with _begin(task, config, run, records, first or first_round(task, config)) as s:
        mask = s.resumed.mask if s.resumed is not None and s.resumed.mask is not None else s.first.mask
        for round_ in range(s.resumed.round if s.resumed else 0, rounds + 1):
            if round_ > 0 and not _is_resumed(s, round_):
                mask = _prune(s, mask, round_)
                _rewind_(s, mask, round_)
            early_bird = _early_bird(s, mask, round_)
            trained = _train(s, mask, round_, early_bird)
            _finish(s, mask, round_, trained, early_bird)
            if round_ < rounds:
                _stop_if_ruined(s, round_)
    run.mark(status="done", round=rounds)
    if run.writes:
        run.checkpoint.unlink(missing_ok=True)


@contextmanager
def _begin(task: Task, config: SearchConfig, run: Run, records: Records, first: FirstRound) -> Iterator[Search]:
    """Build the search's state, from the checkpoint where there is one; close logs and progress at the end."""
    resumed = broadcast(load_checkpoint(run.checkpoint) if run.writes else None)
    round_, step = (resumed.round, resumed.step) if resumed else (0, 0)
    spans = [round_steps(config, task.steps_per_epoch, k, first) for k in range(config.prune.rounds + 1)]
    lengths = [last - start for start, last in spans]
    done = sum(lengths[:round_]) + max(0, step - spans[round_][0])
    scope = find_scope(task.backbone, config.prune.include, config.prune.exclude)
    log = open_log(run, (round_, step))
    try:
        with Progress(run.name, sum(lengths), done=done, show=config.log.progress and run.writes) as progress:
            s = Search(task, config, run, records, scope, first, log, progress, resumed)
            if resumed is not None:
                resumed.restore_(task, None)
                progress.say(f"continuing round {round_} behind step {step}")
            elif s.rewind_to in ("init", "pretrained") or s.rewind_step == 0:
                _keep_rewind_point(s)
            if resumed is None and not first.is_dense:
                _on_network(s, first.mask)
                task.rewound()
            yield s
    finally:
        log.close()


def _on_network(s: Search, mask: Mask) -> None:
    """Zero what a mask of the backbone prunes."""
    Hold(s.task.network.named_parameters(), of_network(mask)).weights_()


def _is_resumed(s: Search, round_: int) -> bool:
    """Say whether the checkpoint lies inside this round, behind its pruning and rewinding."""
    return s.resumed is not None and s.resumed.round == round_


def _prune(s: Search, mask: Mask, round_: int) -> Mask:
    """Return the round's mask, inside the last one; the first process computes it, the others must stand at the same weights.

    Raises:
        RunError: the processes hold different weights or masks.
    """
    require_agreement(f"the weights at the end of round {round_ - 1}", state_digest(s.task.network) if world_size() > 1 else "")
    found = Mask(broadcast(dict(next_mask(s, mask, round_)) if s.run.writes else {}))
    require_agreement(f"the mask of round {round_}", found.digest())
    return found


def _rewind_(s: Search, mask: Mask, round_: int) -> None:
    """Bring the network back to the rewind point, but for parts that are carried over, and zero what is pruned.

    `final` keeps what was trained. Where a round starts from other weights than the rewind point, they are stored beside it.
    """
    if s.run.writes:
        own, carried = s.run.round_path(round_) / "rewind.safetensors", names_of_parts(s.task.network, s.config.rewind.keep)
        state = capture(s.task.network)
        if s.rewind_to != "final":
            rewound = load_weights(s.run.path / "rewind.safetensors").joined()
            state = {name: state[name] if name in carried else tensor for name, tensor in rewound.items()}
        if s.rewind_to == "final" or carried:
            save_weights(own, NetworkState.split(state))
        restore_(s.task.network, state, of_network(mask))
    if s.rewind_to == "final":
        s.task.at_rewind_point()
    follow_first_(s.task.network)
    s.task.rewound()


def _early_bird(s: Search, mask: Mask, round_: int) -> EarlyBird | None:
    """Return what ends a round early, where the recipe asks for it and the round's training decides the mask after it."""
    prune = s.config.prune
    if prune.early_bird is None or round_ == prune.rounds or (prune.schedule == "one_shot" and round_ > 0):
        return None
    return EarlyBird(prune.early_bird, prune.early_bird_window, mask.kept)


def _train(s: Search, mask: Mask, round_: int, early_bird: EarlyBird | None) -> Trained:
    """Train the round with its mask held and a fresh optimizer, to its end or until the mask after it has settled."""

    def at_step(done: int) -> None:
        if round_ == 0 and done == s.rewind_step:
            _keep_rewind_point(s)
        is_behind = s.rewind_step is None or done >= s.rewind_step  # round 0 must not end before its rewind point
        if early_bird is not None and done % s.task.steps_per_epoch == 0 and is_behind:
            _watch(s, mask, round_, early_bird)

    resumed, span = s.resumed if _is_resumed(s, round_) else None, s.span(round_)
    trained = train_span(
        s.task,
        s.config,
        s.run,
        span,
        mask,
        log=s.log,
        progress=s.progress,
        resumed=resumed,
        at_step=at_step,
        early_bird=early_bird,
    )
    s.progress.skip(span.last - trained.last)
    return trained


def _watch(s: Search, mask: Mask, round_: int, early_bird: EarlyBird) -> None:
    """Show the early-bird criterion the mask that pruning now would leave; the first process draws it."""
    if s.run.writes:
        early_bird.see(next_mask(s, mask, round_ + 1))
    early_bird.distances = broadcast(early_bird.distances)


def _keep_rewind_point(s: Search) -> None:
    s.task.at_rewind_point()
    if not s.run.writes:
        return
    save_weights(s.run.path / "rewind.safetensors", NetworkState.split(capture(s.task.network)))


def _finish(s: Search, mask: Mask, round_: int, trained: Trained, early_bird: EarlyBird | None) -> None:
    """Keep what a round leaves: its weights where asked, its ticket, its result."""
    if round_ == 0 and s.rewind_to == "round0":
        s.task.at_rewind_point()
    if not s.run.writes and not s.task.shares_evaluation:
        return
    measured = {name: s.task.evaluate(name) for name in s.records.splits}
    if not s.run.writes:
        return
    state = NetworkState.split(capture(s.task.network))
    if round_ == 0:
        save_weights(s.run.path / "scores.safetensors", state)
        if s.rewind_to == "round0":
            save_weights(s.run.path / "rewind.safetensors", state)
    is_last = round_ == s.config.prune.rounds
    keeps = round_ > 0 and (s.config.keep.trained == "all" or (s.config.keep.trained == "last" and is_last))
    details = _details(s, round_, trained, early_bird)
    kept = state if keeps else None
    ended = Round(round_, mask, s.rewind_to, trained.seconds, is_last, kept, details)
    result = record_round(s.run, s.records, s.task, s.scope, ended, measured)
    density = result["details"]["layer_density"]
    s.log.values(round_, trained.last, result["metrics"] | {f"density/{name}": kept for name, kept in density.items()})
    s.task.show(s.records.splits[0], s.run.round_path(round_), s.log, (round_, trained.last))
    s.progress.say(f"round {round_}: density {mask.density:.4f}, {result['metric']} {result['value']:.4f}")
    alarms = _alarms(s, result)
    if alarms:
        s.progress.warn(alarm_text(round_, alarms, density))


def _details(s: Search, round_: int, trained: Trained, early_bird: EarlyBird | None) -> dict[str, Any]:
    """Return where a round began, for how long it was trained, and how the mask after it moved where that could end it."""
    first, an_epoch = s.span(round_).first, s.task.steps_per_epoch
    details: dict[str, Any] = {"from_epoch": first / an_epoch, "epochs": (trained.last - first) / an_epoch}
    if early_bird is not None:
        details["early_bird"] = {"distances": early_bird.distances, "settled": early_bird.has_settled}
    return details


def _alarms(s: Search, result: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the flags of a round that say that it is ruined and are not the whole search's."""
    return tuple(flag for flag in result["flags"] if flag in ALARMS and flag not in s.records.flags)


def _stop_if_ruined(s: Search, round_: int) -> None:
    """Stop before the next prune where the recipe asks for it; every process of the run does.

    Raises:
        RunError: the round has alarms.
    """
    if s.config.prune.on_alarm != "stop":
        return
    result = s.run.round_path(round_) / "result.json"
    alarms = broadcast(_alarms(s, read_json(result)) if s.run.writes else ())
    if alarms:
        raise RunError(f"round {round_} is ruined ({', '.join(alarms)}), and prune.on_alarm is stop; its result is in {result}")
