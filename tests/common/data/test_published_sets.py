"""The published targets, read from tiny copies of their real layouts: as torchvision reads them, split as the catalogue says."""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
import torch
from torchvision import datasets

from common.data.catalogue import CATALOGUE
from common.data.datasets import Dataset, listed_fingerprint, load_data
from common.data.file_images import FileImages
from common.data.reading import Reading
from common.errors import InputError
from tests.common.data.published_layouts import LAYOUTS, Parts

Served = Callable[[Path], AbstractContextManager[str]]
KINDS: dict[str, tuple[str, dict[str, dict[str, Any]]]] = {
    "aircraft": ("FGVCAircraft", {"train": {"split": "train"}, "val": {"split": "val"}, "test": {"split": "test"}}),
    "cars": ("StanfordCars", {"train": {"split": "train"}, "test": {"split": "test"}}),
    "dtd": ("DTD", {"train": {"split": "train"}, "val": {"split": "val"}, "test": {"split": "test"}}),
    "flowers": ("Flowers102", {"train": {"split": "train"}, "val": {"split": "val"}, "test": {"split": "test"}}),
    "food101": ("Food101", {"train": {"split": "train"}, "test": {"split": "test"}}),
}
LARGE = ("birdsnap", "caltech256")
EVERY = [pytest.param(name, marks=pytest.mark.slow) if name in LARGE else name for name in LAYOUTS]
MEAN_PER_CLASS = {"aircraft", "caltech101", "caltech256", "flowers", "pets"}


@pytest.fixture(autouse=True)
def _sums_of_the_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    """torchvision checks Flowers' lists against their published sums."""
    files = {key: (name, None) for key, (name, _) in datasets.Flowers102._file_dict.items()}
    monkeypatch.setattr(datasets.Flowers102, "_file_dict", files)


@pytest.fixture(scope="module")
def copies(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Path, Parts]]:
    """Return a function that gives a copy of a set, written once, which no test writes in, and what is in it."""
    made: dict[str, tuple[Path, Parts]] = {}

    def copy(name: str) -> tuple[Path, Parts]:
        if name not in made:
            root = tmp_path_factory.mktemp(name)
            made[name] = (root, LAYOUTS[name](root))
        return made[name]

    return copy


def samples(dataset: Dataset, split: str) -> list[tuple[str, int]]:
    part = dataset.split(split)
    assert isinstance(part, FileImages)
    return [(part.name(i), int(label)) for i, label in enumerate(part.labels)]


def load(name: str, root: Path, **words: Any) -> Dataset:
    return load_data(name, root=str(root), reading=Reading(0), **words)


@pytest.mark.parametrize("name", EVERY)
def test_a_set_is_split_as_published_and_no_test_image_trains_or_chooses(
    name: str, copies: Callable[[str], tuple[Path, Parts]]
) -> None:
    (root, parts), entry = copies(name), CATALOGUE[name]
    data = load(name, root)
    train, validation, test = (samples(data, split) for split in ("train", "validation", "test"))
    assert sorted(test) == sorted(parts["test"])
    assert sorted(train + validation) == sorted(parts["train"] + parts.get("val", []))
    assert not {path for path, _ in test} & {path for path, _ in train + validation}
    assert not {path for path, _ in train} & {path for path, _ in validation}
    if "val" in parts:
        assert sorted(validation) == sorted(parts["val"])
    else:
        per_class = torch.tensor([label for _, label in parts["train"]]).bincount()
        held = torch.tensor([label for _, label in validation]).bincount()
        assert held.tolist() == (per_class - (0.9 * per_class).round()).tolist(), "a tenth of every class"
    assert len(data.classes) == entry.num_classes
    assert data.metric == ("mean_per_class" if name in MEAN_PER_CLASS else "top1")
    assert data.input.size == 224
    assert listed_fingerprint(name, root=str(root)) == data.fingerprint


@pytest.mark.parametrize("name", ["aircraft", "dtd", "flowers"])
def test_a_tenth_of_train_and_validation_may_validate(name: str, copies: Callable[[str], tuple[Path, Parts]]) -> None:
    root, parts = copies(name)
    own, joined = load(name, root), load(name, root, validation="tenth")
    assert samples(joined, "test") == samples(own, "test")
    both = samples(joined, "train") + samples(joined, "validation")
    assert sorted(both) == sorted(parts["train"] + parts["val"])
    per_class = torch.tensor([label for _, label in both]).bincount()
    assert joined.train.labels.bincount().tolist() == (0.9 * per_class).round().tolist()
    assert own.split_hash != joined.split_hash == load(name, root, validation="tenth").split_hash
    assert own.fingerprint == joined.fingerprint


