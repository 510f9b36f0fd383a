"""The catalogue of annotated sets: names, sizes, options that do not apply; nothing heavy is imported to list it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from common.data.annotated.catalogue import (
    ANNOTATED,
    canonical_annotated_name,
    describe_annotated,
    input_of,
    open_annotated,
    size_of,
)
from common.data.annotated.config import AnnotatedDataConfig
from common.data.inputs import NORMALISATIONS
from common.errors import InputError

ROOT = Path(__file__).parents[4]


def test_it_imports_no_torch_and_no_readers() -> None:
    code = "import sys, common.data.annotated.catalogue as c; c.describe_annotated(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not {"torch", "albumentations", "pycocotools", "sklearn", "torchvision"} & set(done.stdout.split())


def test_every_set_is_described_in_whole_lines() -> None:
    described = dict(describe_annotated())
    assert list(described) == list(ANNOTATED)
    assert {"digit_scenes", "voc0712", "voc", "coco", "coco_keypoints", "coco_json"} <= set(described)
    assert all(line and "\n" not in line for lines in described.values() for line in lines)


def test_names_have_one_form(tmp_path: Path) -> None:
    assert canonical_annotated_name(AnnotatedDataConfig("digit_scenes:9,6,7-8")) == "digit_scenes:6-9"
    assert canonical_annotated_name(AnnotatedDataConfig("digit_scenes:0-9")) == "digit_scenes"
    assert canonical_annotated_name(AnnotatedDataConfig("coco", str(tmp_path))) == "coco"
    given = AnnotatedDataConfig("voc", f"{tmp_path}/a/..")
    assert canonical_annotated_name(given) == f"voc@{tmp_path.resolve()}"


def test_sizes() -> None:
    assert size_of(AnnotatedDataConfig()) == (64, 64)
    assert size_of(AnnotatedDataConfig("coco", size=(320,))) == (320, 320)
    assert size_of(AnnotatedDataConfig("coco", size=(240, 320))) == (240, 320)


def test_the_input_is_what_is_asked_for(voc: Path) -> None:
    own = open_annotated(AnnotatedDataConfig("voc", str(voc))).input
    unit = open_annotated(AnnotatedDataConfig("voc", str(voc), input="unit", size=(32, 48))).input
    assert (own.mean, own.std, own.size) == (*NORMALISATIONS["imagenet"], 416)
    assert (unit.mean, unit.std, unit.size) == (*NORMALISATIONS["unit"], None)
    for given in ("own", "half"):
        config = AnnotatedDataConfig("voc", str(voc), input=given)  # type: ignore[arg-type]
        spec = open_annotated(config).input
        assert input_of(config) == (spec.mean, spec.std)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (AnnotatedDataConfig("digits"), "unknown set of annotated images 'digits'; known: digit_scenes, voc0712"),
        (AnnotatedDataConfig("digit_scenes:6-12"), "out of range"),
        (AnnotatedDataConfig("voc:1-2", "x"), "takes no class subset"),
        (AnnotatedDataConfig("coco", "x", classes=("a",)), "data.classes: coco has classes of its own"),
        (AnnotatedDataConfig("coco", "x", download=True), "data.download: coco cannot be fetched"),
        (AnnotatedDataConfig(skip_unreadable=True), "data.skip_unreadable: digit_scenes.* is kept in memory"),
        (AnnotatedDataConfig("voc0712", download=True), "needs a folder to be fetched into"),
    ],
)
def test_bad_input_is_one_clear_line(config: AnnotatedDataConfig, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        open_annotated(config)
    assert "\n" not in str(caught.value)


def test_images_that_cannot_be_read_are_left_out_when_asked(voc: Path) -> None:
    (voc / "VOCdevkit/VOC2012/JPEGImages/train_1.jpg").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"cannot read the image .*train_1\.jpg"):
        open_annotated(AnnotatedDataConfig("voc", str(voc))).train.read(1)
    dataset = open_annotated(AnnotatedDataConfig("voc", str(voc), skip_unreadable=True))
    assert [Path(name).name for name in dataset.skipped] == ["train_1.jpg"]
    assert [Path(name).name for name in dataset.train.names] == ["train_0.jpg", "train_2.jpg"]
    assert dataset.train.objects is not None
    assert len(dataset.train.objects[1]) == 2
    assert dataset.train.read(1).shape == (40, 48, 3)


def test_a_split_of_which_nothing_can_be_read_is_refused(voc: Path) -> None:
    names = (voc / "VOCdevkit/VOC2012/ImageSets/Main/train.txt").read_text().split()
    for name in names:
        (voc / f"VOCdevkit/VOC2012/JPEGImages/{name}.jpg").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"none of the 3 images of the train split of voc can be read, the first is .*train_0"):
        open_annotated(AnnotatedDataConfig("voc", str(voc), skip_unreadable=True))
