"""Tiny copies of the layouts that label maps are published in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image


def write_image(path: Path, height: int = 6, width: int = 8, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def write_labels(path: Path, values: np.ndarray, *, palette: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(values.astype(np.uint8))
    if palette:
        image = image.convert("L")
        image.putpalette([255 - (i * 37 + part * 11) % 256 for i in range(256) for part in range(3)])
        assert image.mode == "P"
    image.save(path)


def labels(seed: int, values: list[int], height: int = 6, width: int = 8) -> np.ndarray:
    return np.random.default_rng(seed).choice(values, (height, width)).astype(np.uint8)


def write_list(path: Path, lines: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def write_voc(root: Path, train: int = 12, val: int = 3) -> Path:
    folder = root / "VOCdevkit/VOC2012"
    names = [f"2007_{i:06d}" for i in range(train + val)]
    for seed, name in enumerate(names):
        write_image(folder / f"JPEGImages/{name}.jpg", seed=seed)
        write_labels(folder / f"SegmentationClass/{name}.png", labels(seed, [0, 7, 20, 255]), palette=True)
    write_list(folder / "ImageSets/Segmentation/train.txt", names[:train])
    write_list(folder / "ImageSets/Segmentation/val.txt", names[train:])
    return folder


def write_cityscapes(root: Path, counts: dict[str, int]) -> None:
    for part, count in counts.items():
        for seed in range(count):
            name = f"ulm/ulm_{seed:06d}_000019"
            write_image(root / f"leftImg8bit/{part}/{name}_leftImg8bit.png", seed=seed)
            write_labels(root / f"gtFine/{part}/{name}_gtFine_labelIds.png", labels(seed, [0, 3, 7, 8, 26, 29, 33]))


def write_ade20k(root: Path, counts: dict[str, int]) -> None:
    base = root / "ADEChallengeData2016"
    for part, count in counts.items():
        for seed in range(count):
            write_image(base / f"images/{part}/ADE_{part}_{seed:08d}.jpg", seed=seed)
            write_labels(base / f"annotations/{part}/ADE_{part}_{seed:08d}.png", labels(seed, [0, 1, 2, 150]))


def write_camvid(root: Path, counts: dict[str, int]) -> None:
    for part, count in counts.items():
        names = [f"{part}_{seed:05d}.png" for seed in range(count)]
        for seed, name in enumerate(names):
            write_image(root / part / name, seed=seed)
            write_labels(root / f"{part}annot" / name, labels(seed, [0, 3, 10, 11]))
        lines = [f"/SegNet/CamVid/{part}/{name} /SegNet/CamVid/{part}annot/{name}" for name in names]
        write_list(root / f"{part}.txt", lines)


def write_folder(root: Path, counts: dict[str, int]) -> None:
    for part, count in counts.items():
        for seed in range(count):
            write_image(root / part / f"images/{seed:02d}.jpg", seed=seed)
            write_labels(root / part / f"labels/{seed:02d}.png", labels(seed, [0, 1, 2, 255]))
    write_list(root / "classes.txt", ["ground", "tree", "sky"])
