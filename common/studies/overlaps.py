"""Overlap of masks, round by round, from ticket files: between searches of one seed and, for scale, between seeds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from common.errors import InputError
from common.studies import statistics
from common.studies.plan import Plan
from common.studies.results import Note, Results, Row
from common.tickets.container import read_bytes
from common.tickets.header import parse_ticket
from common.tickets.overlap import Overlap, PackedMask, packed_overlap


@dataclass(frozen=True)
class Ticket:
    """Which mask: the search, its seed, and the mask's kept fraction."""

    search: str
    seed: int
    density: float


@dataclass(frozen=True)
class MaskPair:
    """Two masks of one round and what they share."""

    round: int
    one: Ticket
    other: Ticket
    measured: Overlap


@dataclass(frozen=True)
class OverlapLevel:
    """The pairs of one kind at one round: mean kept fractions, overlap over the pairs, mean chance levels."""

    round: int
    densities: tuple[float, float]
    overlap: statistics.Spread
    chance: float
    chance_layerwise: float


@dataclass(frozen=True)
class OverlapCurve:
    """The overlap of two searches, or of the seeds of one, over the rounds; `same_seed` says which pairs are meant."""

    one: str
    other: str
    same_seed: bool
    levels: tuple[OverlapLevel, ...]


def mask_pairs(plan: Plan, results: Results) -> tuple[list[MaskPair], list[Note]]:
    """Measure every two masks of one round: of different searches, or of different seeds of one; round 0 keeps everything.

    The notes name searches whose masks cannot be compared. Tickets that cannot be read are left out here; the analysis of the
    searches names them.
    """
    order = {search.name: place for place, search in enumerate(plan.study.searches)}
    rows = sorted((row for row in results.rounds if row.round), key=lambda row: (order[row.job.entry], row.job.seed))
    pairs: list[MaskPair] = []
    notes: dict[tuple[str, str], Note] = {}
    for round_ in sorted({row.round for row in rows if row.round is not None}):
        masks = _read([row for row in rows if row.round == round_])  # one round at a time: masks of large networks are large
        for (one, a), (other, b) in combinations(masks.items(), 2):
            try:
                pairs.append(MaskPair(round_, one, other, packed_overlap(a, b)))
            except InputError as error:
                both = one.search, other.search
                notes.setdefault(both, Note("flagged", " and ".join(both), f"no overlap: {error}"))
    return pairs, list(notes.values())


def overlap_curves(pairs: Sequence[MaskPair]) -> list[OverlapCurve]:
    """Bring the pairs of every two searches together, those of the same seed apart from those of different seeds."""
    kinds: dict[tuple[str, str, bool], dict[int, list[MaskPair]]] = {}
    for pair in pairs:
        kind = pair.one.search, pair.other.search, pair.one.seed == pair.other.seed
        kinds.setdefault(kind, {}).setdefault(pair.round, []).append(pair)
    levels = {kind: tuple(_level(round_, found) for round_, found in rounds.items()) for kind, rounds in kinds.items()}
    return [OverlapCurve(*kind, told) for kind, told in levels.items()]


def _read(rows: Sequence[Row]) -> Mapping[Ticket, PackedMask]:
    masks = {}
    for row in rows:
        path = row.file.with_name("ticket.safetensors")
        try:
            mask = PackedMask.of(parse_ticket(read_bytes(path), str(path)))
        except InputError:
            continue
        masks[Ticket(row.job.entry, row.job.seed, mask.density)] = mask
    return masks


def _level(round_: int, pairs: Sequence[MaskPair]) -> OverlapLevel:
    return OverlapLevel(
        round_,
        (_mean([pair.one.density for pair in pairs]), _mean([pair.other.density for pair in pairs])),
        statistics.spread([pair.measured.overlap for pair in pairs]),
        _mean([pair.measured.chance for pair in pairs]),
        _mean([pair.measured.chance_layerwise for pair in pairs]),
    )


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
