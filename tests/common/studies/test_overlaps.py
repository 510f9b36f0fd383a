"""Overlap of masks in a study: by hand, and by a loop over the weights of the written files."""

from __future__ import annotations

import csv
import html
import json
import re

import numpy as np
import pytest
from safetensors.numpy import load_file

from common.studies.overlaps import mask_pairs, overlap_curves
from common.studies.results import read_results


def _curves(plan):
    pairs, notes = mask_pairs(plan, read_results(plan))
    assert notes == []
    return {(curve.one, curve.other, curve.same_seed): curve for curve in overlap_curves(pairs)}


def test_every_two_masks_of_a_round_meet_once(written_sources):
    curves = _curves(written_sources)
    names = ("simclr", "moco", "labels")
    pairs = [("simclr", "moco"), ("simclr", "labels"), ("moco", "labels")]
    assert {key: {level.overlap.n for level in curve.levels} for key, curve in curves.items()} == {
        **{(name, name, False): {3} for name in names},
        **{(*pair, True): {3} for pair in pairs},
        **{(*pair, False): {6} for pair in pairs},
    }
    assert {tuple(level.round for level in curve.levels) for curve in curves.values()} == {(1, 2)}


def test_overlaps_worked_by_hand(written_sources):
    """Half of 144, 288 and 64 weights from a place on: two such masks, s places apart, share 248 - 3 s of 248 + 3 s.

    Simclr and moco lie 0, 1 and 3 places apart. At a quarter it is 124 - 3 s of 124 + 3 s. By chance two halves share a third
    (.25 / .75), two quarters a seventh (1/16 / 7/16); every tensor has the same density here, so both levels are one.
    """
    one, two = _curves(written_sources)["simclr", "moco", True].levels
    assert one.overlap.mean == pytest.approx(np.mean([(248 - 3 * s) / (248 + 3 * s) for s in (0, 1, 3)]))
    assert two.overlap.mean == pytest.approx(np.mean([(124 - 3 * s) / (124 + 3 * s) for s in (0, 1, 3)]))
    assert two.overlap.deviation == pytest.approx(np.std([(124 - 3 * s) / (124 + 3 * s) for s in (0, 1, 3)], ddof=1))
    assert (one.chance, one.chance_layerwise) == pytest.approx((1 / 3, 1 / 3))
    assert (two.chance, two.chance_layerwise) == pytest.approx((1 / 7, 1 / 7))
    assert (one.densities, two.densities) == ((0.5, 0.5), (0.25, 0.25))
    seeds = _curves(written_sources)["moco", "moco", False].levels[0]  # 0, 2 and 5 places
    assert seeds.overlap.mean == pytest.approx(np.mean([(248 - 3 * s) / (248 + 3 * s) for s in (2, 5, 3)]))


def test_the_table_is_that_of_a_loop_over_the_weights(reported_sources):
    with (reported_sources.folder / "overlaps.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * 9 * 8 / 2
    runs = {(job.entry, job.seed): reported_sources.root / job.run for job in reported_sources.plan.jobs if job.kind == "search"}
    for row in rows[::5]:
        files = [runs[row[side], int(row[f"seed_{side}"])] / f"round_{int(row['round']):02}" for side in ("one", "other")]
        masks = [load_file(file / "ticket.safetensors") for file in files]
        both = either = 0
        for name, packed in masks[0].items():
            for x, y in zip(*(np.unpackbits(mask, bitorder="little") for mask in (packed, masks[1][name])), strict=True):
                both += bool(x and y)
                either += bool(x or y)
        assert float(row["overlap"]) == both / either


def test_a_damaged_ticket_is_left_out_and_another_architecture_named(written_sources, other_ticket):
    jobs = {job.id: job for job in written_sources.jobs}
    (jobs["labels/seed1"].run / "round_01" / "ticket.safetensors").write_bytes(b"nothing")
    curves = _curves(written_sources)
    assert [level.overlap.n for level in curves["labels", "labels", False].levels] == [1, 3]
    assert [level.overlap.n for level in curves["moco", "labels", True].levels] == [2, 3]
    for seed in range(3):
        for round_ in (1, 2):
            other_ticket(jobs[f"moco/seed{seed}"].run / f"round_{round_:02}" / "ticket.safetensors", seed, round_)
    pairs, notes = mask_pairs(written_sources, read_results(written_sources))
    assert [note.job for note in notes] == ["simclr and moco", "moco and labels"]
    assert all("no overlap: the masks are of different architectures" in note.text for note in notes)
    assert {(pair.one.search, pair.other.search) for pair in pairs} == {
        ("simclr", "simclr"), ("moco", "moco"), ("labels", "labels"), ("simclr", "labels"),
    }  # fmt: skip


def test_the_page_prints_both_chance_levels(reported_sources):
    text = html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", reported_sources.page)))
    told = next(
        c for c in reported_sources.report["overlaps"] if (c["one"], c["other"], c["same_seed"]) == ("simclr", "moco", True)
    )
    level = told["levels"][1]
    assert level["chance"] == pytest.approx(1 / 7)
    mean = f"{100 * level['overlap']['mean']:.1f}%"
    assert f"Masks of simclr and moco, same seed, share {mean} of what either keeps at 25.0% of weights; by chance 14.3%" in text
    assert "chance .143, by layer .143" in text
    for heading in ("Different sources, same seed", "Same source, different seeds", "Different sources, different seeds"):
        assert heading in text


def test_one_search_shows_the_overlap_of_its_seeds(reported):
    (curve,) = reported.report["overlaps"]
    assert (curve["one"], curve["other"], curve["same_seed"]) == ("find", "find", False)
    assert json.dumps(curve["levels"][0]["overlap"]["mean"]) == "1.0"  # the toy's seeds keep the same weights
