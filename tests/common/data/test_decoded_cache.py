"""The cache of decoded images: the same pixels, decoded once, refused when it is of other images, and never half-written."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

from common.config import DataConfig
from common.data.datasets import Dataset, load_data, open_data
from common.data.loaders import loader_of
from common.data.reading import Framing, Reading
from common.errors import InputError

_OPENED: list[list[str]] = []


def _hook(event: str, words: tuple[Any, ...]) -> None:
    if event == "open" and _OPENED and str(words[0]).endswith(".jpg"):
        _OPENED[-1].append(str(words[0]))


sys.addaudithook(_hook)


@pytest.fixture
def opened() -> Iterator[list[str]]:
    """The image files that Python opens while the test runs, one as often as it is read."""
    _OPENED.append([])
    yield _OPENED[-1]
    _OPENED.clear()


def load(root: Path, cache: Path | None, storage: str = "files", **words: Any) -> Dataset:
    told = {"size": 24, "reading": Reading(0), "cache": None if cache is None else str(cache), **words}
    return load_data("folder", root=str(root), storage=storage, **told)  # type: ignore[arg-type]


def evaluated(dataset: Dataset, split: str, at: list[int] | None = None) -> torch.Tensor:
    loader = loader_of(dataset.split(split), "cpu")
    loader = loader if at is None else loader.subset(torch.tensor(at))
    return torch.cat([pixels.clone() for pixels, _ in loader.evaluation_batches(7)])


SPLITS = {"train": 65, "validation": 22, "test": 10}


@pytest.mark.parametrize("storage", ["files", "memory"])
def test_pixels_are_the_same_and_every_image_is_opened_once(
    storage: str, photos: Path, tmp_path: Path, opened: list[str]
) -> None:
    plain = {split: evaluated(load(photos, None, storage), split) for split in SPLITS}
    without = len(opened)
    assert set(opened) == {str(path) for split in SPLITS for path in (photos / split).rglob("*.jpg")}
    for _ in range(3):
        data = load(photos, tmp_path / "cache", storage)
        for split, expected in plain.items():
            assert torch.equal(evaluated(data, split), expected)
            assert torch.equal(evaluated(data, split, [9, 0, 4]), expected[[9, 0, 4]])
    assert len(opened) - without == sum(SPLITS.values()), "once, into the cache"
    assert not list((tmp_path / "cache").glob("*.partial"))


def test_splits_are_decoded_when_they_are_evaluated(photos: Path, tmp_path: Path, opened: list[str]) -> None:
    data = load(photos, tmp_path)
    assert opened == []
    evaluated(data, "test")
    assert {Path(name).parts[-3] for name in opened} == {"test"}
    assert [path.name for path in tmp_path.glob("*.safetensors")] == ["folder-test-24-margin-bilinear.safetensors"]


def test_the_file_is_one_that_the_library_reads(photos: Path, tmp_path: Path) -> None:
    data = load(photos, tmp_path, framing=Framing("square", "bicubic"))
    expected = evaluated(data, "test")
    (file,) = tmp_path.glob("*.safetensors")
    with safe_open(file, "pt") as held:
        assert torch.equal(held.get_tensor("images"), expected)
        assert held.get_tensor("unreadable").tolist() == [0] * 10
        assert '"fingerprint":"10-' in held.metadata()["cache"]


def test_other_images_sizes_framings_splits_and_classes_are_other_files(photos: Path, tmp_path: Path) -> None:
    made = [
        load(photos, tmp_path),
        load(photos, tmp_path, size=20),
        load(photos, tmp_path, framing=Framing("fit")),
        load(photos, tmp_path, framing=Framing("margin", "bicubic")),
        load_data("folder:1", root=str(photos), size=24, storage="files", reading=Reading(0), cache=str(tmp_path)),
    ]
    plain = [
        load(photos, None),
        load(photos, None, size=20),
        load(photos, None, framing=Framing("fit")),
        load(photos, None, framing=Framing("margin", "bicubic")),
        load_data("folder:1", root=str(photos), size=24, storage="files", reading=Reading(0)),
    ]
    for cached, expected in zip(made, plain, strict=True):
        assert torch.equal(evaluated(cached, "test"), evaluated(expected, "test"))
    tenth = load(photos, tmp_path, validation="tenth")
    assert torch.equal(evaluated(tenth, "validation"), evaluated(load(photos, None, validation="tenth"), "validation"))
    assert len(list(tmp_path.glob("*.safetensors"))) == 6


@pytest.mark.parametrize("storage", ["files", "memory"])
def test_a_cache_of_other_images_is_refused(storage: str, photos: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(photos, tmp_path / "copy"))
    evaluated(load(root, tmp_path / "cache", storage), "test")
    (root / "test/ant/000.jpg").write_bytes((root / "test/ant/000.jpg").read_bytes() + b"\0")
    with pytest.raises(
        InputError, match=r"data.cache: .* was made of other images than are there now: its fingerprint is"
    ) as error:
        evaluated(load(root, tmp_path / "cache", storage), "test")
    assert "delete it, or choose another folder with data.cache" in str(error.value)
    (root / "test/ant/000.jpg").unlink()
    with pytest.raises(InputError, match="was made of other images"):
        evaluated(load(root, tmp_path / "cache", storage), "test")


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(path.read_bytes()[:-1]),
        lambda path: path.write_bytes(path.read_bytes() + b"\0"),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"\x80\x04K\x01."),
        lambda path: path.write_bytes(path.read_bytes().replace(b'"cache":', b'"catch":')),
    ],
    ids=["cut", "longer", "empty", "pickle", "edited"],
)
def test_a_damaged_cache_is_refused_in_one_line(damage: Callable[[Path], None], photos: Path, tmp_path: Path) -> None:
    evaluated(load(photos, tmp_path), "test")
    (file,) = tmp_path.glob("*.safetensors")
    damage(file)
    with pytest.raises(InputError, match=r"data.cache: .* is damaged or no cache \(.*\); delete it") as error:
        evaluated(load(photos, tmp_path), "test")
    assert "\n" not in str(error.value)


def test_nothing_is_left_of_a_cache_that_could_not_be_finished(photos: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(photos, tmp_path / "copy"))
    (root / "test/bee/003.jpg").write_bytes(b"no image")
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache/folder-test-24-margin-bilinear.partial").write_bytes(b"of a writer that was killed")
    with pytest.raises(InputError, match=r"cannot read the image .*test/bee/003.jpg"):
        evaluated(load(root, tmp_path / "cache"), "test")
    assert [path.suffix for path in (tmp_path / "cache").iterdir()] == [".lock"]
    shutil.copy(photos / "test/bee/003.jpg", root / "test/bee/003.jpg")
    assert torch.equal(evaluated(load(root, tmp_path / "cache"), "test"), evaluated(load(photos, None), "test"))


def test_where_no_cache_can_be(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"data.cache: got images of 225 px, expected at most 224"):
        load(photos, tmp_path, size=225)
    with pytest.raises(InputError, match=r"data.cache: digits is kept in memory"):
        load_data("digits", cache=str(tmp_path))
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot write .*file: .*; choose another folder with data.cache"):
        evaluated(load(photos, tmp_path / "file"), "test")


def test_training_crops_come_from_the_files_as_without_it(photos: Path, tmp_path: Path) -> None:
    from common.data.augment_config import AugmentConfig
    from common.data.inputs import UNIT_INPUT
    from common.data.loaders import ViewDraws

    draws = ViewDraws(AugmentConfig(), UNIT_INPUT, 1, seed=1, stream="views")
    batches = [torch.arange(8)]
    ours, plain = (loader_of(load(photos, cache).train, "cpu") for cache in (tmp_path, None))
    ((view,), _), *_ = ours.view_batches(batches, draws)
    view = view.clone()
    ((expected,), _), *_ = plain.view_batches(batches, draws)
    assert torch.equal(view, expected)
    assert list(tmp_path.iterdir()) == []


# Images that cannot be read: an error that names the first, or left out, counted and named.


@pytest.fixture
def spoiled(photos: Path, tmp_path: Path) -> Path:
    root = Path(shutil.copytree(photos, tmp_path / "spoiled"))
    (root / "train/ant/005.jpg").write_bytes(b"no image")
    (root / "train/bee/001.jpg").write_bytes((root / "train/bee/001.jpg").read_bytes()[:300])
    (root / "test/bee/003.jpg").write_bytes(b"")
    return root


BAD = ("train/ant/005.jpg", "train/bee/001.jpg", "test/bee/003.jpg")


@pytest.mark.parametrize("cached", [False, True], ids=["plain", "cached"])
@pytest.mark.parametrize("storage", ["files", "memory"])
def test_unreadable_images_are_left_out_only_where_that_is_asked_for(
    storage: str, cached: bool, spoiled: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cache = tmp_path / "cache" if cached else None
    with pytest.raises(InputError, match=r"cannot read the image .*train/ant/005.jpg"):
        evaluated(load(spoiled, cache, storage), "train")
    whole = load(photos, None, "files")
    for _ in range(2):
        data = load(spoiled, cache, storage, skip_unreadable=True)
        assert data.skipped == BAD
        assert capsys.readouterr().err == (
            f"folder: 3 images cannot be read and are left out, the first {BAD[0]} (data.skip_unreadable)\n"
        )
        assert [len(data.split(split)) for split in SPLITS] == [63, 22, 9]
        for split in SPLITS:
            part = whole.split(split)
            kept = [i for i in range(len(part)) if part.name(i) not in BAD]  # type: ignore[union-attr]
            assert data.split(split).labels.tolist() == part.labels[kept].tolist()
            expected = evaluated(load(photos, None, storage), split, kept)
            assert torch.equal(evaluated(data, split), expected)
    if cached:
        with pytest.raises(InputError, match=r"cannot read the image .*train/ant/005.jpg .*data.skip_unreadable true"):
            evaluated(load(spoiled, cache, storage), "train")


def test_a_split_that_is_nothing_but_unreadable(photos: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(photos, tmp_path / "copy"))
    for file in (root / "test").rglob("*.jpg"):
        file.write_bytes(b"no image")
    with pytest.raises(InputError, match="the test split of folder has no image"):
        load(root, None, skip_unreadable=True)


def test_a_configuration_reaches_the_reading(spoiled: Path, tmp_path: Path) -> None:
    words = {"name": "folder", "root": str(spoiled), "size": 24, "workers": 0, "skip_unreadable": True, "storage": "files"}
    config = DataConfig(**words, crop="square", interpolation="bicubic", cache=str(tmp_path / "c"), validation="tenth")  # type: ignore[arg-type]
    data = open_data(config)
    assert sorted(data.skipped) == sorted(BAD)
    expected = load(spoiled, None, framing=Framing("square", "bicubic"), validation="tenth", skip_unreadable=True)
    assert data.split_hash == expected.split_hash
    assert torch.equal(evaluated(data, "validation"), evaluated(expected, "validation"))
