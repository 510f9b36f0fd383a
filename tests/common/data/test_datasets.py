"""The catalogue, folders of images, CIFAR, and the one-line errors of data that is not there."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import CIFAR10, ImageFolder
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from common.data.augment_config import AugmentConfig
from common.data.augment_draw import draw
from common.data.catalogue import CATALOGUE, describe_catalogue
from common.data.datasets import Images, listed_fingerprint, load_data
from common.data.inputs import InputSpec
from common.data.loaders import ViewDraws, loader_of
from common.data.reading import Reading
from common.errors import InputError
from common.randomness import generator

_REAL = os.environ.get("LTP_DATA")


def _real(name: str) -> Path:
    path = Path(_REAL or "", name)
    if _REAL is None or not path.is_dir():
        pytest.skip(f"needs real data: set LTP_DATA to the folder that holds {name}")
    return path


def _write(root: Path, counts: dict[str, dict[str, int]]) -> Path:
    rng = np.random.default_rng(0)
    for split, classes in counts.items():
        for name, count in classes.items():
            folder = root / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                shape = (20 + 7 * (i % 3), 31, 3) if i % 4 else (25, 18)
                Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).save(folder / f"{i:03d}.png")
            (folder / ".hidden.png").write_bytes(b"")
            (folder / "notes.txt").write_text("not an image")
    return root


def test_the_catalogue_describes_itself() -> None:
    told = dict(describe_catalogue())
    assert list(told) == list(CATALOGUE)
    assert [name for name, entry in CATALOGUE.items() if not entry.needs_root] == ["digits", "digits_clean"]
    for name, entry in CATALOGUE.items():
        assert all("\n" not in line for line in told[name])
        assert any("--data.root DIR" in line for line in told[name]) == entry.needs_root
        assert (f"data.root DIR holds {entry.layout}" in told[name]) == entry.needs_root
        assert f"split: {entry.splits}" in told[name]
        assert entry.splits
    assert all(entry.input.channels == 3 for entry in CATALOGUE.values())


def test_unknown_names_list_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"unknown data set 'digitz'; known: digits, digits_clean, cifar10"):
        load_data("digitz:0-5")
    with pytest.raises(InputError, match=r"no split 'dev'; it has train, validation, test"):
        load_data("digits_clean").split("dev")


def test_images_and_labels_must_match() -> None:
    with pytest.raises(InputError, match=r"expected"):
        Images(torch.zeros(3, 1, 2, 2, dtype=torch.uint8), torch.zeros(2, dtype=torch.int64))
    part = Images(torch.arange(12, dtype=torch.uint8).view(3, 1, 2, 2), torch.arange(3)).subset(torch.tensor([2, 0]))
    assert part.labels.tolist() == [2, 0]
    assert part.images[0, 0, 0, 0] == 8


def test_a_folder_with_three_splits_equals_torchvisions_reading(tmp_path: Path) -> None:
    counts = {"train": {"cat": 5, "ant": 4}, "validation": {"cat": 2, "ant": 1}, "test": {"ant": 2, "cat": 3}}
    data = load_data("folder", root=str(_write(tmp_path, counts)), size=16)
    assert data.classes == ("ant", "cat")
    assert data.input.size == 16
    assert data.name == "folder"
    chain = v2.Compose([v2.PILToTensor(), v2.Resize(16, antialias=True), v2.CenterCrop(16)])
    for split in counts:
        expected = ImageFolder(
            str(tmp_path / split), chain, is_valid_file=lambda path: path.endswith(".png") and "/." not in path
        )
        assert data.split(split).labels.tolist() == expected.targets
        torch.testing.assert_close(data.split(split).images, torch.stack([image for image, _ in expected]))


def test_val_is_the_test_where_there_is_no_other(tmp_path: Path) -> None:
    data = load_data("folder", root=str(_write(tmp_path, {"train": {"a": 20, "b": 30}, "val": {"a": 3, "b": 4}})), size=8)
    assert [len(data.split(name)) for name in ("train", "validation", "test")] == [45, 5, 7]
    assert data.validation.labels.bincount().tolist() == [2, 3]


def test_a_class_subset_of_a_folder(tmp_path: Path) -> None:
    root = _write(tmp_path, {"train": {"a": 10, "b": 10, "c": 20}, "test": {"a": 2, "b": 3, "c": 4}})
    data = load_data("folder:2,1", root=str(root), size=8)
    assert data.name == "folder:1-2"
    assert data.classes == ("b", "c")
    assert data.test.labels.bincount().tolist() == [3, 4]
    whole = load_data("folder", root=str(root), size=8)
    assert torch.equal(whole.test.images[whole.test.labels > 0], data.test.images)
    assert whole.fingerprint != data.fingerprint
    assert whole.split_hash == data.split_hash, "the name tells the subset, the split hash the folder"


def test_the_fingerprint_follows_names_and_sizes(tmp_path: Path) -> None:
    root = _write(tmp_path, {"train": {"a": 10}, "test": {"a": 2}})
    before = load_data("folder", root=str(root), size=8).fingerprint
    assert before == load_data("folder", root=str(root), size=12).fingerprint
    assert before.startswith("12-")
    (root / "test" / "a" / "000.png").rename(root / "test" / "a" / "009.png")
    assert load_data("folder", root=str(root), size=8).fingerprint != before


def test_a_listing_gives_the_fingerprint_without_opening_an_image(tmp_path: Path) -> None:
    root = _write(tmp_path, {"train": {"a": 10, "b": 12, "c": 11}, "test": {"a": 2, "b": 3, "c": 4}})
    for name in ("folder", "folder:0,2"):
        assert listed_fingerprint(name, root=str(root)) == load_data(name, root=str(root), size=8).fingerprint
    for image in root.rglob("[0-9]*.png"):
        image.write_bytes(b"x" * image.stat().st_size)
    assert str(listed_fingerprint("folder:0,2", root=str(root))).startswith("27-")
    assert listed_fingerprint("digits:0-2", root=None) is None


def test_the_split_hash_of_a_folder_names_its_images(tmp_path: Path) -> None:
    counts = {"train": {"a": 10, "b": 12}, "test": {"a": 2, "b": 3}}
    root = _write(tmp_path / "one", counts)
    before = load_data("folder", root=str(root), size=8).split_hash
    shutil.copytree(root, tmp_path / "copy")
    assert load_data("folder", root=str(tmp_path / "copy"), size=8).split_hash == before
    assert load_data("folder:1", root=str(root), size=12).split_hash == before, "the subset is told by the data set's name"
    (root / "train" / "b" / "003.png").rename(root / "train" / "b" / "0035.png")
    renamed = load_data("folder", root=str(root), size=8).split_hash
    (root / "train" / "b" / "0035.png").rename(root / "test" / "b" / "003.png.png")
    moved = load_data("folder", root=str(root), size=8).split_hash
    shutil.copy(tmp_path / "copy/train/b/004.png", root / "train/b/003.png")
    (root / "test" / "b" / "003.png.png").unlink()
    other_image = load_data("folder", root=str(root), size=8).split_hash
    assert len({before, renamed, moved, other_image}) == 4


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ({"train": {"a": 3}}, "expected the folders train, and test or val"),
        ({"test": {"a": 3}}, "expected the folders train"),
        ({"train": {"a": 3, "b": 0}, "test": {"a": 1}}, "b holds no image"),
        ({"train": {"a": 3}, "test": {"z": 1}}, "has the class 'z', which .* does not have"),
        ({"train": {"a": 3}, "test": {}}, "expected the folders train"),
        ({"train": {"a": 3}, "test": {"a": 1}}, "the validation split of folder has no image"),
    ],
)
def test_folders_that_cannot_be_used(tmp_path: Path, counts: dict[str, dict[str, int]], message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        load_data("folder", root=str(_write(tmp_path, counts)), size=8)
    assert "\n" not in str(error.value)


def test_an_unreadable_image_is_named(tmp_path: Path) -> None:
    root = _write(tmp_path, {"train": {"a": 12}, "test": {"a": 2}})
    (root / "train" / "a" / "003.png").write_bytes(b"this is no image")
    with pytest.raises(InputError, match=r"cannot read the image .*003.png"):
        load_data("folder", root=str(root), size=8)
    truncated = (root / "train" / "a" / "004.png").read_bytes()[:200]
    (root / "train" / "a" / "003.png").write_bytes(truncated)
    with pytest.raises(InputError, match=r"cannot read the image .*003.png"):
        load_data("folder", root=str(root), size=8)


def test_a_root_or_size_that_is_missing_says_how_to_mend(tmp_path: Path) -> None:
    for name in ("folder", "cifar10", "cifar100:3"):
        with pytest.raises(InputError, match=r"--data.root DIR"):
            load_data(name, size=None)
        with pytest.raises(InputError, match=r"there is no such folder"):
            load_data(name, root=str(tmp_path / "absent"))
    with pytest.raises(InputError, match=r"--data.size PIXELS"):
        load_data("folder", root=str(tmp_path))
    with pytest.raises(InputError, match=r"data.storage: cifar10 is kept in memory"):
        load_data("cifar10", root=str(tmp_path), storage="files")
    with pytest.raises(InputError, match=r"--data.root DIR"):
        load_data("cifar10", download=True)
    with pytest.raises(InputError, match=r"does not hold cifar10 intact; .* --data.download true"):
        load_data("cifar10", root=str(tmp_path))


@pytest.mark.data
def test_real_cifar10_is_split_as_the_field_does() -> None:
    root = _real("cifar10")
    data = load_data("cifar10:6-9", root=str(root))
    assert data.split_hash == "31ffc2678368b17e"
    assert data.classes == ("frog", "horse", "ship", "truck")
    raw = CIFAR10(root, train=True)
    tail = [i for i in range(45_000, 50_000) if raw.targets[i] >= 6]
    assert torch.equal(data.validation.images, torch.from_numpy(raw.data[tail]).permute(0, 3, 1, 2))
    assert data.validation.labels.tolist() == [raw.targets[i] - 6 for i in tail]
    assert len(data.test) == 4000


@pytest.mark.data
def test_real_jpegs_are_cropped_from_their_files() -> None:
    root = str(_real("imagenette224-mini"))
    data = load_data("folder", root=root, size=112, storage="files", reading=Reading(2))
    loader = loader_of(data.test, "cpu")
    crops = AugmentConfig(jitter_probability=0, gray_probability=0, flip=0)
    pixels = InputSpec(None, 3, (0.0, 1.0), (0.0,) * 3, (1.0,) * 3, None)
    draws = ViewDraws(crops, pixels, 2, seed=1, stream="views", indices=(0, 0))
    samples = ImageFolder(f"{root}/val").samples
    row = 0
    for views, labels in loader.view_batches(loader.fixed_batches(64), draws):
        for place, label in enumerate(labels.tolist()):
            name, expected = samples[row]
            assert label == expected
            image = Image.open(name).convert("RGB")
            drawn = draw(crops, 2, image.height, image.width, 112, generator(1, "views", 0, 0, row))
            for view, box in zip(views, drawn.box.tolist(), strict=True):
                cut = functional.to_image(functional.resized_crop(image, *box, [112, 112], antialias=True)).float() / 255
                assert (view[place] - cut).abs().max() < 2 / 255 + 1e-6
            row += 1
    assert row == len(samples) == 200


@pytest.mark.data
def test_real_folder_of_jpegs_loads() -> None:
    data = load_data("folder", root=str(_real("imagenette224-mini")), size=64)
    assert [len(data.split(name)) for name in ("train", "validation", "test")] == [720, 80, 200]
    assert data.train.images.shape == (720, 3, 64, 64)
    assert len(data.classes) == 10
