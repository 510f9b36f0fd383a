"""Pairs of domains: what trains, chooses and tests, and that no target image does more than test."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from PIL import Image
from torchvision.datasets import ImageFolder

from common.data.datasets import Dataset, listed_fingerprint, load_data
from common.data.file_images import FileImages
from common.errors import InputError
from common.training.transfer import source_flags

REAL = os.environ.get("LTP_DATA")


def write(root: Path, counts: dict[str, int]) -> Path:
    """Write FOLDER -> number of images in each of the classes cat and dog."""
    for folder, count in counts.items():
        for name in ("cat", "dog"):
            (root / folder / name).mkdir(parents=True)
            for i in range(count):
                Image.new("RGB", (6, 6), (7 * i, len(folder), 0)).save(root / folder / name / f"{i:02d}.png")
    return root


def load(root: Path, source: str, target: str, name: str = "domains", **words: object) -> Dataset:
    return load_data(name, root=str(root), size=4, storage="files", domains=(source, target), **words)  # type: ignore[arg-type]


def names(data: Dataset, split: str) -> set[str]:
    part = data.split(split)
    assert isinstance(part, FileImages)
    return {part.name(i) for i in range(len(part))}


def below(root: Path, folder: str) -> set[str]:
    return {str(path.relative_to(root)) for path in (root / folder).rglob("*.png")}


def test_domains_that_are_divided(tmp_path: Path) -> None:
    counts = {"photo/train": 20, "photo/val": 3, "sketch/train": 10, "sketch/validation": 4, "sketch/test": 5}
    root = write(tmp_path, counts)
    data = load(root, "photo", "sketch")
    assert data.name == "domains(photo>sketch)"
    assert names(data, "train") | names(data, "validation") == below(root, "photo/train")
    assert data.validation.labels.bincount().tolist() == [2, 2]
    assert names(data, "test") == below(root, "sketch/test")
    other = load(root, "sketch", "photo")
    assert names(other, "validation") == below(root, "sketch/validation")
    assert names(other, "test") == below(root, "photo/val")
    joined = load(root, "sketch", "photo", validation="tenth")
    assert names(joined, "train") | names(joined, "validation") == below(root, "sketch/train") | below(root, "sketch/validation")
    within = load(root, "photo", "photo")
    assert names(within, "train") == names(data, "train"), "a source trains on the same images whatever the target"
    assert names(within, "test") == below(root, "photo/val")
    assert listed_fingerprint("domains", root=str(root), domains=("photo", "sketch")) == data.fingerprint
    assert len({one.split_hash for one in (data, other, joined, within)}) == 4


def test_domains_of_classes_alone(tmp_path: Path) -> None:
    root = write(tmp_path, {"art": 10, "photo": 20})
    data = load(root, "art", "photo", "domains:1")
    assert data.name == "domains(art>photo):1"
    assert data.classes == ("dog",)
    assert names(data, "train") | names(data, "validation") == below(root, "art/dog")
    assert names(data, "test") == below(root, "photo/dog")
    with pytest.raises(InputError, match=r"data.target: art has no test images of its own beside those that train"):
        load(root, "art", "art")


def test_pairs_that_cannot_be_used(tmp_path: Path) -> None:
    root = write(tmp_path, {"art": 10, "photo/train": 20, ".hidden": 1})
    with pytest.raises(InputError, match=r"data.target: .* has no domain 'sketch', expected one of its folders: art, photo$"):
        load(root, "art", "sketch")
    for outside in ("..", "art/cat", ""):
        with pytest.raises(InputError, match=r"data.source: .* has no domain"):
            load(root, outside, "art")
    with pytest.raises(InputError, match=r"expected the folders photo/train, and photo/test or photo/val"):
        load(root, "photo", "art")
    with pytest.raises(InputError, match=r"name them with --data.source and --data.target"):
        load_data("domains", root=str(root), size=4)
    with pytest.raises(InputError, match=r"data.source and data.target: digits has no domains"):
        load_data("digits", domains=("a", "b"))
    (root / "art/owl").mkdir()
    Image.new("RGB", (6, 6)).save(root / "art/owl/0.png")
    write(root, {"sketch/train": 3, "sketch/test": 3})
    with pytest.raises(InputError, match=r"art has the class 'owl', which .*sketch/train does not have"):
        load(root, "sketch", "art")


@pytest.mark.parametrize(
    ("source", "target", "saw"),
    [
        (("art", "photo"), ("art", "photo"), True),
        (("photo", "art"), ("art", "photo"), True),  # it trained on the labels of every test image
        (("art", "clip"), ("art", "photo"), True),
        (("photo", "clip"), ("art", "photo"), True),
        (("clip", "photo"), ("art", "photo"), False),  # it only tested on the target's images
        (("clip", "art"), ("art", "photo"), False),
        (("photo", "photo"), ("art", "photo"), True),
    ],
)
def test_a_source_that_trained_on_a_domain_of_the_target_saw_it(
    source: tuple[str, str], target: tuple[str, str], saw: bool, tmp_path: Path
) -> None:
    root = write(tmp_path, {"art": 10, "clip": 10, "photo/train": 10, "photo/test": 4})
    of, onto = load(root, *source), load(root, *target)
    for objective, flag in (("supervised", "source_saw_target"), ("simclr", "source_saw_images")):
        origin = {"data": of.name, "split": of.split_hash, "objective": objective}
        assert source_flags(origin, onto) == ((flag,) if saw else ())
        assert source_flags({**origin, "data": "domains"}, onto) == ()
        assert source_flags({**origin, "data": f"{of.name}:1"}, load(root, *target, "domains:0")) == ()


def test_a_domain_whose_name_would_divide_that_of_the_pair(tmp_path: Path) -> None:
    root = write(tmp_path, {"art": 10, "a>b": 10, "c:1": 10})
    for pair, option in ((("a>b", "art"), "source"), (("art", "c:1"), "target")):
        with pytest.raises(InputError, match=rf"data.{option}: got the folder '.*', expected a name without > :; rename it"):
            load(root, *pair)


@pytest.mark.data
def test_real_photos_and_sketches() -> None:
    root = Path(REAL or "", "pacs-photo-sketch-mini")
    if REAL is None or not root.is_dir():
        pytest.skip("needs real data: set LTP_DATA to the folder that holds pacs-photo-sketch-mini")
    data = load_data("domains", root=str(root), size=32, domains=("photo", "sketch"))
    assert [len(data.split(split)) for split in ("train", "validation", "test")] == [140, 14, 56]
    assert data.classes == ("dog", "elephant", "giraffe", "guitar", "horse", "house", "person")
    assert data.test.labels.tolist() == ImageFolder(str(root / "sketch/val")).targets
    gray = data.test.images.float().std(dim=1).mean()
    assert gray < 1 < data.train.images.float().std(dim=1).mean(), "sketches have no colour, photographs have"
