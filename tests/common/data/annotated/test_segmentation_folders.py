from __future__ import annotations

import os
import pickle
import shutil
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from common.data.annotated.catalogue import open_annotated
from common.data.annotated.config import AnnotatedDataConfig
from common.data.annotated.segmentation_entries import ADE20K_CLASSES, SEGMENTATION_SETS
from common.data.annotated.sets import IGNORE, AnnotatedImages, AnnotatedSet
from common.errors import InputError
from tests.common.data.annotated import label_layouts as layouts


def opened(name: str, root: Path, classes: tuple[str, ...] = ()) -> AnnotatedSet:
    return open_annotated(AnnotatedDataConfig(name=name, root=str(root), classes=classes))


def map_of(images: AnnotatedImages, part: str) -> np.ndarray:
    """The label map of the image whose name contains a word."""
    (index,) = (i for i, name in enumerate(images.names) if part in name)
    assert images.read_labels is not None
    return images.read_labels(index)


def read_all(name: str, root: Path) -> None:
    for images in opened(name, root).splits.values():
        for index in range(len(images)):
            assert images.read_labels is not None
            images.read_labels(index)


def refused(name: str, root: Path, *words: str) -> None:
    with pytest.raises(InputError) as caught:
        read_all(name, root)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message, message


def test_voc_reads_palette_images_by_index_and_tests_on_val(tmp_path: Path) -> None:
    folder = layouts.write_voc(tmp_path)
    dataset = opened("voc2012_segmentation", tmp_path)
    assert len(dataset.classes) == 21
    assert {name: len(images) for name, images in dataset.splits.items()} == {"train": 11, "validation": 1, "test": 3}
    assert [Path(name).stem for name in dataset.splits["test"].names] == ["2007_000012", "2007_000013", "2007_000014"]
    found = map_of(dataset.splits["test"], "2007_000013")
    with Image.open(folder / "SegmentationClass/2007_000013.png") as image:
        assert image.mode == "P"
        assert np.array_equal(found, np.asarray(image))  # PIL's own indices
        assert not np.array_equal(found, np.asarray(image.convert("L")))  # and not its colours
    assert found.dtype == np.uint8
    assert set(np.unique(found)) <= {0, 7, 20, IGNORE}
    assert dataset.train.read(0).shape == (6, 8, 3)


def test_voc_with_sbd_by_pngs_or_mat_files(tmp_path: Path) -> None:
    from scipy.io import savemat

    folder = layouts.write_voc(tmp_path)
    extra = [f"2008_{i:06d}" for i in range(6)]
    for seed, name in enumerate(extra):
        layouts.write_image(folder / f"JPEGImages/{name}.jpg", seed=seed)
    maps = {name: layouts.labels(seed, [0, 1, 15]) for seed, name in enumerate([*extra, "2007_000012", "2007_000001"])}
    for name, values in maps.items():
        path = tmp_path / f"benchmark_RELEASE/dataset/cls/{name}.mat"
        path.parent.mkdir(parents=True, exist_ok=True)
        savemat(path, {"GTcls": {"Segmentation": values, "Boundaries": 0}})
    by_mat = opened("voc2012_augmented", tmp_path)
    trained = {Path(name).stem for split in ("train", "validation") for name in by_mat.splits[split].names}
    assert trained == {*extra, *(f"2007_{i:06d}" for i in range(12))}  # 2007_000012 is in val
    both = {Path(name).stem: split for split in ("train", "validation") for name in by_mat.splits[split].names}
    assert np.array_equal(map_of(by_mat.splits[both[extra[2]]], extra[2]), maps[extra[2]])
    own = map_of(by_mat.splits[both["2007_000001"]], "2007_000001")
    assert not np.array_equal(own, maps["2007_000001"])  # VOC's own
    for name in extra:
        layouts.write_labels(folder / f"SegmentationClassAug/{name}.png", maps[name])
    layouts.write_list(folder / "ImageSets/Segmentation/train_aug.txt", [f"/JPEGImages/{name}.jpg" for name in extra])
    by_png = opened("voc2012_augmented", tmp_path)
    assert sum(len(by_png.splits[split]) for split in ("train", "validation")) == 6
    shutil.rmtree(tmp_path / "benchmark_RELEASE")
    os.remove(folder / "ImageSets/Segmentation/train_aug.txt")
    refused("voc2012_augmented", tmp_path, "no annotations of SBD", "train_aug.txt")