def torchvisions(name: str, root: Path) -> tuple[dict[str, list[tuple[str, int]]], list[str]]:
    """Return what torchvision finds in a copy, by part, and its classes."""
    if name in KINDS:
        kind, parts = KINDS[name]
        made = {part: getattr(datasets, kind)(root, loader=str, **words) for part, words in parts.items()}
        found = {part: [(data[i][0], data[i][1]) for i in range(len(data))] for part, data in made.items()}
        classes = made["train"].classes
    elif name == "pets":
        made = {part: datasets.OxfordIIITPet(root, split) for part, split in (("train", "trainval"), ("test", "test"))}
        found = {part: list(zip(map(str, data._images), data._labels)) for part, data in made.items()}
        classes = made["train"].classes
    elif name == "sun397":
        data = datasets.SUN397(root, loader=str)
        found, classes = {"all": [data[i] for i in range(len(data))]}, data.classes
    else:
        kind, form = {
            "caltech101": ("Caltech101", "caltech101/101_ObjectCategories/{}/image_{:04d}.jpg"),
            "caltech256": ("Caltech256", "caltech256/256_ObjectCategories/{}/{:03d}_{:04d}.jpg"),
        }[name]
        data = getattr(datasets, kind)(root)
        paths = (
            form.format(data.categories[label], *([label + 1] if name == "caltech256" else []), number)
            for label, number in zip(data.y, data.index)
        )
        found, classes = {"all": list(zip((f"{root}/{path}" for path in paths), data.y))}, data.categories
    return {part: [(str(Path(path).relative_to(root)), label) for path, label in every] for part, every in found.items()}, classes


@pytest.mark.parametrize("name", [one for one in EVERY if one not in ("visda", EVERY[list(LAYOUTS).index("birdsnap")])])
def test_torchvision_finds_the_same_images_labels_and_classes(name: str, copies: Callable[[str], tuple[Path, Parts]]) -> None:
    root, _ = copies(name)
    data, (found, classes) = load(name, root), torchvisions(name, root)
    assert list(data.classes) == list(classes)
    ours = {split: samples(data, split) for split in ("train", "validation", "test")}
    if "all" in found:
        known = dict(found["all"])
        assert all(known[path] == label for part in ours.values() for path, label in part)
        expected = len(found["all"]) - (9 if name == "sun397" else 0)
        assert sum(map(len, ours.values())) == expected
    else:
        assert ours["test"] == found["test"]
        assert sorted(ours["train"] + ours["validation"]) == sorted(found["train"] + found.get("val", []))


def test_pixels_are_those_of_the_file_that_the_label_names(copies: Callable[[str], tuple[Path, Parts]]) -> None:
    from torchvision.transforms import v2

    root, _ = copies("dtd")
    data = load("dtd:3-4", root, size=14, storage="memory")
    chain = v2.Compose([v2.PILToTensor(), v2.Resize(16, antialias=True), v2.CenterCrop(14)])
    expected = [(image, label - 3) for image, label in datasets.DTD(root, "test", transform=chain) if label in (3, 4)]
    assert torch.equal(data.test.images, torch.stack([image for image, _ in expected]))
    assert data.test.labels.tolist() == [label for _, label in expected]
    assert data.classes == ("texture03", "texture04")


