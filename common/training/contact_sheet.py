"""Contact sheets of predictions: what is annotated in some images beside what was found, as one picture for a person.

Small images are enlarged by a whole factor, with their pixels visible, and large ones reduced, to cells of one width.
"""

from __future__ import annotations

import colorsys
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from common.data.annotated.sets import IGNORE, Objects
from common.errors import InputError
from common.files import write_bytes
from common.metrics.found_boxes import FoundBoxes

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

CELL = 320
"""Pixels: the width of a cell, and what an image's longer side fills at most."""
GAP = 8
LINE = 18
BACKGROUND = (24, 24, 24)
IGNORED = (90, 90, 90)
WRONG = (255, 40, 40)


@dataclass(frozen=True)
class _Label:
    """One box to draw, in pixels of the cell."""

    box: tuple[float, float, float, float]
    text: str
    colour: tuple[int, int, int]


def palette(num_classes: int) -> np.ndarray:
    """Return a colour of every class, uint8 (K, 3): hues by the golden ratio, in turns light and dark."""
    colours = [
        colorsys.hsv_to_rgb(k * 0.618034 % 1, 0.85 - 0.3 * (k % 3 == 1), 1 - 0.35 * (k % 3 == 2)) for k in range(num_classes)
    ]
    return (255 * np.asarray(colours, dtype=np.float64).reshape(-1, 3)).round().astype(np.uint8)


def detection_sheet(
    images: Sequence[np.ndarray],
    truth: Sequence[Objects],
    found: Sequence[FoundBoxes],
    classes: Sequence[str],
    *,
    least_score: float = 0.25,
    pairs: int = 2,
) -> np.ndarray:
    """Draw images in pairs: at the left what is annotated, at the right what was found, with its score.

    Args:
        images: uint8 (H, W, 3) each, RGB, of any sizes; at least one.
        truth: the objects in each; difficult ones and crowds are grey and say so.
        found: what was found in each, in pixels of the image.
        classes: K names, in order of the labels.
        least_score: what was found with a lower score is not drawn.
        pairs: images in a row.

    Returns:
        uint8 (H, W, 3).

    Raises:
        InputError: not as many images, truths and findings; an image of another kind; a label without a name.
    """
    _require_images(images, truth=truth, found=found)
    colours = palette(len(classes))
    cells: list[Image.Image] = []
    for image, there, here in zip(images, truth, found, strict=True):
        scale = _scale(image)
        cells.append(_boxes_drawn(image, scale, [_truth_label(there, i, classes, colours, scale) for i in range(len(there))]))
        drawn = [i for i in np.argsort(here.scores, kind="stable") if here.scores[i] >= least_score]  # the surest on top
        cells.append(_boxes_drawn(image, scale, [_found_label(here, i, classes, colours, scale) for i in drawn]))
    columns = 2 * min(pairs, len(images))
    return _grid(cells, columns, ("truth", f"found (score {least_score:g} or more)"))


def segmentation_sheet(
    images: Sequence[np.ndarray],
    truth: Sequence[np.ndarray],
    predicted: Sequence[np.ndarray],
    classes: Sequence[str],
    colours: np.ndarray | None = None,
) -> np.ndarray:
    """Draw a row for every image: the image, its label map, the predicted one, and where that is wrong; below, the classes.

    Args:
        images: uint8 (H, W, 3) each, RGB, of any sizes; at least one.
        truth: integer (H, W) each, in 0 .. K-1 or IGNORE.
        predicted: integer (H, W) each, in 0 .. K-1.
        classes: K names.
        colours: uint8 (K, 3), of every class; None: `palette`.

    Returns:
        uint8 (H, W, 3). Grey pixels are ignored; in the last column wrong pixels are red on the image in grey.

    Raises:
        InputError: not as many images and maps; maps of another size than their image; a class without a name.
    """
    _require_images(images, truth=truth, predicted=predicted)
    table = np.full((256, 3), IGNORED, dtype=np.uint8)
    table[: len(classes)] = palette(len(classes)) if colours is None else colours
    cells: list[Image.Image] = []
    for image, true, taken in zip(images, truth, predicted, strict=True):
        for name, map_HW in (("true", true), ("predicted", taken)):
            if map_HW.shape != image.shape[:2]:
                raise InputError(f"a {name} label map of {map_HW.shape}, expected its image's size, {image.shape[:2]}")
            labels = set(np.unique(map_HW).tolist()) - ({IGNORE} if name == "true" else set())
            _require_names(labels, classes)
        grey = np.repeat(image.mean(axis=2, keepdims=True) * 0.5 + 60, 3, axis=2).astype(np.uint8)
        error = np.where((true == IGNORE)[..., None], np.uint8(IGNORED[0]), grey)
        error[(true != IGNORE) & (true != taken)] = WRONG
        scale = _scale(image)
        cells += [_enlarged(image, scale)]
        cells += [_enlarged(picture, scale, smooth=False) for picture in (table[true], table[taken], error)]
    sheet = _grid(cells, 4, ("image", "truth", "predicted", "error"))
    return np.concatenate([sheet, _legend(classes, table, sheet.shape[1])])


def save_sheet(path: Path | str, sheet: np.ndarray) -> None:
    """Write a sheet as PNG, whole or not at all; errors as `write_bytes`."""
    from PIL import Image

    content = io.BytesIO()
    Image.fromarray(sheet).save(content, "PNG", optimize=True)
    write_bytes(path, content.getvalue())


def sheet_tensor(sheet: np.ndarray) -> Tensor:
    """Return a sheet as TensorBoard takes it: uint8 (3, H, W)."""
    import torch

    return torch.from_numpy(np.ascontiguousarray(sheet.transpose(2, 0, 1)))