def test_cityscapes_ids_become_training_ids(tmp_path: Path) -> None:
    layouts.write_cityscapes(tmp_path, {"train": 11, "val": 2})
    dataset = opened("cityscapes", tmp_path)
    assert (len(dataset.classes), len(dataset.splits["test"])) == (19, 2)
    with Image.open(tmp_path / "gtFine/val/ulm/ulm_000001_000019_gtFine_labelIds.png") as image:
        ids = np.asarray(image)
    # As cityscapesScripts' documentation says: road 0, sidewalk 1, car 13, bicycle 18; unlabeled, out of roi and caravan none.
    wanted = {0: IGNORE, 3: IGNORE, 7: 0, 8: 1, 26: 13, 29: IGNORE, 33: 18}
    found = map_of(dataset.splits["test"], "ulm_000001")
    assert all(set(np.unique(found[ids == value])) <= {label} for value, label in wanted.items())
    assert [dataset.classes[wanted[value]] for value in (7, 8, 26, 33)] == ["road", "sidewalk", "car", "bicycle"]
    label = tmp_path / "gtFine/train/ulm/ulm_000003_000019_gtFine_labelIds.png"
    label.rename(label.with_name("ulm_000003_000019_gtFine_polygons.json"))
    refused("cityscapes", tmp_path, label.name, "1 are missing", "python -m common.data.annotated.cityscapes_polygons")


def test_ade20k_ignores_zero_and_counts_from_it(tmp_path: Path) -> None:
    layouts.write_ade20k(tmp_path, {"training": 11, "validation": 2})
    dataset = opened("ade20k", tmp_path)
    with Image.open(tmp_path / "ADEChallengeData2016/annotations/validation/ADE_validation_00000000.png") as image:
        values = np.asarray(image).astype(int)
    assert np.array_equal(map_of(dataset.splits["test"], "00000000"), np.where(values == 0, IGNORE, values - 1))
    assert len(set(ADE20K_CLASSES)) == 150
    assert (ADE20K_CLASSES[0], ADE20K_CLASSES[12], ADE20K_CLASSES[149]) == ("wall", "person", "flag")


def test_camvid_ignores_eleven(tmp_path: Path) -> None:
    layouts.write_camvid(tmp_path, {"train": 3, "val": 2, "test": 2})
    dataset = opened("camvid", tmp_path)
    assert {name: len(images) for name, images in dataset.splits.items()} == {"train": 3, "validation": 2, "test": 2}
    with Image.open(tmp_path / "testannot/test_00001.png") as image:
        values = np.asarray(image)
    assert np.array_equal(map_of(dataset.splits["test"], "test_00001"), np.where(values == 11, IGNORE, values))


def test_an_image_that_is_listed_twice_is_refused(tmp_path: Path) -> None:
    layouts.write_camvid(tmp_path, {"train": 3, "val": 2, "test": 2})
    opened("camvid", tmp_path)
    path = tmp_path / "train.txt"
    path.write_text(path.read_text() + path.read_text().splitlines()[0] + "\n")
    refused("camvid", tmp_path, "is in the train split twice")


@pytest.mark.data
def test_camvid_mini() -> None:
    root = Path(os.environ.get("LTP_DATA", "")) / "camvid-mini"
    if not os.environ.get("LTP_DATA") or not root.is_dir():
        pytest.skip("LTP_DATA names no folder with camvid-mini")
    dataset = opened("camvid", root)
    assert {name: len(images) for name, images in dataset.splits.items()} == {"train": 36, "validation": 12, "test": 12}
    assert dataset.train.sizes.tolist() == [[360, 480]] * 36
    assert all(set(np.unique(dataset.train.read_labels(i))) <= {*range(11), IGNORE} for i in range(3))  # type: ignore[misc]


def test_a_folder_of_ones_own(tmp_path: Path) -> None:
    layouts.write_folder(tmp_path, {"train": 12, "val": 3})
    dataset = opened("label_folder", tmp_path)
    assert dataset.classes == ("ground", "tree", "sky")
    assert {name: len(images) for name, images in dataset.splits.items()} == {"train": 11, "validation": 1, "test": 3}
    layouts.write_folder(tmp_path, {"test": 2})
    with_test = opened("label_folder", tmp_path)
    assert {name: len(images) for name, images in with_test.splits.items()} == {"train": 12, "validation": 3, "test": 2}
    assert opened("label_folder", tmp_path, ("a", "b", "c")).classes == ("a", "b", "c")
    copied = pickle.loads(pickle.dumps(with_test.train))  # reading processes receive it
    assert np.array_equal(copied.read_labels(4), with_test.train.read_labels(4))  # type: ignore[misc]