@pytest.mark.parametrize("name", LAYOUTS)
def test_an_empty_root_is_refused_with_the_layout_and_left_as_it_is(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        load(name, tmp_path)
    assert str(error.value).startswith(f"data.root {tmp_path} does not hold {name}: ")
    assert str(error.value).endswith(f"; expected {CATALOGUE[name].layout}")
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


def remove(path: str) -> Callable[[Path], None]:
    return lambda root: (root / path).unlink()


def rewrite(path: str, change: Callable[[str], str]) -> Callable[[Path], None]:
    return lambda root: (root / path).write_text(change((root / path).read_text())) and None


DAMAGE = [
    ("pets", remove("oxford-iiit-pet/images/Breed_01_3.jpg"), r"1 of 259 images are not there, the first .*/Breed_01_3.jpg"),
    ("pets", remove("oxford-iiit-pet/annotations/test.txt"), r"there is no test.txt"),
    ("pets", rewrite("oxford-iiit-pet/annotations/test.txt", lambda t: t.replace("Breed_01_6 2", "Breed_01_6 3")), "class 3"),
    ("pets", rewrite("oxford-iiit-pet/annotations/test.txt", lambda t: t[:-9]), "not enough values"),
    ("dtd", remove("dtd/dtd/labels/val1.txt"), "there is no val1.txt"),
    ("dtd", rewrite("dtd/dtd/labels/test1.txt", lambda t: t.replace("texture00/texture00_2000.jpg\n", "")
     .replace("texture00/texture00_2001.jpg\n", "")), "its test list names other classes than its train list"),
    ("dtd", rewrite("dtd/dtd/labels/test1.txt", lambda t: t + "texture01/texture01_0000.jpg\n"), "listed twice, in train and in"),
    ("aircraft", rewrite("fgvc-aircraft-2013b/data/images_variant_val.txt", lambda t: t.replace(" Maker 0 ", " Baker 0 ")),
     r"label lists and its list of classes disagree about 'Baker 0 "),
    ("aircraft", rewrite("fgvc-aircraft-2013b/data/variants.txt", lambda t: t + "Maker 15 101-100\n"), "101 of its 100 classes"),
    ("flowers", remove("flowers-102/setid.mat"), "it is not there or not whole"),
    ("visda", rewrite("train/image_list.txt", lambda t: t.replace("train_0.png 11", "train_0.png 12")),
     r"train/truck/train_0.png has the label 12, and the 12 classes are 0-11"),
    ("visda", rewrite("train/image_list.txt", lambda t: t + "car/x.png\n"), r"line 61 of train/image_list.txt is 'car/x.png'"),
    ("visda", remove("validation/image_list.txt"), r"there is no validation/image_list.txt"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "damage", "message"), DAMAGE)
def test_a_copy_that_is_not_whole_is_refused_in_one_line(
    name: str, damage: Callable[[Path], None], message: str, tmp_path: Path
) -> None:
    LAYOUTS[name](tmp_path)
    damage(tmp_path)
    for read in (lambda: load(name, tmp_path), lambda: listed_fingerprint(name, root=str(tmp_path))):
        with pytest.raises(InputError, match=message) as error:
            read()
        assert str(error.value).endswith(f"; expected {CATALOGUE[name].layout}")
        assert "\n" not in str(error.value)


def test_a_class_with_too_few_images_or_a_missing_class(copies: Callable[[str], tuple[Path, Parts]], tmp_path: Path) -> None:
    LAYOUTS["caltech101"](tmp_path)
    for number in (31, 32):
        (tmp_path / f"caltech101/101_ObjectCategories/Leopards/image_{number:04d}.jpg").unlink(missing_ok=True)
    with pytest.raises(InputError, match="class Leopards has 30 images, and more than the 30 that train are needed"):
        load("caltech101", tmp_path)
    for file in (tmp_path / "caltech101/101_ObjectCategories/Leopards").iterdir():
        file.unlink()
    (tmp_path / "caltech101/101_ObjectCategories/Leopards").rmdir()
    with pytest.raises(InputError, match="100 of its 101 classes are there; expected caltech101/101_ObjectCategories/CLASS"):
        load("caltech101", tmp_path)


def test_what_cannot_be_fetched_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("birdsnap", "cars", "visda"):
        with pytest.raises(InputError, match=rf"data.download: {name} cannot be fetched; it is .*--data.root DIR"):
            load(name, tmp_path, download=True)
    monkeypatch.setattr(datasets.DTD, "_URL", f"file://{tmp_path}/absent.tar.gz")
    with pytest.raises(InputError, match=rf"dtd cannot be fetched into data.root {tmp_path}: ") as error:
        load("dtd", tmp_path, download=True)
    assert "\n" not in str(error.value)


def test_a_download_is_read(
    copies: Callable[[str], tuple[Path, Parts]], served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, _ = copies("dtd")
    archive = tmp_path / "mirror/dtd-r1.0.1.tar.gz"
    archive.parent.mkdir()
    with tarfile.open(archive, "w:gz") as file:
        file.add(root / "dtd/dtd", "dtd")
    monkeypatch.setattr(datasets.DTD, "_MD5", hashlib.md5(archive.read_bytes()).hexdigest())
    with served(archive.parent) as address:
        monkeypatch.setattr(datasets.DTD, "_URL", f"{address}{archive.name}")
        fetched = load("dtd", tmp_path / "new", download=True)
    assert fetched.fingerprint == load("dtd", root).fingerprint
