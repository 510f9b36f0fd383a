"""Folders whose images stay in their files, ImageNet's layout, and the choice between memory and files."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torchvision.datasets import ImageFolder

from common.data import file_dataset
from common.data.datasets import Dataset, Images, listed_fingerprint, load_data
from common.data.file_images import FileImages
from common.data.reading import Reading
from common.errors import InputError


def names(dataset: Dataset, split: str) -> list[str]:
    part = dataset.split(split)
    assert isinstance(part, FileImages)
    return [str(part.path(i).relative_to(part.folder)) for i in range(len(part))]


def test_files_and_memory_hold_the_same_images(photos: Path) -> None:
    kept, files = (load_data("folder", root=str(photos), size=24, storage=storage) for storage in ("memory", "files"))
    assert kept.split_hash == files.split_hash
    assert kept.fingerprint == files.fingerprint
    assert kept.input == files.input
    for split in ("train", "validation", "test"):
        expected = ImageFolder(str(photos / split))
        assert [f"{split}/{Path(name).parent.name}/{Path(name).name}" for name, _ in expected.samples] == names(files, split)
        assert files.split(split).labels.tolist() == kept.split(split).labels.tolist() == expected.targets
        assert files.split(split).size == kept.split(split).size == 24
        assert isinstance(kept.split(split), Images)


def test_a_class_subset_of_files(photos: Path) -> None:
    data = load_data("folder:1", root=str(photos), size=24, storage="files")
    assert data.classes == ("bee",)
    assert names(data, "test") == [f"test/bee/{i:03d}.jpg" for i in range(6)]
    assert data.train.labels.tolist() == [0] * 25


def test_auto_keeps_small_folders_in_memory_and_large_ones_in_files(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = 40 + 25 + 10 + 12 + 4 + 6
    monkeypatch.setattr(file_dataset, "MOST_IN_MEMORY", images * 3 * 16**2)
    assert isinstance(load_data("folder", root=str(photos), size=16).train, Images)
    assert isinstance(load_data("folder", root=str(photos), size=17).train, FileImages)
    assert isinstance(load_data("folder:0", root=str(photos), size=17).train, Images)
    assert isinstance(load_data("folder", root=str(photos), size=17, storage="memory").train, Images)


def test_files_are_not_opened_until_they_are_read(make_photos: Callable[..., Path]) -> None:
    root = make_photos(train={"a": 12}, val={"a": 2})
    (root / "train/a/003.jpg").write_bytes(b"no image")
    assert len(load_data("folder", root=str(root), size=8, storage="files").train) == 11
    with pytest.raises(InputError, match=r"cannot read the image .*003.jpg"):
        load_data("folder", root=str(root), size=8, storage="memory")


def write_imagenet(root: Path, counts: dict[str, int]) -> Path:
    """ImageNet's layout with empty files: nothing is opened on loading."""
    for name, count in counts.items():
        for part, files in (("train", [f"{name}_{i}.JPEG" for i in range(count)]), ("val", ["ILSVRC2012_val_1.JPEG"])):
            path = root / part / name
            path.mkdir(parents=True)
            for file in files:
                (path / file).touch()
    return root


def test_imagenet_validates_on_50_images_of_every_class_and_tests_on_val(tmp_path: Path) -> None:
    root = write_imagenet(tmp_path, {"n01440764": 60, "n01443537": 75, "n02102040": 51})
    data = load_data("imagenet", root=str(root))
    assert [len(data.split(split)) for split in ("train", "validation", "test")] == [10 + 25 + 1, 150, 3]
    assert data.validation.labels.bincount().tolist() == [50] * 3
    assert data.input.size == data.train.size == 224
    assert data.classes == ("n01440764", "n01443537", "n02102040")
    assert all(name.startswith("val/") for name in names(data, "test"))
    both = names(data, "train") + names(data, "validation")
    assert sorted(both) == sorted(f"train/{n}/{n}_{i}.JPEG" for n, c in zip(data.classes, (60, 75, 51)) for i in range(c))
    assert load_data("imagenet", root=str(root), size=96).input.size == 96
    (root / "test").mkdir()  # ImageNet's own, without classes
    for name in ("imagenet", "imagenet:1"):
        assert listed_fingerprint(name, root=str(root)) == load_data(name, root=str(root)).fingerprint


