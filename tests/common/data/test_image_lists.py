"""Lists of one's own: read as a naive loop reads them, and refused in one line where they cannot be used."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from common.data.datasets import listed_fingerprint, load_data
from common.data.file_images import FileImages
from common.errors import InputError
from common.training.transfer import _images_of


def images(root: Path, names: list[str]) -> None:
    for number, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (6 + number % 3, 5), (10 * number % 256, 3, 200)).save(root / name, "PNG")


@pytest.fixture
def lists(tmp_path: Path) -> Path:
    """20 + 4 + 6 images of two classes, names with blanks and folders among them."""
    for part, count in (("train", 20), ("val", 4), ("test", 6)):
        names = [f"{part} of mine/deep/{i}.png" if i % 2 else f"{part}{i} .png" for i in range(count)]
        images(tmp_path, names)
        (tmp_path / f"{part}.txt").write_text("\n".join(f"{name} {(i // 2) % 2}" for i, name in enumerate(names)) + "\n\n")
    return tmp_path


def naive(root: Path, name: str) -> list[tuple[str, int]]:
    rows = [line for line in (root / name).read_text().split("\n") if line]
    return [(row[:-2], int(row[-1])) for row in rows]


def samples(part: object) -> list[tuple[str, int]]:
    assert isinstance(part, FileImages)
    return [(part.name(i), int(label)) for i, label in enumerate(part.labels)]


def test_lists_are_read_as_they_are_written(lists: Path) -> None:
    data = load_data("list", root=str(lists), size=4, storage="files")
    for split, file in (("train", "train.txt"), ("validation", "val.txt"), ("test", "test.txt")):
        assert samples(data.split(split)) == naive(lists, file)
    assert data.classes == ("0", "1")
    assert data.fingerprint == listed_fingerprint("list", root=str(lists))
    kept = load_data("list:1", root=str(lists), size=4)
    at = [i for i, (_, label) in enumerate(naive(lists, "test.txt")) if label == 1]
    whole = load_data("list", root=str(lists), size=4)
    assert torch.equal(kept.test.images, whole.test.images[at])
    assert kept.test.labels.tolist() == [0] * len(at)


def test_without_test_val_tests_and_a_tenth_validates(lists: Path) -> None:
    (lists / "test.txt").unlink()
    data = load_data("list", root=str(lists), size=4, storage="files")
    assert samples(data.test) == naive(lists, "val.txt")
    assert sorted(samples(data.train) + samples(data.validation)) == sorted(naive(lists, "train.txt"))
    assert data.validation.labels.bincount().tolist() == [1, 1]


def test_names_of_classes_and_a_joined_validation(lists: Path) -> None:
    (lists / "classes.txt").write_text("a cat\n dog \n")
    data = load_data("list", root=str(lists), size=4, storage="files", validation="tenth")
    assert data.classes == ("a cat", "dog")
    both = naive(lists, "train.txt") + naive(lists, "val.txt")
    assert sorted(samples(data.train) + samples(data.validation)) == sorted(both)
    assert len(data.validation) == 2


def test_the_images_of_a_list_are_told_by_its_split_hash(lists: Path) -> None:
    data = load_data("list", root=str(lists), size=4)
    assert _images_of(data.name, data.split_hash) == (f"list@{data.split_hash}",)
    (lists / "train.txt").write_text((lists / "train.txt").read_text().replace("train0 .png 0\n", ""))
    assert load_data("list", root=str(lists), size=4).split_hash != data.split_hash


def append(file: str, text: str) -> Callable[[Path], object]:
    return lambda root: (root / file).write_text((root / file).read_text() + text)


BAD = [
    (append("train.txt", "x.png\n"), r"line 21 of train.txt is 'x.png', and a line is PATH LABEL"),
    (append("train.txt", "x.png cat\n"), r"line 21 of train.txt is 'x.png cat', and a line is PATH LABEL"),
    (append("train.txt", "x.png -1\n"), r"line 21 of train.txt is 'x.png -1', and a line is PATH LABEL"),
    (append("train.txt", "/etc/x.png 1\n"), r"line 21 of train.txt leads out of the folder"),
    (append("train.txt", "../x.png 1\n"), r"line 21 of train.txt leads out of the folder"),
    (append("train.txt", "x.png 1\n"), r"1 of 31 images are not there, the first x.png"),
    (append("train.txt", "train0 .png 1\n"), r"train0 .png is listed twice, in train.txt and in train.txt"),
    (append("test.txt", "train0 .png 0\n"), r"train0 .png is listed twice, in train.txt and in test.txt"),
    (
        append("train.txt", f"x.png {2**70}\n"),
        r"line 21 of train.txt has the label 1180591620717411303\d, and labels are below 100,000",
    ),
    (append("val.txt", "x.png 100000\n"), r"line 5 of val.txt has the label 100000, and labels are below 100,000"),
    (append("test.txt", f"x.png {'9' * 5000}\n"), r"line 7 of test.txt has the label 9{20}, and labels are below 100,000"),
    (append("train.txt", f"x.png {'0' * 5000}1\n"), r"1 of 31 images are not there, the first x.png"),
    (append("test.txt", "x.png 99999\n"), r"class 2 \(2\) has no image in train.txt"),
    (append("test.txt", "x.png 3\n"), r"class 2 \(2\) has no image in train.txt"),
    (lambda root: (root / "classes.txt").write_text("a\nb\nc\n"), r"class 2 \(c\) has no image in train.txt"),
    (lambda root: (root / "classes.txt").write_text("a\n"), r"has the label 1, and the 1 classes are 0-0"),
    (lambda root: (root / "classes.txt").write_text("a\na\n"), r"classes.txt names a class twice"),
    (lambda root: (root / "test.txt").write_text("\n"), r"its test.txt list names no image"),
    (lambda root: (root / "train.txt").write_bytes(b"\xff\xfe 1\n"), r"train.txt is no UTF-8 text"),
    (lambda root: (root / "train.txt").unlink(), r"there is no train.txt"),
    (lambda root: [(root / name).unlink() for name in ("test.txt", "val.txt")], r"there is no val.txt"),
]


@pytest.mark.parametrize(("damage", "message"), BAD)
def test_lists_that_cannot_be_used(damage: Callable[[Path], object], message: str, lists: Path) -> None:
    damage(lists)
    with pytest.raises(InputError, match=rf"^data.root .* does not hold list: .*{message}.*; expected train.txt, and") as error:
        load_data("list", root=str(lists), size=4)
    assert "\n" not in str(error.value)


NAMES = st.lists(
    st.text(st.characters(exclude_categories=("C", "Z"), exclude_characters="/\\"), min_size=1, max_size=12).map("i{}".format),
    unique_by=str.casefold, min_size=4, max_size=12,
)  # fmt: skip


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(names=NAMES, inner=st.sampled_from(["", " ", "sub dir/"]))
def test_any_name_is_read_back(names: list[str], inner: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    root = tmp_path_factory.mktemp("names")
    names = [f"{inner}{name}" for name in names]
    try:
        images(root, [name.strip() for name in names])
    except OSError:
        return  # a name that this file system does not take
    for part, chosen in (("train", names[:-1]), ("test", names[-1:])):
        (root / f"{part}.txt").write_text("".join(f"{name} {i % 2}\n" for i, name in enumerate(chosen)), encoding="utf-8")
    (root / "val.txt").write_text(f"{os.path.basename('v.png')} 0\n")
    images(root, ["v.png"])
    data = load_data("list", root=str(root), size=4, storage="files")
    assert samples(data.train) == [(name.strip(), i % 2) for i, name in enumerate(names[:-1])]
