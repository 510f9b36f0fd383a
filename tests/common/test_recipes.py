"""Recipes: composition, environment, and every way in which a file can be wrong."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from common.config import DataConfig, OptimConfig, PruneConfig, TrainConfig, option
from common.errors import InputError
from common.recipes import find_recipe, load_recipe, read_yaml, recipe_about, recipe_names


@dataclass(frozen=True)
class Schema:
    data: DataConfig = option(DataConfig, "which images")
    optim: OptimConfig = option(OptimConfig, "how weights move")
    train: TrainConfig = option(TrainConfig, "how long")
    prune: PruneConfig = option(PruneConfig, "how masks are found")
    out: str = option("runs", "folder of runs")


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def load(folder: Path, text: str) -> dict[str, Any]:
    return load_recipe(write(folder, "r.yaml", text), Schema)


def complaint(folder: Path, text: str) -> str:
    """Return the error of a bad recipe, which is one line and names the file."""
    with pytest.raises(InputError) as caught:
        load(folder, text)
    message = str(caught.value)
    assert "\n" not in message
    assert str(folder / "r.yaml") in message
    return message


def test_nested_and_dotted_keys_mean_the_same(tmp_path: Path) -> None:
    nested = load(tmp_path, "prune: {rate: 0.3, rounds: 2}\nout: here\n")
    dotted = load(tmp_path, "prune.rate: 0.3\nprune.rounds: 2\nout: here\n")
    assert nested == dotted == {"prune.rate": 0.3, "prune.rounds": 2, "out": "here"}


def test_values_are_read_as_their_types(tmp_path: Path) -> None:
    text = """
