"""Tiny copies of published data sets, in their real layouts: every class, a few images each, of a few pixels.

Each function writes a copy and returns what is in it: for each published part, (path, number of the class) in the part's order.
"""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat

Parts = dict[str, list[tuple[str, int]]]


def _jpegs() -> list[bytes]:
    rng = np.random.default_rng(0)
    files = []
    for number in range(30):
        file = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (9 + number % 4, 11, 3), dtype=np.uint8)).save(file, "JPEG")
        files.append(file.getvalue())
    return files


JPEGS = _jpegs()


def put(root: Path, path: str, number: int) -> str:
    """Write an image; its size in bytes depends on its number."""
    file = f"{root}/{path}"
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(file))
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT)
    os.write(descriptor, JPEGS[number % len(JPEGS)])
    os.close(descriptor)
    return path


def lines(file: Path, rows: list[str]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(f"{row}\n" for row in rows))


def aircraft(root: Path) -> Parts:
    data, parts, number = root / "fgvc-aircraft-2013b/data", Parts(), 0
    variants = sorted(f"Maker {i // 7} {i:03d}-100" for i in range(100))
    lines(data / "variants.txt", variants)
    for part, count in (("train", 3), ("val", 2), ("test", 1)):
        rows, parts[part] = [], []
        for i in range(100 * count):
            label, number = (i * 37) % 100, number + 1
            rows.append(f"{1000000 + number} {variants[label]}")
            path = f"fgvc-aircraft-2013b/data/images/{1000000 + number}.jpg"
            parts[part].append((put(root, path, number), label))
        lines(data / f"images_variant_{part}.txt", rows)
    return parts


def birdsnap(root: Path) -> Parts:
    names = [f"Bird_{i:03d}" for i in range(500)]
    return {
        part: [(put(root, f"{part}/{name}/{i}.jpg", 3 * i + label), label) for label, name in enumerate(names) for i in range(n)]
        for part, n in (("train", 5), ("test", 1))
    }


def _caltech(root: Path, folder: str, classes: list[str], first: int, names: str) -> Parts:
    parts: Parts = {"train": [], "test": []}
    for label, one in enumerate(classes):
        for i in range(1, first + 2 + label % 2):
            path = put(root, f"{folder}/{one}/{names.format(label + 1, i)}", i)
            parts["train" if i <= first else "test"].append((path, label))
    return parts


def caltech101(root: Path) -> Parts:
    folder = "caltech101/101_ObjectCategories"
    put(root, f"{folder}/BACKGROUND_Google/image_0001.jpg", 0)
    (root / folder / "BACKGROUND_Google/tmp").write_bytes(b"")
    classes = sorted(["Faces", "Leopards", *(f"thing_{i:02d}" for i in range(99))])
    return _caltech(root, folder, classes, 30, "image_{1:04d}.jpg")


def caltech256(root: Path) -> Parts:
    folder = "caltech256/256_ObjectCategories"
    classes = [*(f"{i:03d}.thing" for i in range(1, 257)), "257.clutter"]
    parts = _caltech(root, folder, classes, 60, "{0:03d}_{1:04d}.jpg")
    (root / folder / "198.thing/RENAME2").write_text("a stray file, as the archive has")
    (root / folder / "056.thing/greg").mkdir()
    return parts


def cars(root: Path) -> Parts:
    base, parts = root / "stanford_cars", Parts()
    (base / "devkit").mkdir(parents=True)
    names = np.array([f"Make Model {i} 2012" for i in range(196)], dtype=object)
    savemat(base / "devkit/cars_meta.mat", {"class_names": names})
    for part, count, file in (("train", 5, "devkit/cars_train_annos.mat"), ("test", 1, "cars_test_annos_withlabels.mat")):
        rows = [(f"{i + 1:05d}.jpg", (i * 5) % 196) for i in range(196 * count)]
        found = np.zeros((1, len(rows)), dtype=[("bbox_x1", object), ("class", object), ("fname", object)])
        for i, (name, label) in enumerate(rows):
            found[0, i] = (1, label + 1, name)
        savemat(base / file, {"annotations": found})
        parts[part] = [(put(root, f"stanford_cars/cars_{part}/{name}", i), label) for i, (name, label) in enumerate(rows)]
    return parts


def dtd(root: Path) -> Parts:
    classes, parts = [f"texture{i:02d}" for i in range(47)], Parts()
    for n, part in enumerate(("train", "val", "test")):
        rows = [f"{one}/{one}_{n}{i:03d}.jpg" for one in classes for i in range((3, 2, 2)[n])]
        for partition in (1, 2):
            lines(root / f"dtd/dtd/labels/{part}{partition}.txt", rows if partition == 1 else rows[::-1])
        parts[part] = [
            (put(root, f"dtd/dtd/images/{row}", i + n), classes.index(row.partition("/")[0])) for i, row in enumerate(rows)
        ]
    return parts


