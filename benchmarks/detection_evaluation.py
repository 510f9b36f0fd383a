"""What COCO's evaluation of boxes costs: `python -m benchmarks.detection_evaluation [--images N]`.

5,000 images (as COCO's val2017) of 80 classes with 7 objects on average, some of them crowds, and 100 detections each: ours, from
arrays to numbers, against pycocotools, which gets the same lists, and its index, made in its time as well. Their numbers are
compared to 1e-9 before anything is reported.
"""

from __future__ import annotations

import contextlib
import io
import statistics
import sys
from collections.abc import Sequence

import numpy as np

from benchmarks.measure import arguments, interleaved, median_ratio, report
from common.data.annotated.sets import AnnotatedImages, Objects
from common.errors import RunError
from common.metrics.coco import coco_box_metrics, found_as_coco, truth_as_coco
from common.metrics.found_boxes import FoundBoxes
from common.randomness import derive_seed

IMAGES = 5000
BOXES = 100
OBJECTS = 7
CLASSES = 80
NAMES = ["AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large", "AR1", "AR10", "AR100", "AR_small", "AR_medium", "AR_large"]


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; return 0."""
    counts = {"images": (IMAGES, "images that are evaluated")}
    options = arguments("detection_evaluation", __doc__ or "", argv, repeats=2, counts=counts)
    images, found = scenes(options.images)
    numbers: dict[str, dict[str, float]] = {}

    def ours() -> None:
        numbers["ours"] = coco_box_metrics(found, images, CLASSES)

    def theirs() -> None:
        numbers["pycocotools"] = _pycocotools(found, images)

    seconds = interleaved({"ours": ours, "pycocotools": theirs}, options.repeats)
    difference = max(abs(numbers["ours"][name] - numbers["pycocotools"][name]) for name in NAMES)
    if difference > 1e-9:
        raise RunError(f"our numbers and those of pycocotools differ by {difference}, expected at most 1e-9")
    other = {f"coco_evaluation_{name}_seconds": statistics.median(times) for name, times in seconds.items()}
    other |= {"coco_evaluation_images": options.images, "coco_evaluation_difference": difference, "AP": numbers["ours"]["AP"]}
    report({"coco_evaluation": median_ratio(seconds["pycocotools"], seconds["ours"])}, other, options.json)
    return 0


def scenes(count: int) -> tuple[AnnotatedImages, list[FoundBoxes]]:
    """Return images of 640 x 480 px with objects of 8 to 400 px, and detections: half of them near an object of the class."""
    rng = np.random.default_rng(derive_seed(0, "detection_evaluation"))
    objects, found = [], []
    for _ in range(count):
        number = 1 + int(rng.poisson(OBJECTS - 1))
        there, labels = _boxes(rng, number), rng.integers(0, CLASSES, number)
        areas = 0.6 * (there[:, 2:] - there[:, :2]).prod(axis=1)
        objects.append(Objects(there, labels, np.zeros(number, dtype=bool), rng.random(number) < 0.02, areas))
        near = rng.integers(0, number, BOXES // 2)
        sides = np.tile(there[near, 2:] - there[near, :2], 2)
        moved = there[near] + rng.normal(0, 0.1, sides.shape).clip(-0.3, 0.3) * sides
        every = np.concatenate([moved, _boxes(rng, BOXES - len(moved))]).astype(np.float32)
        of_class = np.concatenate([labels[near], rng.integers(0, CLASSES, BOXES - len(moved))])
        found.append(FoundBoxes(every, rng.random(BOXES).astype(np.float32), of_class))
    sizes = np.tile([480, 640], (count, 1))
    names = tuple(str(index) for index in range(count))
    return AnnotatedImages(names, np.arange(count), sizes, _no_pixels, tuple(objects)), found


def _boxes(rng: np.random.Generator, count: int) -> np.ndarray:
    sides = np.exp(rng.uniform(np.log(8), np.log(400), (count, 2)))
    corners = rng.uniform(0, 1, (count, 2)) * (np.array([640, 480]) - sides).clip(min=0)
    return np.concatenate([corners, corners + sides], axis=1).astype(np.float32)


def _no_pixels(index: int) -> np.ndarray:
    return np.zeros((480, 640, 3), dtype=np.uint8)


def _pycocotools(found: Sequence[FoundBoxes], images: AnnotatedImages) -> dict[str, float]:
    """Return the twelve numbers of pycocotools' summary."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        truth, results = COCO(), COCO()
        truth.dataset = truth_as_coco(images.objects or (), CLASSES)
        results.dataset = {**truth.dataset, "annotations": found_as_coco(found)}
        for index in (truth, results):
            index.createIndex()
        evaluation = COCOeval(truth, results, "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return dict(zip(NAMES, evaluation.stats.tolist(), strict=True))


if __name__ == "__main__":
    sys.exit(main())
