"""Splits, class subsets, labelled subsets."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from common.data.splits import base_name, canonical_name, labelled_subset, parse_classes, parse_name, split_hash, stratified_split
from common.errors import InputError

_SHARES = {"train": 0.6, "validation": 0.16, "test": 0.24}


@given(labels=st.lists(st.integers(0, 4), min_size=1, max_size=200), seed=st.integers(0, 5))
@settings(max_examples=40, deadline=None)
def test_a_split_is_disjoint_whole_and_stratified(labels: list[int], seed: int) -> None:
    parts = stratified_split(labels, _SHARES, seed)
    assert torch.cat(list(parts.values())).sort().values.tolist() == list(range(len(labels)))
    for name, indices in parts.items():
        assert indices.tolist() == sorted(indices.tolist())
        for label in set(labels):
            there = sum(labels[i] == label for i in indices.tolist())
            assert abs(there - _SHARES[name] * labels.count(label)) <= 1


def test_a_split_is_frozen() -> None:
    """A change of these literals would move images between splits of published results."""
    parts = stratified_split([0, 1] * 10, _SHARES, 7)
    assert {name: indices.tolist() for name, indices in parts.items()} == {
        "train": [2, 3, 4, 9, 10, 11, 13, 14, 15, 16, 18, 19],
        "validation": [0, 1, 5, 12],
        "test": [6, 7, 8, 17],
    }
    assert split_hash(parts) == "1760fa6643333217"
    assert split_hash(dict(reversed(parts.items()))) == "1760fa6643333217"
    assert split_hash({**parts, "test": parts["test"][1:]}) != "1760fa6643333217"
    assert split_hash(stratified_split([0, 1] * 10, _SHARES, 8)) != "1760fa6643333217"


@pytest.mark.parametrize("shares", [{}, {"train": 0.5}, {"train": 1.2, "test": -0.2}])
def test_shares_that_do_not_sum_to_one_are_refused(shares: dict[str, float]) -> None:
    with pytest.raises(InputError, match=r"sum to 1"):
        stratified_split([0, 1], shares, 0)


@pytest.mark.parametrize(
    ("text", "name", "classes", "canonical"),
    [
        ("digits", "digits", tuple(range(10)), "digits"),
        ("digits:0-9", "digits", tuple(range(10)), "digits"),
        ("digits:5,0-2", "digits", (0, 1, 2, 5), "digits:0-2,5"),
        ("digits:3,4", "digits", (3, 4), "digits:3-4"),
        ("digits:7, 7", "digits", (7,), "digits:7"),
    ],
)
def test_names(text: str, name: str, classes: tuple[int, ...], canonical: str) -> None:
    assert parse_name(text, 10) == (name, classes)
    assert canonical_name(name, classes, 10) == canonical
    assert base_name(text) == "digits"


@given(classes=st.sets(st.integers(0, 11), min_size=1))
def test_a_canonical_name_reads_back(classes: set[int]) -> None:
    assert parse_name(canonical_name("x", sorted(classes), 12), 12) == ("x", tuple(sorted(classes)))


@pytest.mark.parametrize("text", ["", "a", "1-", "-1", "3-1", "10", "0-10", "1;2", "1,,2"])
def test_bad_class_subsets_are_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"class subset"):
        parse_classes(text, 10)


@given(labels=st.lists(st.integers(0, 4), min_size=1, max_size=80), data=st.data())
@settings(max_examples=40, deadline=None)
def test_a_labelled_subset_is_as_even_as_the_classes_allow(labels: list[int], data: st.DataObject) -> None:
    count = data.draw(st.integers(1, len(labels)))
    all_labels = torch.tensor(labels)
    chosen = labelled_subset(all_labels, count, seed=3)
    assert len(chosen) == count
    assert chosen.tolist() == sorted(set(chosen.tolist()))
    taken = all_labels[chosen].bincount(minlength=5).tolist()
    for label in set(labels):
        for other in set(labels):
            assert taken[label] >= taken[other] - 1 or taken[label] == labels.count(label)


def test_a_labelled_subset_depends_on_the_seed_and_grows() -> None:
    labels = torch.arange(100) % 4
    assert torch.equal(labelled_subset(labels, 40, 0), labelled_subset(labels, 40, 0))
    assert not torch.equal(labelled_subset(labels, 40, 0), labelled_subset(labels, 40, 1))
    assert set(labelled_subset(labels, 10, 0).tolist()) < set(labelled_subset(labels, 40, 0).tolist())


@pytest.mark.parametrize("count", [0, 101])
def test_more_labels_than_there_are_is_refused(count: int) -> None:
    with pytest.raises(InputError, match=r"data.labels: .* 1 to 100"):
        labelled_subset(torch.arange(100) % 4, count, 0)
