"""What the tests of segmentation share: a folder of scenes with label maps, and command lines that take a second."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from common.data.annotated.catalogue import open_annotated
from common.data.annotated.config import AnnotatedDataConfig
from Segmentation.main import main

FAST = (
    "--data.name=label_folder", "--data.size=[64]", "--data.input=unit", "--data.workers=0", "--train.device=cpu",
    "--train.threads=1", "--train.epochs=1", "--train.batch_size=4", "--decoder.width=8", "--log.tensorboard=false",
    "--log.progress=false", "--evaluation.draw=0", "--optim.warmup=0it",
)  # fmt: skip
COUNTS = {"train": 12, "validation": 4, "test": 5}
CLASSES = ("background", "6", "7", "8", "9")


def write_scenes(root: Path, counts: dict[str, int] = COUNTS) -> Path:
    """Write scenes of digits 6 to 9 as a folder of images and label maps."""
    scenes = open_annotated(AnnotatedDataConfig("digit_scenes:6-9"))
    for split, count in counts.items():
        images = scenes.split(split)
        assert images.read_labels is not None
        part = root / ("val" if split == "validation" else split)
        for folder in ("images", "labels"):
            (part / folder).mkdir(parents=True)
        for i in range(count):
            Image.fromarray(images.read(i)).save(part / f"images/{split}{i}.jpg", quality=95)
            Image.fromarray(images.read_labels(i)).save(part / f"labels/{split}{i}.png")
    (root / "classes.txt").write_text("\n".join(CLASSES) + "\n")
    return root


@pytest.fixture(scope="session")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 training, 4 validation and 5 test scenes; no test writes there."""
    return write_scenes(tmp_path_factory.mktemp("scenes"))


Segment = Callable[..., tuple[Path, dict[str, Any]]]


@pytest.fixture
def segment(tmp_path: Path, scenes: Path) -> Segment:
    """Return a function that runs Segmentation as its words say; it returns run directory and result."""

    def run(*words: str, out: str = "runs") -> tuple[Path, dict[str, Any]]:
        folder = tmp_path / out
        before = set(folder.glob("Segmentation/*/*"))
        assert main([*FAST, f"--data.root={scenes}", f"--out={folder}", *words]) == 0
        (made,) = set(folder.glob("Segmentation/*/*")) - before
        return made, json.loads((made / "result.json").read_text())

    return run
