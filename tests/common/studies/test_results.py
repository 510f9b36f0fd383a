"""Result files: what is missing, failed, damaged or not comparable is said."""

from __future__ import annotations

import json

import pytest

from common.errors import InputError
from common.studies.results import Note, read_results


def test_everything_is_read(written):
    results = read_results(written)
    assert len(results.rows) == 18 + 3
    assert len(results.rounds) == 3 * 3
    assert results.notes == ()
    row = next(row for row in results.rows if row.job.id == "linear/ticket/round_02/seed1")
    assert (row.value, row.density, row.labels, row.data, row.split_hash) == (0.60, 0.25, 40, "digits:6-9", "0123456789abcdef")


def test_missing_failed_and_unfinished_runs_are_named(written):
    jobs = written.of("linear")
    for job, record in zip(jobs, ({"status": "failed", "error": "loss\nnan"}, {"status": "running"}, None), strict=False):
        (job.run / "result.json").unlink()
        (job.run / "run.json").unlink()
        if record:
            (job.run / "run.json").write_text(json.dumps(record))
    assert read_results(written).notes == (
        Note("failed", jobs[0].id, "loss nan"),
        Note("missing", jobs[1].id, "begun and not finished (status running)"),
        Note("missing", jobs[2].id, "not run"),
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"format": 2}, "result format 2; this version reads format 1"),
        ({"value": 1.2}, "value is 1.2, expected a fraction in [0, 1]"),
        ({"value": None}, "value is None"),
        ({"density": 0}, "expected a fraction in (0, 1]"),
        ({"flags": "x"}, "expected a list"),
        ({"unit": "percent"}, "expected fraction"),
        ({"control": "random"}, "as the study asks"),
        ({"folder": "Other"}, "as the study asks"),
        ({"seed": {"ticket": 0, "task": 9}}, "task seed 0, as the study asks"),
        ({"seconds": -1}, "a number >= 0"),
        (
            {"source": {"folder": "ToySearch", "recipe": "odd", "seed": 0, "round": 0}},
            "'recipe': 'toy', 'seed': 0, 'round': 0}, as",
        ),
    ],
)
def test_damaged_results_are_named_and_left_out(written, rewrite, changes, said):
    job = written.of("linear")[0]
    assert job.control == "dense"
    rewrite(job, **changes)
    results = read_results(written)
    assert [note.job for note in results.notes] == [job.id]
    assert results.notes[0].kind == "damaged"
    assert said in results.notes[0].text
    assert job.id not in {row.job.id for row in results.rows}


def test_half_a_file_is_damaged(written):
    job = written.of("linear")[0]
    (job.run / "result.json").write_text('{"format": 1, "val')
    assert "not a JSON file" in read_results(written).notes[0].text


@pytest.mark.parametrize(
    "changes",
    [
        {"protocol": "full"},
        {"metric": "top5"},
        {"details": {"labels": 200}},
        {"data": {"name": "digits:6-9", "split_hash": "other"}},
    ],
)
def test_what_was_measured_differently_is_never_averaged(written, rewrite, changes):
    rewrite(written.of("linear")[4], **changes)
    with pytest.raises(InputError, match="such values are never averaged") as caught:
        read_results(written)
    assert "\n" not in str(caught.value)


def test_flags_become_notes(written, rewrite):
    job = written.of("linear")[0]
    rewrite(job, flags=["input_mismatch"])
    said = "input_mismatch: the weights expect another input than they were given, which was accepted"
    assert read_results(written).notes == (Note("flagged", job.id, said),)
    rewrite(job, flags=["of_the_future"])
    assert read_results(written).notes == (Note("flagged", job.id, "of_the_future"),)


def test_flags_of_rounds_become_notes(written):
    file = written.of("find")[1].run / "round_02" / "result.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "flags": ["at_chance"]}))
    (note,) = read_results(written).notes
    assert (note.kind, note.job) == ("flagged", "find/seed1/round_02")
    assert note.text == "at_chance: the features are no better than chance, or have collapsed to a point"
