"""Small sets in the layouts of VOC and COCO, and the digit scenes."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from common.data.annotated.config import AnnotatedDataConfig
from common.data.annotated.digit_scenes import load_digit_scenes
from common.data.annotated.sets import AnnotatedSet


@pytest.fixture(scope="session")
def scenes() -> AnnotatedSet:
    """`digit_scenes:6-9`; no test writes there."""
    return load_digit_scenes(AnnotatedDataConfig())


@pytest.fixture
def real_data() -> Path:
    """The folder of real data sets."""
    if "LTP_DATA" not in os.environ:
        pytest.skip("LTP_DATA is not set; it names the folder with real data sets")
    return Path(os.environ["LTP_DATA"])


def save_image(path: Path, height: int, width: int, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (height // 4, width // 4, 3), dtype=np.uint8)
    Image.fromarray(pixels).resize((width, height)).save(path, quality=95)


def voc_xml(name: str, height: int, width: int, objects: list[tuple[str, tuple[float, ...], int]]) -> str:
    items = "".join(
        f"<object><name>{label}</name><difficult>{difficult}</difficult><bndbox>"
        + "".join(f"<{side}>{at}</{side}>" for side, at in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True))
        + "</bndbox></object>"
        for label, box, difficult in objects
    )
    size = f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>"
    return f"<annotation><filename>{name}.jpg</filename>{size}{items}</annotation>"


VOC_OBJECTS: dict[str, list[tuple[str, tuple[float, ...], int]]] = {
    "train_0": [("dog", (1, 1, 20, 10), 0), ("cat", (5, 6, 7, 30), 1)],
    "train_1": [],
    "train_2": [("cat", (30, 20, 48, 41), 0), ("cat", (9, 9, 9, 9), 0), ("dog", (0, 3, 4, 5), 0)],
    "val_0": [("dog", (2, 2, 30, 30), 0)],
    "test_0": [("cat", (10.5, 4, 20, 20), 0)],
}


@pytest.fixture
def voc(tmp_path: Path) -> Path:
    """Five images of 48 x 40 px, of dogs and cats; one box is a point, two reach past the border."""
    base = tmp_path / "voc" / "VOCdevkit" / "VOC2012"
    (base / "Annotations").mkdir(parents=True)
    (base / "ImageSets" / "Main").mkdir(parents=True)
    for seed, (name, objects) in enumerate(VOC_OBJECTS.items()):
        save_image(base / "JPEGImages" / f"{name}.jpg", 40, 48, seed)
        (base / "Annotations" / f"{name}.xml").write_text(voc_xml(name, 40, 48, objects))
    for part in ("train", "val", "test"):
        names = [name for name in VOC_OBJECTS if name.startswith(part)]
        (base / "ImageSets" / "Main" / f"{part}.txt").write_text("\n".join(names) + "\n")
    return tmp_path / "voc"


def coco_content(part: str, count: int, first: int) -> dict[str, Any]:
    """Images of 48 x 40 px with a polygon, a crowd in run lengths, and persons with three keypoints."""
    images = [{"id": first + 3 * at, "file_name": f"{part}_{at}.jpg", "height": 40, "width": 48} for at in range(count)]
    annotations: list[dict[str, Any]] = []
    for image in images[: max(1, count - 1)]:
        triangle = [4.0, 4.0, 24.0, 6.0, 10.0, 30.0]
        square = [30.0, 10.0, 40.0, 10.0, 40.0, 20.0, 30.0, 20.0]
        for category, polygons, box in ((90, [triangle], [4, 4, 20, 26]), (3, [square, triangle], [4, 4, 36, 26])):
            annotations.append(
                {
                    "id": 1000 - len(annotations) - first,
                    "image_id": image["id"],
                    "category_id": category,
                    "bbox": [float(x) for x in box],
                    "segmentation": polygons,
                    "area": 123.5,
                    "iscrowd": 0,
                    "keypoints": [5, 6, 2, 0, 0, 0, 9, 9, 1],
                }
            )
    crowd = {"size": [40, 48], "counts": [80, 40, 1800]}
    annotations[-1] |= {"segmentation": crowd, "iscrowd": 1, "bbox": [2.0, 0.0, 1.0, 40.0], "keypoints": [0] * 9}
    names = ["nose", "left_eye", "right_eye"]
    categories = [{"id": 90, "name": "zebra", "keypoints": names}, {"id": 3, "name": "ant", "keypoints": names}]
    return {"images": images, "annotations": annotations, "categories": categories}


@pytest.fixture
def coco_set(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a set in COCO's format, after a change of its training annotations."""

    def write(
        change: Callable[[dict[str, Any]], object] | None = None, parts: tuple[str, ...] = ("train", "val", "test")
    ) -> Path:
        root = tmp_path / "coco"
        (root / "annotations").mkdir(parents=True)
        for number, part in enumerate(parts):
            content = coco_content(part, 4, 7 + 100 * number)
            for seed, image in enumerate(content["images"]):
                save_image(root / part / image["file_name"], 40, 48, seed)
            if change is not None and part == "train":
                change(content)
            (root / "annotations" / f"instances_{part}.json").write_text(json.dumps(content))
        return root

    return write