def test_the_split_of_imagenet_is_frozen(tmp_path: Path) -> None:
    """A change of this would move images between splits of published results."""
    data = load_data("imagenet", root=str(write_imagenet(tmp_path, {"n01440764": 54})))
    files = [f"train/n01440764/n01440764_{i}.JPEG" for i in range(54)]
    ranked = sorted(files, key=lambda name: hashlib.sha256(f"20210612/{name}".encode()).digest())
    assert names(data, "train") == sorted(ranked[50:]) == [f"train/n01440764/n01440764_{i}.JPEG" for i in (19, 2, 23, 44)]


def test_the_split_of_imagenet_does_not_depend_on_which_classes_a_copy_has(tmp_path: Path) -> None:
    whole = load_data("imagenet:1", root=str(write_imagenet(tmp_path / "a", {"n01440764": 60, "n01443537": 75})))
    alone = load_data("imagenet", root=str(write_imagenet(tmp_path / "b", {"n01443537": 75})))
    assert names(whole, "validation") == names(alone, "validation")
    assert whole.validation.labels.tolist() == [0] * 50
    assert whole.name == "imagenet:1"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda root: (root / "val").rename(root / "test"), r"there is no val; expected ImageNet as train/CLASS/\*"),
        (lambda root: (root / "train").rename(root / "x"), r"there is no train"),
        (lambda root: (root / "val/n1").rename(root / "val/n9"), r"has the class 'n9', which .*train does not have"),
        (lambda root: (root / "train/n1/n1_0.JPEG").unlink(), r"train/n1 has 50 images, expected more than the 50 that validate"),
    ],
)
def test_what_is_not_imagenets_layout(change: Callable[[Path], object], message: str, tmp_path: Path) -> None:
    root = write_imagenet(tmp_path, {"n1": 51})
    change(root)
    with pytest.raises(InputError, match=message) as error:
        load_data("imagenet", root=str(root))
    assert "\n" not in str(error.value)


def test_a_link_to_an_image_that_is_not_there_is_named(make_photos: Callable[..., Path]) -> None:
    root = make_photos(train={"a": 2}, test={"a": 2})
    (root / "train/a/gone.jpg").symlink_to(root / "moved.jpg")
    with pytest.raises(
        InputError, match=r"^cannot read the image .*/train/a/gone.jpg: a link to a file that is not there; bring"
    ):
        listed_fingerprint("folder", root=str(root))
    (root / "train/a/gone.jpg").unlink()
    (root / "train/a/loop.jpg").symlink_to("loop.jpg")
    with pytest.raises(
        InputError, match=r"^cannot read the image .*/train/a/loop.jpg: Too many levels of symbolic links; bring"
    ) as error:
        listed_fingerprint("folder", root=str(root))
    assert "\n" not in str(error.value)


def test_images_of_imagenet_may_be_kept_in_memory(make_photos: Callable[..., Path]) -> None:
    data = load_data("imagenet", root=str(make_photos(train={"a": 53}, val={"a": 2})), size=16, storage="memory")
    assert isinstance(data.train, Images)
    assert data.train.images.shape == (3, 3, 16, 16)
    assert data.train.images.dtype == torch.uint8


def test_reading_processes_are_the_cores_share_of_each_training_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(12)), raising=False)
    assert Reading().processes() == 12
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert Reading().processes() == 3
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "24")
    assert Reading().processes() == 1
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(500)), raising=False)
    assert Reading().processes() == 16
    assert Reading(0).processes() == 0
