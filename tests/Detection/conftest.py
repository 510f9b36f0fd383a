"""What the tests of detection share: a folder of scenes in VOC's layout, and command lines that take a second."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from common.data.annotated.catalogue import open_annotated
from common.data.annotated.config import AnnotatedDataConfig
from Detection.main import main

FAST = (
    "--data.name=voc", "--data.size=[64]", "--data.input=unit", "--data.workers=0", "--train.device=cpu", "--train.threads=1",
    "--train.epochs=1", "--train.batch_size=4", "--yolo.channels=8", "--log.tensorboard=false", "--log.progress=false",
    "--evaluation.draw=0", "--optim.warmup=0it",
)  # fmt: skip
COUNTS = {"train": 12, "validation": 4, "test": 5}
LISTS = {"train": "train", "validation": "val", "test": "test"}


def xml_of(name: str, size: tuple[int, int], objects: list[tuple[str, tuple[int, ...]]]) -> str:
    """VOC's annotation of an image: pixels counted from 1, maxima inside."""
    found = "".join(
        f"<object><name>{label}</name><difficult>0</difficult><bndbox><xmin>{x1 + 1}</xmin><ymin>{y1 + 1}</ymin><xmax>{x2}</xmax>"
        f"<ymax>{y2}</ymax></bndbox></object>"
        for label, (x1, y1, x2, y2) in objects
    )
    height, width = size
    return (
        f"<annotation><filename>{name}.png</filename><size><width>{width}</width><height>{height}</height><depth>3</depth></size>"
        f"{found}</annotation>"
    )


def write_voc(root: Path, counts: dict[str, int] = COUNTS) -> Path:
    """Write scenes of digits 6 to 9 as a folder in VOC's layout."""
    year = root / "VOCdevkit/VOC2012"
    for folder in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (year / folder).mkdir(parents=True)
    scenes = open_annotated(AnnotatedDataConfig("digit_scenes:6-9"))
    for split, count in counts.items():
        images = scenes.split(split)
        assert images.objects is not None
        names = [f"{split}{i}" for i in range(count)]
        for i, name in enumerate(names):
            Image.fromarray(images.read(i)).save(year / f"JPEGImages/{name}.jpg", quality=95)
            there = images.objects[i]
            boxes = [tuple(int(side) for side in box) for box in there.boxes.round()]
            objects = [(f"digit{scenes.classes[label]}", box) for label, box in zip(there.labels, boxes, strict=True)]
            (year / f"Annotations/{name}.xml").write_text(xml_of(name, (64, 64), objects))
        (year / f"ImageSets/Main/{LISTS[split]}.txt").write_text("\n".join(names) + "\n")
    return root


@pytest.fixture(scope="session")
def voc(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 training, 4 validation and 5 test scenes; no test writes there."""
    return write_voc(tmp_path_factory.mktemp("voc"))


Detect = Callable[..., tuple[Path, dict[str, Any]]]


@pytest.fixture
def detect(tmp_path: Path, voc: Path) -> Detect:
    """Return a function that runs Detection as its words say; it returns run directory and result."""

    def run(*words: str, out: str = "runs") -> tuple[Path, dict[str, Any]]:
        folder = tmp_path / out
        before = set(folder.glob("Detection/*/*"))
        assert main([*FAST, f"--data.root={voc}", f"--out={folder}", *words]) == 0
        (made,) = set(folder.glob("Detection/*/*")) - before
        return made, json.loads((made / "result.json").read_text())

    return run
