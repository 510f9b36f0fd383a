"""Photographs to measure on: JPEGs that compress, and decode, as real data do, made anew of scikit-learn's two samples."""

from __future__ import annotations

from pathlib import Path

import numpy as np

WIDTH, HEIGHT, QUALITY = 500, 375, 90


def write_photos(root: Path, places: list[str]) -> float:
    """Write a JPEG of 500 x 375 px for every place: a random part of a sample under smooth colour fields, a little noise.

    Args:
        root: the folder.
        places: names below it; even ones show the first sample photograph, odd ones the second.

    Returns:
        The files' mean size in kB.
    """
    from PIL import Image
    from sklearn.datasets import load_sample_images

    rng = np.random.default_rng(0)
    photos = [Image.fromarray(photo) for photo in load_sample_images().images]
    total = 0
    for index, place in enumerate(places):
        path = root / place
        path.parent.mkdir(parents=True, exist_ok=True)
        photo = photos[index % len(photos)]
        scale = rng.uniform(0.5, 1.0)
        box_width, box_height = round(scale * photo.width), round(scale * photo.height)
        left, top = (int(rng.integers(0, room + 1)) for room in (photo.width - box_width, photo.height - box_height))
        part = photo.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC, (left, top, left + box_width, top + box_height))
        field = Image.fromarray(rng.integers(0, 256, (4, 5, 3), dtype=np.uint8)).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
        noise = rng.integers(-4, 5, (HEIGHT, WIDTH, 3))
        pixels = np.asarray(Image.blend(part, field, 0.25)).astype(np.int16) + noise
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path, quality=QUALITY)
        total += path.stat().st_size
    return total / len(places) / 1000