optim: {lr: 1, weight_decay: 1e-4, milestones: [91ep, 136ep], nesterov: true}
prune: {epochs: null, include: ["Linear:*"], exclude: []}
train: {threads: "4"}
"""
    assert load(tmp_path, text) == {
        "optim.lr": 1.0,
        "optim.weight_decay": 1e-4,
        "optim.milestones": ("91ep", "136ep"),
        "optim.nesterov": True,
        "prune.epochs": None,
        "prune.include": ("Linear:*",),
        "prune.exclude": (),
        "train.threads": 4,
    }


def test_an_empty_file_and_an_empty_group_set_nothing(tmp_path: Path) -> None:
    assert load(tmp_path, "") == {}
    assert load(tmp_path, "prune:\nout: x\n") == {"out": "x"}


@pytest.mark.parametrize(
    ("text", "key", "expected"),
    [
        ("train.epochs: true", "train.epochs: got True", "an integer"),
        ("train.epochs: 1.0", "train.epochs: got 1.0", "an integer"),
        ("train.epochs: 010", "train.epochs: got '010'", "an integer"),
        ("train.epochs: 1:30", "train.epochs: got '1:30'", "an integer"),
        ("train.epochs: 0x10", "train.epochs: got '0x10'", "an integer"),
        ("train: {epochs: null}", "train.epochs: got None", "an integer"),
        (f"train.epochs: {10**30}", "train.epochs: got 1000", "an integer"),
        (f"train.epochs: {'9' * 5000}", "valid YAML", "limit"),
        ("optim.lr: .nan", "optim.lr: got nan", "a number"),
        ("optim.lr: -.inf", "optim.lr: got -inf", "a number"),
        ("optim.lr: '1e999'", "optim.lr: got '1e999'", "a number"),
        ("optim.lr: false", "optim.lr: got False", "a number"),
        ("optim.lr: fast", "optim.lr: got 'fast'", "a number"),
        ("data.name: 10", "data.name: got 10", "text (in quotes)"),
        ("data.name: [a]", "data.name: got ['a']", "text"),
        ("data.download: 1", "data.download: got 1", "true or false"),
        ("optim.schedule: step", "optim.schedule: got 'step'", "one of constant, cosine, multistep"),
        ("optim.milestones: 91ep", "optim.milestones: got '91ep'", 'a list of texts such as ["a", "b"]'),
        ("optim.milestones: [91]", "optim.milestones: got [91]", "a list of texts"),
        ("optim.milestones: null", "optim.milestones: got None", "a list of texts"),
        ("prune.epochs: [1]", "prune.epochs: got [1]", "an integer, or null"),
        ('out: "a\\0b"', "out: got 'a\\x00b'", "text"),
        ("prune: 0.3", "prune: got 0.3", "rounds, rate"),
        ("prune.rat: 0.3", "unknown key 'prune.rat' (did you mean prune.rate?)", "known keys of prune: rounds, rate"),
        ("prune: {rat: 0.3}", "unknown key 'prune.rat' (did you mean prune.rate?)", "known keys of prune"),
        ("prun: {rate: 0.3}", "unknown key 'prun' (did you mean", "prune"),
        ("prune.rate.x: 3", "unknown key 'prune.rate.x'", "known keys of prune"),
        ("on: 3", "unknown key 'True'", "known keys: about, extends, data"),
        ("prune: {rate: 0.3, rate: 0.4}", "line 1", "'rate' is written twice"),
        ("out: a\nout: b", "line 2", "'out' is written twice"),
        ("prune: {rate: 0.3}\nprune.rate: 0.4", "prune.rate is written twice", "keep one"),
        ("- a\n- b", "got ['a', 'b']", "a mapping"),
        ("out: [", "not a valid YAML file", "line"),
        ("out: &a [*a]", "out: got [[", "text"),
        ("out: !!python/object/apply:os.system [ls]", "not a valid YAML file", "constructor"),
        ("[" * 3000, "not a valid YAML file", "recursion"),
        ("? [a]\n: 3", "not a valid YAML file", "unhashable"),
        ("extends: 3", "extends: got 3", "the name or the path"),
        ("extends: nothing", "extends: unknown recipe 'nothing'", "known recipes: r"),
        ('extends: "a\\0.yaml"', "extends: got 'a\\x00.yaml'", "without NUL"),
    ],
)
def test_a_bad_file_is_named_with_its_key_and_what_was_expected(tmp_path: Path, text: str, key: str, expected: str) -> None:
    message = complaint(tmp_path, text)
    assert key in message
    assert expected in message


def test_absent_unreadable_and_binary_files(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_bytes(b"out: \xff\xfe")
    for name, expected in {"absent.yaml": "cannot read", "bad.yaml": "not a valid YAML", "": "Is a directory"}.items():
        with pytest.raises(InputError, match=expected):
            load_recipe(tmp_path / name, Schema)


def test_extends_merges_mappings_and_replaces_lists_and_the_later_wins(tmp_path: Path) -> None:
    write(tmp_path, "base.yaml", "prune: {rate: 0.1, rounds: 9, include: [a, b]}\nout: base\n")
    write(tmp_path, "other/side.yaml", "extends: ../base.yaml\nprune.rounds: 5\n")
    assert load(tmp_path, "extends: base\nprune: {rate: 0.5, include: [c]}\n") == {
        "prune.rate": 0.5,
        "prune.rounds": 9,
        "prune.include": ("c",),
        "out": "base",
    }
    assert load(tmp_path, "extends: [base, other/side.yaml]\n")["prune.rounds"] == 5
    assert load(tmp_path, "extends: [other/side.yaml, base]\n")["prune.rounds"] == 9


def test_an_error_in_what_is_extended_names_that_file(tmp_path: Path) -> None:
    base = write(tmp_path, "base.yaml", "train.epochs: many\n")
    with pytest.raises(InputError) as caught:
        load(tmp_path, "extends: base\ntrain.epochs: 3\n")
    assert str(base) in str(caught.value)


def test_a_circle_is_an_error(tmp_path: Path) -> None:
    write(tmp_path, "a.yaml", "extends: r\n")
    with pytest.raises(InputError, match=r"circle: r.yaml -> a.yaml -> r.yaml"):
        load(tmp_path, "extends: a\n")
    with pytest.raises(InputError, match="circle"):
        load(tmp_path, "extends: r\n")


def test_environment_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLACE", "/data/a b")
    monkeypatch.setenv("EMPTY", "")
    monkeypatch.delenv("UNSET", raising=False)
    text = "data.root: ${PLACE}/x\nout: $${PLACE}\ntrain.threads: ${UNSET:-3}\nprune.include: ['${EMPTY:-e}', '${EMPTY}']\n"
    assert load(tmp_path, text) == {
        "data.root": "/data/a b/x",
        "out": "${PLACE}",
        "train.threads": 3,
        "prune.include": ("e", ""),
    }
    monkeypatch.setenv("PLACE", "changed")
    assert load(tmp_path, text)["data.root"] == "changed/x"
    assert "out: the environment variable UNSET is not set" in complaint(tmp_path, "out: ${UNSET}")
    for broken in ("${", "${}", "${1A}", "${A"):
        assert "expected ${NAME}" in complaint(tmp_path, f"out: '{broken}'")


def test_names_lookup_and_about(tmp_path: Path) -> None:
    write(tmp_path, "digits.yaml", "about: |\n  First line.\n  Second.\nout: x\n")
    write(tmp_path, "cifar.yaml", "out: y\n")
    write(tmp_path, "notes.txt", "")
    assert recipe_names(tmp_path) == ["cifar", "digits"]
    assert recipe_names(tmp_path / "absent") == []
    assert find_recipe(tmp_path, "digits") == tmp_path / "digits.yaml"
    assert recipe_about(tmp_path / "digits.yaml") == "First line.\nSecond."
    assert recipe_about(tmp_path / "cifar.yaml") == ""
    assert load_recipe(tmp_path / "digits.yaml", Schema) == {"out": "x"}
    with pytest.raises(InputError, match=r"unknown recipe 'digit' \(did you mean digits\?\); known recipes: cifar, digits"):
        find_recipe(tmp_path, "digit")
    with pytest.raises(InputError, match="--config"):
        find_recipe(tmp_path, "./digits.yaml")
    with pytest.raises(InputError, match="about: got 3"):
        recipe_about(write(tmp_path, "odd.yaml", "about: 3"))


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    path = write(tmp_path, "r.yaml", "out: a\n")
    assert read_yaml(path) is read_yaml(path)
    path.write_text("out: b\n")
    os.utime(path, ns=(1, 1))
    assert read_yaml(path) == {"out": "b"}
