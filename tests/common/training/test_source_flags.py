"""Which sources saw the images, or the labels, of which targets, where images are annotated in several ways."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from common.data.annotated.catalogue import ANNOTATED
from common.data.inputs import InputSpec
from common.training.transfer import source_flags


@dataclass(frozen=True)
class Images:
    name: str
    split_hash: str
    input: InputSpec = ANNOTATED["voc"].input


@pytest.mark.parametrize(
    ("seen", "target", "is_same"),
    [
        (("digits:0-5", "a"), Images("digit_scenes:5-9", "a"), True),
        (("digits:0-5", "a"), Images("digit_scenes:6-9", "a"), False),
        (("voc0712", "a"), Images("voc2012_segmentation", "b"), True),  # its val is part of VOC2012's trainval
        (("voc2012_augmented", "a"), Images("voc2012_segmentation", "b"), True),
        (("coco", "a"), Images("coco_keypoints", "b"), True),
        (("coco", "a"), Images("voc0712", "b"), False),
        (("voc", "a"), Images("voc", "a"), True),
        (("voc", "a"), Images("voc", "b"), False),  # two folders of one's own
        (("label_folder", "a"), Images("label_folder", "b"), False),
        (("voc", "a"), Images("voc0712", "a"), False),
    ],
)
@pytest.mark.parametrize(("objective", "flag"), [("detection", "source_saw_target"), ("simclr", "source_saw_images")])
def test_annotations_of_the_same_images(seen: tuple[str, str], target: Images, is_same: bool, objective: str, flag: str) -> None:
    origin = {"objective": objective, "data": seen[0], "split": seen[1]}
    assert source_flags(origin, target) == ((flag,) if is_same else ())