def _require_images(images: Sequence[np.ndarray], **others: Sequence[object]) -> None:
    for what, there in others.items():
        if len(there) != len(images) or not images:
            raise InputError(
                f"a contact sheet of {len(images)} images and {len(there)} of {what}, expected as many, at least one"
            )
    for image in images:
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
            raise InputError(f"a contact sheet of an image {image.dtype} {image.shape}, expected uint8 (H, W, 3)")


def _require_names(labels: set[int], classes: Sequence[str]) -> None:
    unnamed = [label for label in labels if not 0 <= label < len(classes)]
    if unnamed:
        raise InputError(f"a contact sheet with class {min(unnamed)}, expected 0 to {len(classes) - 1}")


def _scale(image: np.ndarray) -> float:
    """Return by what an image is enlarged to fill a cell: a whole number, or less than 1."""
    scale = CELL / max(image.shape[:2])
    return float(int(scale)) if scale >= 1 else scale


def _enlarged(image: np.ndarray, scale: float, *, smooth: bool = True) -> Image.Image:
    """Return an image in a cell; smooth: averaged where it is reduced, which label maps must not be."""
    from PIL import Image

    height, width = image.shape[:2]
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    kind = Image.Resampling.BOX if smooth and scale < 1 else Image.Resampling.NEAREST
    cell = Image.new("RGB", (CELL, max(size[1], LINE)), BACKGROUND)
    cell.paste(Image.fromarray(image).resize(size, kind), (0, 0))
    return cell


def _truth_label(there: Objects, i: int, classes: Sequence[str], colours: np.ndarray, scale: float) -> _Label:
    label = int(there.labels[i])
    _require_names({label}, classes)
    flags = [name for name, flag in (("difficult", there.difficult[i]), ("crowd", there.crowd[i])) if flag]
    colour = (170, 170, 170) if flags else tuple(colours[label].tolist())
    return _Label(_scaled(there.boxes[i], scale), " ".join([classes[label], *flags]), colour)


def _found_label(here: FoundBoxes, i: int, classes: Sequence[str], colours: np.ndarray, scale: float) -> _Label:
    label = int(here.labels[i])
    _require_names({label}, classes)
    return _Label(_scaled(here.boxes[i], scale), f"{classes[label]} {here.scores[i]:.2f}", tuple(colours[label].tolist()))


def _scaled(box: np.ndarray, scale: float) -> tuple[float, float, float, float]:
    left, top, right, bottom = (float(edge) * scale for edge in box)
    return left, top, right, bottom


def _boxes_drawn(image: np.ndarray, scale: float, labels: Sequence[_Label]) -> Image.Image:
    """Return an image in a cell, with boxes one pixel wide and their texts above them, or inside where there is no room."""
    from PIL import ImageDraw, ImageFont

    cell = _enlarged(image, scale)
    draw, font = ImageDraw.Draw(cell), ImageFont.load_default(11)
    for label in labels:
        left, top, right, bottom = label.box
        draw.rectangle((left, top, max(left, right - 1), max(top, bottom - 1)), outline=label.colour)
    for label in labels:
        wide, high = draw.textbbox((0, 0), label.text, font=font)[2:]
        left = min(max(0.0, label.box[0]), CELL - wide - 2)
        top = label.box[1] - high - 2 if label.box[1] >= high + 2 else label.box[1]
        draw.rectangle((left, top, left + wide + 1, top + high + 1), fill=label.colour)
        draw.text((left + 1, top), label.text, fill=_readable(label.colour), font=font)
    return cell


def _readable(colour: tuple[int, int, int]) -> tuple[int, int, int]:
    """Return black or white, what can be read on a colour (luma of ITU-R BT.601)."""
    red, green, blue = colour
    return (0, 0, 0) if 0.299 * red + 0.587 * green + 0.114 * blue > 130 else (255, 255, 255)


def _grid(cells: Sequence[Image.Image], columns: int, titles: Sequence[str]) -> np.ndarray:
    """Return cells row by row, uint8 (H, W, 3), with titles over the columns, repeated."""
    from PIL import Image, ImageDraw, ImageFont

    step = CELL + GAP
    rows = [cells[start : start + columns] for start in range(0, len(cells), columns)]
    tops = [LINE + GAP]
    for row in rows:
        tops.append(tops[-1] + GAP + max(cell.height for cell in row))
    sheet = Image.new("RGB", (GAP + columns * step, tops[-1]), BACKGROUND)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    for column in range(columns):
        draw.text((GAP + column * step, GAP // 2), titles[column % len(titles)], fill=(255, 255, 255), font=font)
    for row, top in zip(rows, tops, strict=False):
        for column, cell in enumerate(row):
            sheet.paste(cell, (GAP + column * step, top))
    return np.asarray(sheet)


def _legend(classes: Sequence[str], table: np.ndarray, width: int) -> np.ndarray:
    """Return the classes' colours and names in lines, uint8 (H, width, 3)."""
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(12)
    places, left, line = [], GAP, 0
    for name in [*classes, "ignored"]:
        wide = LINE + int(font.getlength(name)) + 2 * GAP
        if left + wide > width and left > GAP:
            left, line = GAP, line + 1
        places.append((left, line * (LINE + 4)))
        left += wide
    legend = Image.new("RGB", (width, (line + 1) * (LINE + 4) + GAP), BACKGROUND)
    draw = ImageDraw.Draw(legend)
    colours = [*table[: len(classes)].tolist(), list(IGNORED)]
    for (left, top), name, colour in zip(places, [*classes, "ignored"], colours, strict=True):
        draw.rectangle((left, top, left + LINE - 5, top + LINE - 5), fill=tuple(colour))
        draw.text((left + LINE, top), name, fill=(255, 255, 255), font=font)
    return np.asarray(legend)
