"""Box metrics of COCO against pycocotools, and by hand."""

from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from common.data.annotated.sets import AnnotatedImages
from common.errors import InputError
from common.metrics.coco import coco_box_metrics, coco_box_scores
from common.metrics.found_boxes import FoundBoxes
from tests.common.metrics.box_scenes import found_of, images_of, objects_of, random_scenes

NAMES = ["AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large", "AR1", "AR10", "AR100", "AR_small", "AR_medium", "AR_large"]


class IgnoresDifficult(COCOeval):
    """pycocotools with VOC's flag: it overwrites "ignore" by "iscrowd", so the flag is set afterwards."""

    def _prepare(self) -> None:
        super()._prepare()
        for objects in self._gts.values():
            for there in objects:
                there["ignore"] = there["ignore"] or there["difficult"]


def pycocotools_scores(found: list[FoundBoxes], images: AnnotatedImages, classes: int) -> tuple[dict[str, float], list[float]]:
    """Return the twelve numbers of its summary, and AP50 of every class (-1: none)."""
    annotations, results = [], []
    for i, there in enumerate(images.objects or ()):
        for j in range(len(there)):
            x, y, right, bottom = (float(edge) for edge in there.boxes[j])
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": i,
                    "category_id": int(there.labels[j]),
                    "bbox": [x, y, right - x, bottom - y],
                    "area": float(there.areas[j]),
                    "iscrowd": int(there.crowd[j]),
                    "difficult": bool(there.difficult[j]),
                }
            )
        for box, score, label in zip(found[i].boxes, found[i].scores, found[i].labels, strict=True):
            x, y, right, bottom = (float(edge) for edge in box)
            result = {"image_id": i, "category_id": int(label), "bbox": [x, y, right - x, bottom - y], "score": float(score)}
            results.append(result)
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = {
            "info": {},
            "images": [{"id": i} for i in range(len(images))],
            "categories": [{"id": k} for k in range(classes)],
            "annotations": annotations,
        }
        truth.createIndex()
        evaluation = IgnoresDifficult(truth, truth.loadRes(results), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    tables = [evaluation.eval["precision"][0, :, k, 0, 2] for k in range(classes)]
    return dict(zip(NAMES, evaluation.stats.tolist(), strict=True)), [float(table.mean()) for table in tables]


@pytest.mark.parametrize("seed", range(3))
def test_scores_equal_pycocotools(seed: int) -> None:
    images, found = random_scenes(seed, 30, 5)
    expected, of_classes = pycocotools_scores(found, images, 7)
    ours = coco_box_scores(found, images, 7)
    assert list(ours.metrics) == NAMES
    assert ours.metrics == pytest.approx(expected, abs=1e-9, rel=0)
    assert 0.05 < ours.metrics["AP"] < 0.95
    assert [-1.0 if ap is None else ap for ap in ours.class_ap50] == pytest.approx(of_classes, abs=1e-9, rel=0)
    assert ours.class_ap50[5:] == (None, None)


def test_more_than_a_hundred_boxes_of_a_class_in_an_image_equal_pycocotools() -> None:
    images, found = random_scenes(5, 3, 1, most=60)
    wild = [found_of(np.tile(f.boxes, (3, 1)), np.tile(f.scores, 3), np.tile(f.labels, 3)) for f in found]
    assert max(len(f) for f in wild) > 100
    expected, _ = pycocotools_scores(wild, images, 1)
    assert coco_box_metrics(wild, images, 1) == pytest.approx(expected, abs=1e-9, rel=0)


@pytest.mark.parametrize("flag", ["difficult", "crowd"])
def test_what_is_flagged_changes_the_score_when_the_flag_is_lost(flag: str) -> None:
    boxes = [[0, 0, 40, 40], [100, 100, 140, 140]]
    found = [found_of(boxes, [0.9, 0.8], [0, 0])]
    with_flag = images_of([objects_of(boxes, [0, 0], **{flag: [False, True]})])
    assert coco_box_metrics(found, with_flag, 1)["AP"] == pytest.approx(1)
    assert coco_box_metrics([found_of(boxes[:1], [0.9], [0])], with_flag, 1)["AP"] == pytest.approx(1)
    without = images_of([objects_of(boxes, [0, 0])])
    assert coco_box_metrics([found_of(boxes[:1], [0.9], [0])], without, 1)["AP"] == pytest.approx(51 / 101)


def test_boxes_in_a_crowd_do_not_count_and_those_by_a_difficult_object_do() -> None:
    """A box in the large one: its IoU with it is .04, but COCO takes the share of the box that lies in a crowd."""
    truth = [[0, 0, 20, 20], [100, 100, 200, 200]]
    found = [found_of([[120, 120, 140, 140], truth[0]], [0.9, 0.8], [0, 0])]
    ap = {}
    for flag in ("difficult", "crowd"):
        ap[flag] = coco_box_metrics(found, images_of([objects_of(truth, [0, 0], **{flag: [False, True]})]), 1)["AP"]
    assert ap == pytest.approx({"crowd": 1, "difficult": 0.5})


def test_sizes_without_objects_are_left_out_and_all_else_is_finite() -> None:
    images = images_of([objects_of([[0, 0, 10, 10]], [1]), objects_of([], [])])
    nothing = [found_of([], [], []), found_of([], [], [])]
    expected = [name for name in NAMES if not name.endswith(("medium", "large"))]
    assert coco_box_metrics(nothing, images, 3) == dict.fromkeys(expected, 0.0)
    scores = coco_box_scores([found_of([[0, 0, 10, 10]], [0.5], [1]), nothing[1]], images, 3)
    assert scores.metrics == pytest.approx(dict.fromkeys(expected, 1.0))
    assert scores.class_ap50 == (None, pytest.approx(1), None)


def test_nothing_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    coco_box_metrics([found_of([], [], [])], images_of([objects_of([[0, 0, 10, 10]], [0])]), 1)
    assert capsys.readouterr() == ("", "")


def test_without_an_object_that_counts_no_score_is_defined() -> None:
    for there in (objects_of([], []), objects_of([[0, 0, 9, 9]], [0], difficult=[True])):
        with pytest.raises(InputError, match=r"none of the 1 images has an object that counts"):
            coco_box_metrics([found_of([], [], [])], images_of([there]), 1)
