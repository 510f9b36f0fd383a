"""The VOC reader against torchvision's, on a small copy of the layout and on real blood cells."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from torchvision.datasets import VOCDetection

from common.data.annotated.catalogue import open_annotated
from common.data.annotated.config import AnnotatedDataConfig
from common.data.annotated.sets import AnnotatedImages
from common.errors import InputError


def expected_of(root: Path, part: str, classes: tuple[str, ...]) -> list[list[tuple[float, ...]]]:
    """Boxes with area, as torchvision reads them: x1, y1, x2, y2, label, difficult."""
    found = []
    for _, target in VOCDetection(str(root), year="2012", image_set=part):
        found.append([])
        for item in target["annotation"].get("object", []):
            x1, y1, x2, y2 = (float(item["bndbox"][side]) for side in ("xmin", "ymin", "xmax", "ymax"))
            if x2 > x1 and y2 > y1:
                box = (max(x1 - 1, 0), max(y1 - 1, 0), x2, y2)
                found[-1].append((*box, classes.index(item["name"]), int(item["difficult"])))
    return found


def got_of(split: AnnotatedImages) -> list[list[tuple[float, ...]]]:
    assert split.objects is not None
    return [
        [(*map(float, box), int(label), int(hard)) for box, label, hard in zip(one.boxes, one.labels, one.difficult)]
        for one in split.objects
    ]


def test_boxes_labels_and_difficulty_are_torchvision_s(voc: Path) -> None:
    dataset = open_annotated(AnnotatedDataConfig("voc", str(voc)))
    assert dataset.classes == ("cat", "dog")
    for split, part in (("train", "train"), ("validation", "val")):
        expected = expected_of(voc, part, dataset.classes)
        if part == "train":
            expected[2][0] = (29, 19, 48, 40, 0, 0)  # clipped at the lower border
        assert got_of(dataset.split(split)) == expected
    assert dataset.mended == {"boxes_clipped": 2, "boxes_without_area": 1}
    assert dataset.train.objects is not None
    assert dataset.train.objects[0].trains.tolist() == [True, False]
    pixels = np.array(VOCDetection(str(voc), year="2012", image_set="train")[2][0])
    assert np.abs(dataset.train.read(2).astype(int) - pixels).max() <= 2
    assert dataset.train.sizes.tolist() == [[40, 48]] * 3


@pytest.mark.data
def test_real_blood_cells(real_data: Path) -> None:
    root = real_data / "bccd"
    dataset = open_annotated(AnnotatedDataConfig("voc", str(root)))
    assert dataset.classes == ("Platelets", "RBC", "WBC")
    assert dataset.mended == {"boxes_without_area": 2}
    for split, part in (("train", "train"), ("validation", "val")):
        assert got_of(dataset.split(split)) == expected_of(root, part, dataset.classes)
    counts = sum(np.bincount(one.labels, minlength=3) for split in dataset.splits.values() for one in split.objects or ())
    assert counts.tolist() == [361, 4155 - 2, 372]


def test_without_test_images_those_that_validate_test(voc: Path) -> None:
    lists = voc / "VOCdevkit/VOC2012/ImageSets/Main"
    (lists / "train.txt").write_text("train_0\ntrain_1\ntrain_2\ntest_0\n" + "".join(f"more_{at}\n" for at in range(6)))
    for at in range(6):
        for folder, suffix in (("JPEGImages", "jpg"), ("Annotations", "xml")):
            source = voc / "VOCdevkit/VOC2012" / folder
            (source / f"more_{at}.{suffix}").write_bytes((source / f"val_0.{suffix}").read_bytes())
    (lists / "test.txt").unlink()
    dataset = open_annotated(AnnotatedDataConfig("voc", str(voc)))
    assert [name.rpartition("/")[2] for name in dataset.split("test").names] == ["val_0.jpg"]
    assert len(dataset.train) == 9
    assert len(dataset.split("validation")) == 1
    assert not set(dataset.train.names) & set(dataset.split("validation").names)
    assert open_annotated(AnnotatedDataConfig("voc", str(voc))).split_hash == dataset.split_hash


def test_2007_and_2012(voc: Path) -> None:
    base = voc / "VOCdevkit"
    for year in ("VOC2007", "VOC2012"):
        (base / year / "ImageSets/Main").mkdir(parents=True, exist_ok=True)
        for folder, suffix in (("JPEGImages", "jpg"), ("Annotations", "xml")):
            (base / year / folder).mkdir(exist_ok=True)
            for name in ("train_0", "train_1", "train_2", "val_0", "test_0"):
                content = (base / "VOC2012" / folder / f"{name}.{suffix}").read_bytes()
                (base / year / folder / f"{name}.{suffix}").write_bytes(content)
        (base / year / "ImageSets/Main/trainval.txt").write_text("train_0\ntrain_1\ntrain_2\nval_0\n")
    (base / "VOC2007/ImageSets/Main/test.txt").write_text("test_0\n")
    dataset = open_annotated(AnnotatedDataConfig("voc0712", str(voc)))
    assert len(dataset.classes) == 20
    assert dataset.split("test").names == ("VOCdevkit/VOC2007/JPEGImages/test_0.jpg",)
    assert len(dataset.train) == 7
    assert {name[:17] for name in dataset.train.names} == {"VOCdevkit/VOC2007", "VOCdevkit/VOC2012"}


def annotation(voc: Path, change: Callable[[str], str]) -> None:
    path = voc / "VOCdevkit/VOC2012/Annotations/train_0.xml"
    path.write_text(change(path.read_text()))


def unlink(name: str) -> Callable[[Path], None]:
    return lambda voc: (voc / "VOCdevkit/VOC2012" / name).unlink()


def write(name: str, text: str) -> Callable[[Path], object]:
    return lambda voc: (voc / "VOCdevkit/VOC2012" / name).write_text(text)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda voc: annotation(voc, lambda text: text.replace("dog", "emu")), r"train_0\.xml.*'emu'.*not in the list.*cat, dog"),
        (lambda voc: annotation(voc, lambda text: text[:-20]), r"train_0\.xml is not an XML"),
        (lambda voc: annotation(voc, lambda text: text.replace("ymax", "y")), r"train_0\.xml.*no <bndbox><ymax>"),
        (lambda voc: annotation(voc, lambda text: text.replace("<width>48", "<width>nan")), r"train_0\.xml.*'nan'.*number"),
        (lambda voc: annotation(voc, lambda text: text.replace("<width>48", "<width>0")), r"train_0\.xml.*0 x 40"),
        (write("Annotations/train_0.xml", '<?xml version="1.0" encoding="utf-7"?><annotation/>'), r"train_0\.xml is not an XML"),
        (write("Annotations/train_0.xml", '<?xml version="1.0" encoding="foo"?><annotation/>'), r"train_0\.xml is not an XML"),
        (unlink("Annotations/train_1.xml"), r"cannot read the annotation .*train_1\.xml"),
        (unlink("JPEGImages/train_1.jpg"), r"train_1\.jpg: there is no such image.*1 of 3"),
        (write("ImageSets/Main/train.txt", "\n"), r"train\.txt names no image"),
        (write("ImageSets/Main/train.txt", "train_0\ntrain_0\n"), r"train\.txt lists train_0 twice"),
        (write("ImageSets/Main/test.txt", "train_0\n"), r"train_0\.jpg is in two splits, train and test"),
    ],
)
def test_bad_input_is_one_clear_line(voc: Path, spoil: Callable[[Path], object], message: str) -> None:
    spoil(voc)
    with pytest.raises(InputError, match=message) as caught:
        open_annotated(AnnotatedDataConfig("voc", str(voc), classes=("cat", "dog")))
    assert "\n" not in str(caught.value)


def test_an_image_of_another_size_than_its_annotation_is_refused(voc: Path) -> None:
    annotation(voc, lambda text: text.replace("<width>48", "<width>50"))
    dataset = open_annotated(AnnotatedDataConfig("voc", str(voc)))
    with pytest.raises(InputError, match=r"train_0\.jpg is 48 x 40 px, and its annotation says 50 x 40"):
        dataset.train.read(0)


def test_no_folder(tmp_path: Path) -> None:
    for root, message in (
        (None, "--data.root"),
        (str(tmp_path / "no"), "no such folder"),
        (str(tmp_path), "holds no VOC folder"),
    ):
        with pytest.raises(InputError, match=message):
            open_annotated(AnnotatedDataConfig("voc", root))
    with pytest.raises(InputError, match="holds no VOC2007"):
        open_annotated(AnnotatedDataConfig("voc0712", str(tmp_path)))
