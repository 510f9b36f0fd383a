"""Targets in image files, from the command line: pairs of domains, the cache, unreadable images, and data that cannot be used."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.config import LabelledDataConfig
from common.data.catalogue import CATALOGUE
from common.data.datasets import load_data, open_data
from common.data.file_images import FileImages
from Downstream.labels import labelled_images
from Downstream.main import main

FAST = ("--train.device=cpu", "--train.threads=1", "--log.tensorboard=false", "--log.progress=false", "--data.workers=0")
IMAGES = ("--data.name=folder", "--data.size=16", "--data.storage=files", "--data.input=unit", "--data.labels=null")
REAL = os.environ.get("LTP_DATA")

_OPENED: list[list[str]] = []


def _hook(event: str, words: tuple[Any, ...]) -> None:
    if event == "open" and _OPENED and str(words[0]).endswith(".jpg"):
        _OPENED[-1].append(str(words[0]))


sys.addaudithook(_hook)


@pytest.fixture
def opened() -> Iterator[list[str]]:
    """The image files that Python opens while the test runs."""
    _OPENED.append([])
    yield _OPENED[-1]
    _OPENED.clear()


def result_of(out: Path, control: str | None = None) -> dict[str, Any]:
    found = [json.loads(file.read_text()) for file in out.glob("Downstream/*/*/result.json")]
    (result,) = [one for one in found if control in (None, one["control"])]
    return result


def test_many_tickets_on_one_cache_open_every_image_once(
    photos: Path, small_search: Path, tmp_path: Path, opened: list[str]
) -> None:
    values, counts = [], []
    for cache in ([], [f"--data.cache={tmp_path / 'cache'}"]):
        out, before = tmp_path / f"runs{len(cache)}", len(opened)
        for round_ in (0, 1, 2):
            ticket = f"--ticket.file={small_search}/round_0{round_}/ticket.safetensors"
            assert main([*FAST, *IMAGES, *cache, f"--data.root={photos}", ticket, f"--out={out}"]) == 0
        found = sorted(out.glob("Downstream/*/*/result.json"))
        values.append({file.relative_to(out): json.loads(file.read_text())["metrics"] for file in found})
        counts.append(len(opened) - before)
    assert values[0] == values[1], "the same runs, with the same results"
    assert len(values[0]) == 3
    every = 65 + 10  # one L2 strength: nothing is chosen, so no validation image is looked at
    assert counts[1] == 2 * every, "numpy opens a file twice"
    assert counts[0] >= 3 * counts[1]


def test_what_cannot_be_read_is_left_out_and_recorded(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root, out = Path(shutil.copytree(photos, tmp_path / "copy")), tmp_path / "runs"
    (root / "train/ant/005.jpg").write_bytes(b"no image")
    words = [*FAST, *IMAGES, "--model.name=pixels", f"--data.root={root}", f"--out={out}"]
    assert main(words) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "train/ant/005.jpg" in line
    shutil.rmtree(out, ignore_errors=True)
    assert main([*words, "--data.skip_unreadable=true"]) == 0
    assert "folder: 1 images cannot be read and are left out" in capsys.readouterr().err
    result = result_of(out)
    assert result["data"]["skipped"] == ["train/ant/005.jpg"]
    assert result["details"]["labels"] == 64 + 22
    (record,) = out.glob("Downstream/*/*/run.json")
    assert json.loads(record.read_text())["data"]["skipped"] == ["train/ant/005.jpg"]
    assert main([*words, "--data.skip_unreadable=true"]) == 0, "done already"


PACS = ("--data.name=domains", "--data.source=photo", "--data.target=sketch", "--data.size=32", "--data.labels=null")


@pytest.mark.data
def test_real_photos_to_sketches_and_imagenette(tmp_path: Path, small_search: Path) -> None:
    if REAL is None or not Path(REAL, "pacs-photo-sketch-mini").is_dir() or not Path(REAL, "imagenette224-mini").is_dir():
        pytest.skip("needs real data: set LTP_DATA to the folder that holds pacs-photo-sketch-mini and imagenette224-mini")
    ticket = f"--ticket.file={small_search}/round_02/ticket.safetensors"
    for name, words, images in (
        ("pacs-photo-sketch-mini", PACS, 56),
        ("imagenette224-mini", ("--data.name=folder", "--data.size=32", "--data.labels=null"), 200),
    ):
        more = ("--data.input=unit", "--data.storage=memory", f"--data.cache={tmp_path / 'cache'}", f"--out={tmp_path / name}")
        assert main([*FAST, *words, *more, f"--data.root={REAL}/{name}", ticket]) == 0
        result = result_of(tmp_path / name)
        assert result["metric"] == "top1"
        assert result["value"] * images == pytest.approx(round(result["value"] * images)), "a share of the test images"
        assert result["flags"] == []
    assert result_of(tmp_path / "pacs-photo-sketch-mini")["data"]["name"] == "domains(photo>sketch)"


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**31), labels=st.integers(2, 50))
def test_no_seed_and_no_number_of_labels_brings_a_test_image_to_training_or_choice(photos: Path, seed: int, labels: int) -> None:
    words: dict[str, Any] = {"name": "folder", "root": str(photos), "size": 16, "storage": "files", "workers": 0}
    config = LabelledDataConfig(**words, labels=labels, validation_labels=min(labels - 1, 10))
    dataset = open_data(config)
    chosen = labelled_images(dataset, config, seed)
    seen = [part for part in (chosen.train, chosen.validation) if part is not None]
    names = {part.name(i) for part in seen if isinstance(part, FileImages) for i in range(len(part))}
    assert len(names) == labels
    assert all(name.startswith(("train/", "validation/")) for name in names)


@pytest.fixture
def refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Return what runs a command line that must be refused: one line, exit code 2, nothing written."""

    def run(*words: str) -> str:
        assert main([*FAST, "--data.size=16", "--data.labels=null", f"--out={tmp_path / 'runs'}", *words]) == 2
        out, err = capsys.readouterr()
        (line,) = err.strip().splitlines()
        assert (out, (tmp_path / "runs").exists()) == ("", False)
        return line

    return run


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--data.name=folder:", "--data.root=PHOTOS"], ["class subset ''", "0-5,8"]),
        (["--data.name=folder:2", "--data.root=PHOTOS"], ["out of range", "0-1"]),
        (["--data.name=folder", "--data.root=PHOTOS/train"], ["train", "test", "val", "one folder per class"]),
        (["--data.name=list", "--data.root=PHOTOS"], ["there is no train.txt", "lines PATH LABEL"]),
        (["--data.name=aircraft", "--data.root=PHOTOS"], ["aircraft", "fgvc-aircraft-2013b/data"]),
        (["--data.name=birdsnap", "--data.root=PHOTOS"], ["2 of its 500 classes", "train/CLASS/*"]),
        (["--data.name=pets", "--data.root=/nowhere"], ["/nowhere", "pets", "oxford-iiit-pet/"]),
        (["--data.name=cars", "--data.root=PHOTOS", "--data.download=true"], ["cars cannot be fetched"]),
        (["--data.name=domains", "--data.root=PHOTOS", "--data.source=train"], ["data.source and data.target", "both"]),
        (["--data.name=domains", "--data.root=PHOTOS"], ["--data.source", "--data.target"]),
        (["--data.name=folder", "--data.root=PHOTOS", "--data.crop=middle"], ["data.crop", "margin", "fit", "square"]),
        (["--data.name=folder", "--data.root=PHOTOS", "--data.size=300", "--data.cache=c"], ["data.cache", "224"]),
    ],
)
def test_data_that_cannot_be_used(words: list[str], named: list[str], refused: Callable[..., str], photos: Path) -> None:
    line = refused(*(word.replace("PHOTOS", str(photos)) for word in words))
    assert all(name in line for name in named), line


def test_the_list_says_where_to_get_every_data_set(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list"]) == 0
    told = capsys.readouterr().out
    for name, entry in CATALOGUE.items():
        assert f"\n  {name} " in told
        assert entry.source in told
        assert entry.layout in told
        assert entry.metric in told
    for address in ("robots.ox.ac.uk/~vgg/data/fgvc-aircraft", "vision.princeton.edu/projects/2010/SUN", "taskcv-2017-public"):
        assert address in told


def test_every_published_target_is_in_the_catalogue() -> None:
    twelve = ["aircraft", "birdsnap", "caltech101", "caltech256", "cars", "cifar10", "cifar100", "dtd", "flowers", "food101"]
    twelve += ["pets", "sun397"]
    classes = [CATALOGUE[name].num_classes for name in twelve]
    assert classes == [100, 500, 101, 257, 196, 10, 100, 47, 102, 101, 37, 397]
    assert load_data("digits").metric == "top1"
