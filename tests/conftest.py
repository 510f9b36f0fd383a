"""What tests share: small searches on the embedded digits that take a second or two, and a small folder of image files."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

os.environ.setdefault("OMP_NUM_THREADS", "1")

PARADIGMS = ("SimCLR", "MoCo", "Supervised")
SMALL = (
    "--data.name=digits:0-2",
    "--train.epochs=2",
    "--train.batch_size=64",
    "--train.threads=1",
    "--train.device=cpu",
    "--prune.rounds=3",
    "--prune.epochs=1",
    "--evaluation.retrieval_batch=32",
    "--keep.trained=all",
    "--log.tensorboard=false",
    "--log.progress=false",
)


def run_search(out: Path, *words: str, folder: str = "SimCLR") -> Path:
    """Search with a folder's objective on digits 0 to 2 in this process; return the run directory."""
    main = importlib.import_module(f"{folder}.main").main
    before = set(out.glob(f"{folder}/*/*"))
    assert main([*SMALL, f"--out={out}", *words]) == 0
    (made,) = set(out.glob(f"{folder}/*/*")) - before
    return made


@pytest.fixture(scope="session")
def small_search(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished search of 3 rounds that many tests read; none may write in it."""
    return run_search(tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="session", params=PARADIGMS)
def paradigm(request: pytest.FixtureRequest) -> str:
    """Every folder that searches on a pre-training objective, in turn."""
    return str(request.param)


@pytest.fixture(scope="session")
def paradigm_search(paradigm: str, small_search: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished search of 3 rounds in every paradigm; none may write in it."""
    return small_search if paradigm == "SimCLR" else run_search(tmp_path_factory.mktemp(paradigm), folder=paradigm)


@pytest.fixture(scope="session")
def final_search(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As `small_search`, but a search that never rewinds."""
    return run_search(tmp_path_factory.mktemp("final"), "--rewind.to=final")


@pytest.fixture
def search(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that runs a search of its own in the test's folder."""
    return lambda *words, folder="SimCLR": run_search(tmp_path / "runs", *words, folder=folder)


@pytest.fixture(scope="session")
def small_words() -> tuple[str, ...]:
    """The flags of a small search."""
    return SMALL


ROTATED = 6  # EXIF: the top of the scene is at the right


def photo(height: int, width: int, seed: int) -> Image.Image:
    """Smooth colour fields with some noise, which JPEG keeps, unlike pure noise."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (4, 5, 3), dtype=np.uint8)).resize((width, height), Image.Resampling.BICUBIC)
    noisy = np.asarray(coarse).astype(np.int16) + rng.integers(-6, 7, (height, width, 3))
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))


def save(path: Path, image: Image.Image, kind: int) -> None:
    """Save an image as one of six kinds of file."""
    exif = Image.Exif()
    exif[0x0112] = ROTATED
    if kind == 0:
        image.convert("L").save(path, quality=90)
    elif kind == 1:
        image.convert("CMYK").save(path, quality=95)
    elif kind == 2:
        image.save(path, quality=85, exif=exif)
    elif kind == 3:
        image.save(path, quality=80, progressive=True)
    elif kind == 4:
        image.save(path, "PNG")  # under a JPEG's name, as one file of ImageNet
    else:
        image.save(path, quality=90)


def write_photos(root: Path, counts: dict[str, dict[str, int]]) -> Path:
    """Write PART/CLASS/NNN.jpg, of sizes from 40 to 90 px; every ninth image is of a rare kind."""
    seed = 0
    for part, classes in counts.items():
        for name, count in classes.items():
            (root / part / name).mkdir(parents=True)
            for i in range(count):
                seed += 1
                image = photo(40 + 10 * (seed % 4), 50 + 8 * (seed % 6), seed)
                save(root / part / name / f"{i:03d}.jpg", image, seed // 9 % 6 if seed % 9 == 0 else 5)
    return root


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """65 training, 22 validation and 10 test images of two classes; no test writes there."""
    counts = {"train": {"ant": 40, "bee": 25}, "validation": {"ant": 10, "bee": 12}, "test": {"ant": 4, "bee": 6}}
    return write_photos(tmp_path_factory.mktemp("photos"), counts)


@pytest.fixture
def make_photos(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a folder of the test's own."""
    return lambda **counts: write_photos(tmp_path / "own", counts)