def flowers(root: Path) -> Parts:
    """102 classes of 6 images; as published, `setid` names images from 1 and `imagelabels` classes from 1."""
    labels, order = np.arange(612) % 102, np.random.default_rng(0).permutation(612)
    images = order[labels[order].argsort(kind="stable")].reshape(102, 6) + 1
    ids = {"train": images[:, :3].T.ravel(), "val": images[:, 3:5].T.ravel(), "test": images[:, 5]}
    base = root / "flowers-102"
    base.mkdir(parents=True)
    savemat(base / "imagelabels.mat", {"labels": (labels + 1)[None].astype(np.uint8)})
    savemat(base / "setid.mat", {"trnid": ids["train"][None], "valid": ids["val"][None], "tstid": ids["test"][None]})
    for i in range(612):
        put(root, f"flowers-102/jpg/image_{i + 1:05d}.jpg", i)
    return {part: [(f"flowers-102/jpg/image_{i:05d}.jpg", int(labels[i - 1])) for i in found] for part, found in ids.items()}


def food101(root: Path) -> Parts:
    classes, parts = [f"dish_{i:03d}" for i in range(101)], Parts()
    for part, count in (("train", 5), ("test", 1)):
        meta = {one: [f"{one}/{part}{i:05d}" for i in range(count)] for one in classes[::-1]}
        (root / "food-101/meta").mkdir(parents=True, exist_ok=True)
        (root / f"food-101/meta/{part}.json").write_text(json.dumps(meta))
        parts[part] = [
            (put(root, f"food-101/images/{image}.jpg", i), classes.index(one))
            for one in meta
            for i, image in enumerate(meta[one])
        ]
    return parts


def pets(root: Path) -> Parts:
    breeds, parts = [f"Breed_{i:02d}" if i % 3 else f"small_breed_{i:02d}" for i in range(37)], Parts()
    for part, file, numbers in (("train", "trainval.txt", range(1, 6)), ("test", "test.txt", range(6, 8))):
        rows = [(f"{breed}_{n}", label) for n in numbers for label, breed in enumerate(breeds)]
        lines(root / f"oxford-iiit-pet/annotations/{file}", [f"{name} {label + 1} {1 + label % 2} 3" for name, label in rows])
        parts[part] = [(put(root, f"oxford-iiit-pet/images/{name}.jpg", i), label) for i, (name, label) in enumerate(rows)]
    return parts


def sun397(root: Path) -> Parts:
    """Scenes below the folder of their letter, some of them divided further; images in no list belong to no split."""
    scenes = sorted(f"/{'abc'[i % 3]}/{'abc'[i % 3]}cene_{i:03d}{'/indoor' if i % 5 == 0 else ''}" for i in range(397))
    lines(root / "SUN397/ClassName.txt", scenes)
    parts: Parts = {}
    for part, file, count in (("train", "Training_01.txt", 5), ("test", "Testing_01.txt", 1)):
        rows = [(f"{scene}/sun_{part}{i}.jpg", label) for label, scene in enumerate(scenes) for i in range(count)]
        parts[part] = [(put(root, f"SUN397{path}", i), label) for i, (path, label) in enumerate(rows)]
        lines(root / f"SUN397/{file}", [path for path, _ in rows])
    for scene in scenes[:9]:
        put(root, f"SUN397{scene}/sun_unused.jpg", 0)
    return parts


def visda(root: Path) -> Parts:
    classes = [
        "aeroplane",
        "bicycle",
        "bus",
        "car",
        "horse",
        "knife",
        "motorcycle",
        "person",
        "plant",
        "skateboard",
        "train",
        "truck",
    ]
    parts: Parts = {}
    for part, count in (("train", 5), ("validation", 2)):
        rows = [(f"{one}/{part}_{i}.png", label) for i in range(count) for label, one in enumerate(classes)]
        parts["train" if part == "train" else "test"] = [
            (put(root, f"{part}/{path}", i), label) for i, (path, label) in enumerate(rows)
        ]
        lines(root / part / "image_list.txt", [f"{path} {label}" for path, label in rows])
    return parts


LAYOUTS = {
    write.__name__: write
    for write in (aircraft, birdsnap, caltech101, caltech256, cars, dtd, flowers, food101, pets, sun397, visda)
}
