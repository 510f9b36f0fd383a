"""Box metrics of VOC: an example by hand, and a loop over detections as the development kit has it."""

from __future__ import annotations

import numpy as np
import pytest

from common.data.annotated.sets import AnnotatedImages
from common.metrics.found_boxes import FoundBoxes
from common.metrics.voc import voc_box_metrics, voc_box_scores
from tests.common.metrics.box_scenes import found_of, images_of, objects_of, random_scenes

FAR = [300, 300, 310, 310]


def iou(a: np.ndarray, b: np.ndarray) -> float:
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    inside = max(width, 0.0) * max(height, 0.0)
    return inside / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inside)


def naive_curve(
    found: list[FoundBoxes], images: AnnotatedImages, label: int, threshold: float
) -> tuple[list[tuple[int, int]], int]:
    """Return (right, wrong) so far after each detection, and how many objects count."""
    claimed, total = set(), 0
    for there in images.objects or ():
        total += sum(1 for j in range(len(there)) if there.labels[j] == label and there.trains[j])
    ranked = [(-float(f.scores[d]), i, d) for i, f in enumerate(found) for d in range(len(f)) if f.labels[d] == label]
    right = wrong = 0
    curve = []
    for _, i, d in sorted(ranked):
        there = (images.objects or ())[i]
        best, nearest = -1.0, -1
        for j in range(len(there)):
            overlap = iou(found[i].boxes[d].astype(float), there.boxes[j].astype(float))
            if there.labels[j] == label and overlap > best:
                best, nearest = overlap, j
        if best >= threshold:
            if there.trains[nearest]:
                if (i, nearest) in claimed:
                    wrong += 1
                else:
                    right += 1
                    claimed.add((i, nearest))
        else:
            wrong += 1
        curve.append((right, wrong))
    return curve, total


def naive_ap(curve: list[tuple[int, int]], total: int) -> tuple[float, float]:
    """Return 11-point and all-point AP."""
    points = [(r / total, r / (r + w)) for r, w in curve if r + w]
    eleven = sum(max([p for recall, p in points if recall >= level / 10 - 1e-12], default=0.0) for level in range(11)) / 11
    area, before = 0.0, 0.0
    for recall in sorted({recall for recall, _ in points}):
        area += (recall - before) * max(p for other, p in points if other >= recall)
        before = recall
    return eleven, area


@pytest.mark.parametrize("seed", range(3))
def test_scores_equal_a_loop_over_detections(seed: int) -> None:
    images, found = random_scenes(seed, 25, 4)
    aps = np.array([[naive_ap(*naive_curve(found, images, label, at / 100)) for at in range(50, 100, 5)] for label in range(4)])
    expected = {}
    for i, name in enumerate(("VOC07", "VOC")):
        expected[f"{name}_AP"] = aps[:, :, i].mean()
        expected[f"{name}_AP50"] = aps[:, 0, i].mean()
        expected[f"{name}_AP75"] = aps[:, 5, i].mean()
    scores = voc_box_scores(found, images, 6)
    assert scores.metrics == pytest.approx(expected, abs=1e-12)
    assert 0.05 < scores.metrics["VOC_AP"] < scores.metrics["VOC_AP50"] < 0.95
    assert scores.class_ap50[:4] == pytest.approx(tuple(aps[:, 0, 1]), abs=1e-12)
    assert scores.class_ap50[4:] == (None, None)


def test_an_example_by_hand() -> None:
    """Image 0 has objects A and B and a difficult D, image 1 has C: 3 objects that count. By score:

    .9 on A, IoU 1             right   1 of 3 found, precision 1/1
    .8 on A again              wrong                           1/2
    .7 on D                    ignored
    .6 far from all            wrong                           1/3
    .5 on B, IoU 40/60 = 2/3   right   2 of 3                  2/4
    .4 on D again              ignored
    C is missed.

    Highest precision at recall up to 1/3: 1; up to 2/3: 1/2; above: 0.
    11 points: recall 0, .1, .2, .3 give 1; .4, .5, .6 give 1/2; .7 to 1 give 0: 5.5 / 11 = .5. Area: 1/3 * 1 + 1/3 * 1/2 = .5.
    At IoU .75 the box on B is wrong too: 4 / 11, and 1/3. B is right at .50, .55, .60, .65 of the ten thresholds.
    """
    a, b, d, c = [0, 0, 10, 10], [50, 0, 60, 5], [100, 0, 110, 10], [0, 0, 20, 20]
    b_found = [52, 0, 62, 5]  # 8 of 10 columns in common: 40 / (50 + 50 - 40)
    images = images_of([objects_of([a, b, d], [0, 0, 0], difficult=[False, False, True]), objects_of([c], [0])])
    found = [found_of([d, a, a, d, FAR, b_found], [0.7, 0.9, 0.8, 0.4, 0.6, 0.5], [0] * 6), found_of([], [], [])]
    assert voc_box_metrics(found, images, 1) == pytest.approx(
        {
            "VOC07_AP50": 0.5,
            "VOC_AP50": 0.5,
            "VOC07_AP75": 4 / 11,
            "VOC_AP75": 1 / 3,
            "VOC07_AP": (4 * 0.5 + 6 * 4 / 11) / 10,
            "VOC_AP": (4 * 0.5 + 6 / 3) / 10,
        }
    )


def test_an_overlap_of_the_threshold_itself_is_right() -> None:
    images = images_of([objects_of([[0, 0, 10, 10]], [0])])
    found = [found_of([[0, 0, 10, 5]], [0.5], [0])]
    assert voc_box_metrics(found, images, 1)["VOC_AP50"] == 1
    assert voc_box_metrics([found_of([[0, 0, 10, 4.99]], [0.5], [0])], images, 1)["VOC_AP50"] == 0


def test_recall_of_three_in_ten_reaches_the_level_of_three_tenths() -> None:
    """Levels 0, .1, .2, .3 of 11; in floating point .3 is less than 3 * .1."""
    boxes = [[20 * i, 0, 20 * i + 10, 10] for i in range(10)]
    images = images_of([objects_of(boxes, [0] * 10)])
    assert voc_box_metrics([found_of(boxes[:3], [0.9, 0.8, 0.7], [0] * 3)], images, 1)["VOC07_AP50"] == pytest.approx(4 / 11)


def test_the_mean_is_over_classes_that_have_an_object_which_counts() -> None:
    box = [0, 0, 10, 10]
    images = images_of([objects_of([box, FAR], [0, 1], difficult=[False, True])])
    found = [found_of([box, FAR, FAR], [0.9, 0.8, 0.7], [0, 1, 2])]
    scores = voc_box_scores(found, images, 3)
    assert set(scores.metrics.values()) == {1.0}
    assert scores.class_ap50 == (1.0, None, None)


def test_no_detections_score_zero() -> None:
    images = images_of([objects_of([FAR], [0]), objects_of([], [])])
    metrics = voc_box_metrics([found_of([], [], [])] * 2, images, 2)
    assert set(metrics.values()) == {0.0}
    assert len(metrics) == 6
