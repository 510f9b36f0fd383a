from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from common.data.annotated import cityscapes_polygons, colour_masks
from common.data.annotated.sets import IGNORE


def annotation(root: Path, objects: list[dict[str, object]], name: str = "ulm_0") -> Path:
    path = root / f"gtFine/train/ulm/{name}_gtFine_polygons.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"imgHeight": 6, "imgWidth": 10, "objects": objects}), encoding="utf-8")
    return path


def box(label: str, x1: int, y1: int, x2: int, y2: int, **more: object) -> dict[str, object]:
    """A rectangle of whole pixels, its last row and column inside, as PIL fills polygons."""
    return {"label": label, "polygon": [[x1, y1], [x2, y1], [x2, y2], [x1, y2]], **more}


def test_polygons_are_drawn_in_order(tmp_path: Path) -> None:
    objects = [
        box("road", 0, 0, 9, 3),
        box("car", 2, 1, 4, 2),
        box("bicyclegroup", 6, 0, 7, 0),
        box("license plate", 3, 2, 4, 2),
        box("building", 0, 0, 9, 5, deleted=1),
    ]
    path = annotation(tmp_path, objects)
    assert cityscapes_polygons.main([str(tmp_path)]) == 0
    with Image.open(path.with_name("ulm_0_gtFine_labelIds.png")) as image:
        found = np.asarray(image)
    wanted = np.zeros((6, 10), dtype=np.uint8)
    wanted[:4] = 7
    wanted[1:3, 2:5] = 26
    wanted[0, 6:8] = 33
    assert np.array_equal(found, wanted)


def test_label_maps_that_are_there_are_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = annotation(tmp_path, [box("road", 0, 0, 9, 3)])
    out = path.with_name("ulm_0_gtFine_labelIds.png")
    out.write_bytes(b"kept")
    assert cityscapes_polygons.main([str(tmp_path)]) == 0
    assert out.read_bytes() == b"kept"
    assert "1 were there already" in capsys.readouterr().out
    assert cityscapes_polygons.main([str(tmp_path), "--again"]) == 0
    assert out.read_bytes() != b"kept"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"imgHeight": 6, "imgWidth": 10, "objects": [{"label": "cat", "polygon": []}]}', ["label 'cat'", "road"]),
        ('{"imgHeight": 6, "objects": []}', ["no annotation of Cityscapes"]),
        ("[", ["not a JSON file"]),
    ],
)
def test_bad_polygons_are_one_line(content: str, words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    annotation(tmp_path, []).write_text(content, encoding="utf-8")
    assert cityscapes_polygons.main([str(tmp_path)]) == 2
    message = capsys.readouterr().err.strip()
    assert message.count("\n") == 0
    assert all(word in message for word in ["ulm_0_gtFine_polygons.json", *words])


def test_no_polygons_at_all(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cityscapes_polygons.main([str(tmp_path)]) == 2
    assert "has no gtFine" in capsys.readouterr().err


def test_colours_become_classes(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 3, (5, 7))
    colours = np.array([[128, 0, 0], [0, 128, 64], [9, 9, 9]], dtype=np.uint8)
    (tmp_path / "in").mkdir()
    Image.fromarray(colours[values]).save(tmp_path / "in/a.bmp")
    words = [str(tmp_path / "in"), str(tmp_path / "out"), "--colours", "128,0,0", "0,128,64", "--ignore", "9,9,9"]
    assert colour_masks.main(words) == 0
    with Image.open(tmp_path / "out/a.png") as image:
        assert image.mode == "L"
        assert np.array_equal(np.asarray(image), np.where(values == 2, IGNORE, values))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--colours", "128,0,0", "0,128,64"], ["a.bmp", "the colour 9,9,9 is no class's"]),
        (["--colours", "red"], ["'red'", "R,G,B"]),
        (["--colours", "1,1,1", "1,1,1"], ["different colours"]),
    ],
)
def test_bad_colours_are_one_line(words: list[str], told: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in").mkdir()
    Image.fromarray(np.full((2, 2, 3), 9, dtype=np.uint8)).save(tmp_path / "in/a.bmp")
    assert colour_masks.main([str(tmp_path / "in"), str(tmp_path / "out"), *words]) == 2
    message = capsys.readouterr().err.strip()
    assert message.count("\n") == 0
    assert all(word in message for word in told), message
