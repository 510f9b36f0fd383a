"""The COCO reader against pycocotools, on small copies of the layouts and on real images."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as run_lengths
from pycocotools.coco import COCO

from common.data.annotated.catalogue import open_annotated
from common.data.annotated.config import AnnotatedDataConfig
from common.data.annotated.sets import AnnotatedImages, AnnotatedSet
from common.errors import InputError


def compare(dataset: AnnotatedSet, splits: tuple[AnnotatedImages, ...], file: Path, *, keypoints: bool = False) -> int:
    """Compare all objects with pycocotools'; return how many there are."""
    coco, seen = COCO(str(file)), 0
    assert sorted(int(id) for split in splits for id in split.ids) == sorted(coco.getImgIds())
    for split in splits:
        assert split.objects is not None
        for id, name, objects in zip(split.ids.tolist(), split.names, split.objects, strict=True):
            image = coco.loadImgs([id])[0]
            assert name.rpartition("/")[2] == image["file_name"]
            kept = coco.loadAnns(coco.getAnnIds(imgIds=[id]))
            assert len(kept) == len(objects)
            for place, one in enumerate(kept):
                seen += 1
                x, y, width, height = one["bbox"]
                np.testing.assert_allclose(objects.boxes[place], [x, y, x + width, y + height], atol=1e-3)
                assert dataset.category_ids[objects.labels[place]] == one["category_id"]
                assert objects.crowd[place] == one["iscrowd"]
                assert objects.areas[place] == pytest.approx(one["area"], rel=1e-5)
                assert objects.masks is not None
                assert (run_lengths.decode(objects.masks[place]) == coco.annToMask(one)).all()
                if keypoints:
                    assert objects.keypoints is not None
                    assert objects.keypoints[place].ravel().tolist() == one["keypoints"]
    return seen


def test_a_set_of_one_s_own(coco_set: Callable[..., Path]) -> None:
    root = coco_set()
    dataset = open_annotated(AnnotatedDataConfig("coco_json", str(root)))
    assert dataset.classes == ("ant", "zebra")
    assert dataset.category_ids == (3, 90)
    assert dataset.keypoint_swaps == ((1, 2),)
    assert dataset.mended == {}
    for split, part in (("train", "train"), ("validation", "val"), ("test", "test")):
        file = root / "annotations" / f"instances_{part}.json"
        assert compare(dataset, (dataset.split(split),), file, keypoints=True) == 6
    assert dataset.train.read(0).shape == (40, 48, 3)
    assert dataset.train.objects is not None
    assert sum(one.crowd.sum() for one in dataset.train.objects) == 1
    assert len(dataset.train.objects[3]) == 0
    given = open_annotated(AnnotatedDataConfig("coco_json", str(root), classes=("zebra", "ant")))
    assert given.category_ids == (90, 3)


@pytest.mark.data
def test_coco_2017_itself(real_data: Path) -> None:
    root = real_data / "coco-mini"
    dataset = open_annotated(AnnotatedDataConfig("coco", str(root)))
    assert len(dataset.classes) == 80
    assert dataset.category_ids[-1] == 90
    annotations = root / "annotations"
    train = (dataset.train, dataset.split("validation"))
    assert [len(split) for split in train] == [76, 4]
    assert compare(dataset, train, annotations / "instances_train2017.json") == 739
    assert compare(dataset, (dataset.split("test"),), annotations / "instances_val2017.json") == 624
    assert dataset.split("test").read(0).shape[:2] == tuple(dataset.split("test").sizes[0])
    persons = open_annotated(AnnotatedDataConfig("coco_keypoints", str(root)))
    assert persons.classes == ("person",)
    assert len(persons.keypoint_swaps) == 8
    compare(persons, (persons.split("test"),), annotations / "person_keypoints_val2017.json", keypoints=True)


@pytest.mark.data
def test_real_blood_cells_as_json_and_as_xml(real_data: Path) -> None:
    root = str(real_data / "bccd")
    by_json, by_xml = (open_annotated(AnnotatedDataConfig(name, root)) for name in ("coco_json", "voc"))
    assert by_json.classes == by_xml.classes
    for split in ("train", "validation", "test"):
        first, second = by_json.split(split), by_xml.split(split)
        assert first.objects is not None
        assert second.objects is not None
        objects = dict(zip(second.names, second.objects, strict=True))
        for name, one in zip(first.names, first.objects, strict=True):
            # VOC counts from 1: the XML's reader has the upper left corner one pixel further out.
            outer = (one.boxes - [1, 1, 0, 0]).clip(0)
            assert sorted(map(tuple, outer)) == sorted(map(tuple, objects[name].boxes))


def test_boxes_past_the_border_and_without_area(coco_set: Callable[..., Path]) -> None:
    def change(content: dict[str, Any]) -> None:
        content["annotations"][0]["bbox"] = [-5, 10, 20, 100]
        content["annotations"][1]["bbox"] = [5, 10, 0, 10]
        content["annotations"][2]["bbox"] = [48, 10, 5, 10]

    dataset = open_annotated(AnnotatedDataConfig("coco_json", str(coco_set(change))))
    assert dataset.mended == {"boxes_clipped": 1, "boxes_without_area": 2}
    assert dataset.train.objects is not None
    assert dataset.train.objects[0].boxes.tolist() == [[0, 10, 15, 40]]
    assert len(dataset.train.objects[0].masks or ()) == 1
    assert len(dataset.train.objects[1]) == 1