def test_another_label_map_is_another_fingerprint(tmp_path: Path) -> None:
    layouts.write_folder(tmp_path, {"train": 4, "val": 2, "test": 2})
    before = opened("label_folder", tmp_path)
    assert opened("label_folder", tmp_path).fingerprint == before.fingerprint
    layouts.write_labels(tmp_path / "val/labels/00.png", np.zeros((6, 8)))
    after = opened("label_folder", tmp_path)
    assert (after.fingerprint != before.fingerprint, after.split_hash) == (True, before.split_hash)


def mend_size(root: Path) -> None:
    layouts.write_labels(root / "val/labels/01.png", np.zeros((8, 6)))


def mend_value(root: Path) -> None:
    layouts.write_labels(root / "val/labels/01.png", np.pad([[3]], ((0, 5), (0, 7))))


def mend_colours(root: Path) -> None:
    layouts.write_image(root / "val/labels/01.png")


def mend_jpeg(root: Path) -> None:
    os.remove(root / "val/labels/01.png")
    Image.fromarray(np.zeros((6, 8), dtype=np.uint8)).save(root / "val/labels/01.jpg")


def mend_unpaired(root: Path) -> None:
    os.remove(root / "val/labels/01.png")


def mend_unpaired_label(root: Path) -> None:
    os.remove(root / "val/images/01.jpg")


def mend_empty(root: Path) -> None:
    for path in [*(root / "val/images").iterdir(), *(root / "val/labels").iterdir()]:
        os.remove(path)


def mend_no_image(root: Path) -> None:
    (root / "val/labels/01.png").write_bytes(b"no image")


def mend_vast(root: Path) -> None:
    """A file of a few bytes whose header says 60,000 x 60,000 px, which PIL refuses by an error of its own."""
    content = bytearray((root / "val/labels/01.png").read_bytes())
    content[16:24] = struct.pack(">II", 60_000, 60_000)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    (root / "val/labels/01.png").write_bytes(content)


def mend_cut(root: Path) -> None:
    path = root / "val/labels/01.png"
    Image.fromarray(layouts.labels(0, [0, 1, 2], 60, 80)).save(path)
    layouts.write_image(root / "val/images/01.jpg", 60, 80)
    path.write_bytes(path.read_bytes()[:200])


def mend_twice(root: Path) -> None:
    layouts.write_image(root / "val/images/01.png")


def mend_classes(root: Path) -> None:
    os.remove(root / "classes.txt")


def mend_parts(root: Path) -> None:
    shutil.rmtree(root / "val")


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (mend_size, ["val/labels/01.png is 6 x 8 px", "its image 8 x 6"]),
        (mend_value, ["val/labels/01.png", "the value 3 in 1 pixels is no label", "0 to 2, or 255"]),
        (mend_colours, ["val/labels/01.png holds colours (mode RGB)", "common.data.annotated.colour_masks"]),
        (mend_jpeg, ["val/labels/01.jpg is a JPEG", "PNG"]),
        (mend_unpaired, ["val/images/01.jpg has no counterpart", "1 of 3"]),
        (mend_unpaired_label, ["val/labels/01.png has no counterpart"]),
        (mend_empty, ["val/images has no image", "{images,labels}"]),
        (mend_no_image, ["val/labels/01.png", "no image of a known kind"]),
        (mend_vast, ["cannot read the label map", "val/labels/01.png", "3600000000 pixels"]),
        (mend_cut, ["val/labels/01.png", "cannot read the label map"]),
        (mend_twice, ["two files named 01"]),
        (mend_classes, ["no names", "classes.txt"]),
        (mend_parts, ["has train, expected train and at least one of val and test"]),
    ],
)
def test_bad_input_is_one_clear_line(harm: object, words: list[str], tmp_path: Path) -> None:
    layouts.write_folder(tmp_path, {"train": 12, "val": 3})
    opened("label_folder", tmp_path)
    harm(tmp_path)  # type: ignore[operator]
    refused("label_folder", tmp_path, *words)


@pytest.mark.parametrize("name", SEGMENTATION_SETS)
def test_an_empty_or_absent_folder_is_one_clear_line(name: str, tmp_path: Path) -> None:
    refused(name, tmp_path / "absent", "there is no such folder")
    refused(name, tmp_path, str(tmp_path))


def test_images_of_two_splits_are_refused(tmp_path: Path) -> None:
    folder = layouts.write_voc(tmp_path)
    layouts.write_list(folder / "ImageSets/Segmentation/val.txt", ["2007_000002"])
    refused("voc2012_segmentation", tmp_path, "2007_000002.jpg is in two splits")
    layouts.write_list(folder / "ImageSets/Segmentation/val.txt", ["2007_000013", "2007_000013"])
    refused("voc2012_segmentation", tmp_path, "lists 2007_000013 twice")
