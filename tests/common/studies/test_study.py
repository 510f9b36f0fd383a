"""The study file: what is read, and one-line errors for what cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from common.errors import InputError
from common.studies.study import Expected, load_study
from common.studies.words import CONTROLS

ROOT = Path(__file__).resolve().parents[3]


def _error(tmp_path, tree):
    file = tmp_path / "bad.yaml"
    file.write_text(tree if isinstance(tree, str) else yaml.safe_dump(tree))
    with pytest.raises(InputError) as caught:
        load_study(file)
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_a_study_is_read(tmp_path, study_tree):
    study_tree["searches"]["find"]["set"] = {
        "train.epochs": 4,
        "prune.exclude": ["a", "b"],
        "rewind.step": None,
        "model.name": "x",
    }
    file = tmp_path / "name.yaml"
    file.write_text(yaml.safe_dump(study_tree))
    study = load_study(file)
    assert study.name == "name"
    assert study.seeds == (0, 1, 2)
    assert study.searches[0].rounds == 2
    assert dict(study.searches[0].overrides) == {
        "train.epochs": "4",
        "prune.exclude": '["a", "b"]',
        "rewind.step": "null",
        "model.name": "x",
    }
    assert study.transfers[0].arms == (("dense", (0,)), ("random", (1, 2)), ("reversed", (2,)), ("ticket", (1, 2)))
    assert [entry.name for entry in study.entries] == ["find", "linear", "pixels"]


def test_a_transfer_from_several_searches_is_one_transfer_for_each(tmp_path, study_tree):
    find = study_tree["searches"]["find"]
    study_tree["searches"] = {"find": find, "other": {**find, "rounds": 1}}
    arms = {"ticket": [1], "dense": [0]}
    more = {"find": {"ticket": [2], "random": [2, 1]}}
    study_tree["transfers"]["linear"] |= {"from": ["find", "other"], "arms": arms, "more": more}
    study_tree["expected"] = {"linear": {"seconds": 3, "megabytes": 0.5}}
    file = tmp_path / "name.yaml"
    file.write_text(yaml.safe_dump(study_tree, sort_keys=False))
    study = load_study(file)
    assert [(transfer.name, transfer.written, transfer.source) for transfer in study.transfers] == [
        ("linear.find", "linear", "find"),
        ("linear.other", "linear", "other"),
    ]
    assert [transfer.arms for transfer in study.transfers] == [
        (("ticket", (1, 2)), ("dense", (0,)), ("random", (1, 2))),
        (("ticket", (1,)), ("dense", (0,))),
    ]
    assert {name: [transfer.source for transfer in of] for name, of in study.tasks.items()} == {"linear": ["find", "other"]}
    assert study.expected == dict.fromkeys(("linear", "linear.find", "linear.other"), Expected(seconds=3.0, megabytes=0.5))


def test_the_studies_of_the_repository_are_read():
    files = sorted((ROOT / "studies").glob("*.yaml"))
    assert files
    for file in files:
        assert load_study(file).seeds


def test_the_demo_compares_three_sources_at_the_same_levels():
    study = load_study(ROOT / "studies" / "digits.yaml")
    for task in study.tasks.values():
        assert [transfer.source for transfer in task] == ["simclr", "moco", "supervised"]
    for transfer in study.tasks["linear"]:
        arms = dict(transfer.arms)
        assert {2, 4, 6, 8} <= set(arms["ticket"]) & set(arms["random"])
        assert arms["dense"] == (0,)


def test_the_full_study_has_every_control():
    study = load_study(ROOT / "studies" / "digits_full.yaml")
    demo = load_study(ROOT / "studies" / "digits.yaml")
    assert len(study.seeds) > len(demo.seeds)
    for transfer in study.tasks["linear"]:
        assert set(dict(transfer.arms)) == set(CONTROLS) - {"dense_long"}  # which trains, as `full` does
        assert transfer.weights == "simclr"
        assert len(dict(transfer.arms)["ticket"]) == study.searches[0].rounds > demo.searches[0].rounds


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("sead",), 1, "unknown key 'sead'; known keys are title, question, seeds, margin"),
        (("margin",), 2, "expected a fraction in (0, 1)"),
        (("seeds",), [0, 0], "different integers >= 0"),
        (("seeds",), [], "different integers >= 0"),
        (("seeds",), [True], "different integers >= 0"),
        (("title",), None, "the key 'title' is missing"),
        (("searches", "find", "round"), 2, "unknown key 'round'; known keys are folder, recipe, rounds, set"),
        (("searches", "find", "rounds"), -1, "expected an integer >= 0"),
        (("searches", "find", "folder"), "a/b", "expected a folder such as SimCLR"),
        (("searches", "find", "set"), {"seed.ticket": 1}, "filled in by the study itself"),
        (("searches", "find", "set"), {"train": {"epochs": 1}}, "write dotted keys"),
        (("searches", "bad name"), {}, "must be letters"),
        (("searches", "pixels"), {"folder": "A", "recipe": "b", "rounds": 1}, "pixels is used twice"),
        (("transfers", "linear", "from"), "nothing", "unknown search 'nothing'; known searches are find"),
        (("transfers", "linear", "from"), ["find", "nothing"], "unknown search 'nothing'; known searches are find"),
        (("transfers", "linear", "from"), ["find", "find"], "expected different searches"),
        (("transfers", "linear", "from"), [], "expected different searches"),
        (("transfers", "linear", "from"), {"find": 1}, "unknown search {'find': 1}"),
        (("transfers", "linear", "more"), {"nothing": {"ticket": [1]}}, "'nothing' is not in from; these are find"),
        (("transfers", "linear", "more"), {"find": {"ticket": [0, 2]}}, "more.find.ticket: round 2 is in arms already"),
        (("transfers", "linear", "more"), {"find": {"one_shot": [3]}}, "round 3, but the search find ends with round 2"),
        (("transfers", "linear", "arms", "rnadom"), [1], "unknown control 'rnadom'; known controls are ticket, dense"),
        (("transfers", "linear", "arms", "ticket"), [3], "round 3, but the search find ends with round 2"),
        (("transfers", "linear", "arms"), {}, "no arms"),
        (
            ("transfers", "linear", "arms", "mask_only"),
            [1],
            "the arm mask_only needs weights; name a search with the key weights",
        ),
        (("transfers", "linear", "weights"), "find", "find is not used; only the arm mask_only takes weights of another search"),
        (("transfers", "linear", "weights"), "nobody", "weights: unknown search 'nobody'; known searches are find"),
        (("expected",), {"find": {"megabytes": 0}}, "expected.find.megabytes: got 0, expected a number > 0"),
        (("expected",), {"find": {"megabytes": float("inf")}}, "expected.find.megabytes: got inf, expected a number > 0"),
        (("expected",), {"find": {"gigabytes": 1}}, "unknown key 'gigabytes'; known keys are seconds, megabytes"),
        (("expected",), {"find": {}}, "expected.find: nothing is declared; give seconds or megabytes"),
        (("expected",), {"nobody": {"seconds": 1}}, "unknown name 'nobody'; known names are find, linear, pixels"),
        (("expected",), {"find": {"seconds": 0}}, "expected a number > 0"),
    ],
)
def test_errors_name_the_place_and_what_is_known(tmp_path, study_tree, path, value, said):
    place = study_tree
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    assert said in _error(tmp_path, study_tree)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [", "is not YAML"),
        ("a: 1\na: 2\n", "the key 'a' is written twice"),
        ("- 1\n", "expected names and values"),
        ("", "missing"),
    ],
)
def test_files_that_are_no_study(tmp_path, text, said):
    assert said in _error(tmp_path, text)


def test_an_absent_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"cannot read the study .*none.yaml"):
        load_study(tmp_path / "none.yaml")


def test_every_control_that_tickets_know_has_words():
    from common.tickets.controls import CONTROLS as KNOWN

    assert set(CONTROLS) == set(KNOWN)