def test_masks_that_some_lack_are_left_out_and_counted(coco_set: Callable[..., Path]) -> None:
    dataset = open_annotated(
        AnnotatedDataConfig("coco_json", str(coco_set(lambda content: content["annotations"][0].update(segmentation=[]))))
    )
    assert dataset.mended == {"segmentation_left_out": 5}
    assert dataset.train.objects is not None
    assert dataset.train.objects[0].masks is None


def test_without_test_file_the_others_are_divided(coco_set: Callable[..., Path]) -> None:
    def change(content: dict[str, Any]) -> None:
        content["images"] += [{**content["images"][0], "id": 5000 + at, "file_name": f"more_{at}.jpg"} for at in range(6)]

    root = coco_set(change, ("train", "val"))
    for at in range(6):
        (root / "train" / f"more_{at}.jpg").write_bytes((root / "train/train_0.jpg").read_bytes())
    dataset = open_annotated(AnnotatedDataConfig("coco_json", str(root)))
    assert {name: len(split) for name, split in dataset.splits.items()} == {"train": 9, "validation": 1, "test": 4}


def first(key: str, at: int = 0, **values: Any) -> Callable[[dict[str, Any]], object]:
    return lambda content: content[key][at].update(values)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda content: content.pop("categories"), r"train\.json: 'categories' is missing or no list"),
        (lambda content: content["images"].append(content["images"][0]), r"train\.json: two items have the image id 7"),
        (lambda content: content["annotations"].append(content["annotations"][0]), r"two items have the annotation id 993"),
        (lambda content: content["categories"].append({"id": 3, "name": "bee"}), r"two items have the category id 3"),
        (lambda content: content["categories"].append({"id": 4, "name": "ant"}), r"two categories are called 'ant'"),
        (lambda content: content["images"].clear() or content["annotations"].clear(), r"train\.json: there is no image"),
        (lambda content: content["images"][0].pop("height"), r"image 7 has the height None, expected an integer"),
        (lambda content: content["annotations"][0].pop("bbox"), r"annotation 993 has the bbox None, expected a list"),
        (lambda content: content["images"][0].pop("id"), r"the id of one image is None"),
        (first("annotations", bbox=[1, 2, 3]), r"annotation 993 has the bbox \[1, 2, 3\]"),
        (first("annotations", image_id=1), r"annotation 993 has the image_id 1, which is not in the file"),
        (first("annotations", category_id=1), r"annotation 993 has the category_id 1, which is not in the file"),
        (first("annotations", segmentation=[[1, 2, 3]]), r"annotation 993 has a polygon"),
        (first("annotations", segmentation={"size": [1, 2], "counts": [2]}), r"annotation 993 has run lengths of size"),
        (first("images", 1, file_name="absent.jpg"), r"train/absent\.jpg: there is no such image"),
        (first("images", file_name="absent.jpg"), r"there is no image absent\.jpg"),
        (first("annotations", keypoints=[1, 2, 2]), r"different numbers of keypoints"),
        (lambda content: content["images"].append({**content["images"][0], "id": 77}), r"is in the train split twice"),
        (first("annotations", keypoints=7), r"annotation 993 has the keypoints 7, expected a list"),
        (first("annotations", area=float("nan")), r"annotation 993 has the area nan, expected pixels >= 0"),
        (first("annotations", area=-1), r"annotation 993 has the area -1"),
        (first("categories", keypoints=["left_eye", None]), r"has the keypoints \['left_eye', None\], expected a list of names"),
        (first("images", height=0), r"image 7 is 48 x 0, expected pixels >= 1"),
        (first("images", width=2**70), r"image 7 is \d+ x 40, expected pixels"),
    ],
)
def test_bad_input_is_one_clear_line(coco_set: Callable[..., Path], spoil: Callable[[Any], object], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        open_annotated(AnnotatedDataConfig("coco_json", str(coco_set(spoil))))
    assert "\n" not in str(caught.value)


def test_classes_that_are_not_in_the_list_and_damaged_files(coco_set: Callable[..., Path], tmp_path: Path) -> None:
    root = coco_set()
    with pytest.raises(InputError, match=r"annotation .* is of class 'ant', which is not in the list; expected one of zebra"):
        open_annotated(AnnotatedDataConfig("coco_json", str(root), classes=("zebra",)))
    with pytest.raises(InputError, match=r"no category 'emu'; it has ant, zebra"):
        open_annotated(AnnotatedDataConfig("coco_json", str(root), classes=("ant", "zebra", "emu")))
    file = root / "annotations/instances_train.json"
    file.write_text(json.dumps(json.loads(file.read_text()))[:-30])
    with pytest.raises(InputError, match=r"instances_train\.json is not a JSON file"):
        open_annotated(AnnotatedDataConfig("coco_json", str(root)))
    file.unlink()
    with pytest.raises(InputError, match="has no train annotations"):
        open_annotated(AnnotatedDataConfig("coco_json", str(root)))
