"""Draw Cityscapes' polygons into label maps: `python -m common.data.annotated.cityscapes_polygons ROOT`.

Every gtFine/PART/CITY/NAME_gtFine_polygons.json becomes NAME_gtFine_labelIds.png beside it. Polygons are drawn in the order of
the file, a later one over an earlier one, on "unlabeled"; a name that ends in "group" without being a label is that label;
objects marked deleted are left out, and what lies under a license plate keeps its label. Files that are there are kept.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from common.data.annotated.cityscapes_labels import LABEL_IDS, NOT_DRAWN
from common.errors import InputError
from common.files import read_json, write_bytes
from common.subcommands import Parser, run

_POLYGONS, _LABELS = "_polygons.json", "_labelIds.png"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code: 0 done, 2 bad input, 1 failure."""
    parser = Parser(prog="common.data.annotated.cityscapes_polygons", description=__doc__)
    parser.add_argument("root", help="folder that holds gtFine")
    parser.add_argument("--again", action="store_true", help="draw label maps anew that are there already")
    return run(parser, argv, _draw_all)


def _draw_all(options: argparse.Namespace) -> int:
    from common.training.progress import Progress

    root = Path(options.root).expanduser()
    found = sorted((root / "gtFine").glob(f"*/*/*{_POLYGONS}"))
    if not found:
        raise InputError(f"{root} has no gtFine/PART/CITY/*{_POLYGONS}; name the folder that holds gtFine")
    asked = [(path, path.with_name(path.name.removesuffix(_POLYGONS) + _LABELS)) for path in found]
    todo = [(path, out) for path, out in asked if options.again or not out.exists()]
    with Progress("label maps", len(todo)) as progress:
        for path, out in todo:
            write_bytes(out, draw(path))
            progress.advance()
    print(f"{root}: {len(todo):,} label maps drawn, {len(found) - len(todo):,} were there already")
    return 0


def draw(path: Path) -> bytes:
    """Return the label map of one annotation file as a PNG of label ids.

    Raises:
        InputError: the file is no annotation of Cityscapes, or an object has an unknown label; names the file.
    """
    from PIL import Image, ImageDraw

    annotation = read_json(path)
    try:
        size = (int(annotation["imgWidth"]), int(annotation["imgHeight"]))
        drawn = [
            (label, [(float(x), float(y)) for x, y in item["polygon"]])
            for item in annotation["objects"]
            if not item.get("deleted") and (label := _label_id(path, item["label"])) is not None
        ]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{path} is no annotation of Cityscapes: it has no sizes, or an object without label or polygon"
        ) from error
    image = Image.new("L", size, LABEL_IDS["unlabeled"])
    canvas = ImageDraw.Draw(image)
    for label, polygon in drawn:
        if len(polygon) >= 2:
            canvas.polygon(polygon, fill=label)
    content = io.BytesIO()
    image.save(content, "PNG")
    return content.getvalue()


def _label_id(path: Path, name: Any) -> int | None:
    """Return the id of an object's name; None for one that is not drawn."""
    if name not in LABEL_IDS and name not in NOT_DRAWN:
        name = str(name).removesuffix("group")
    if name in NOT_DRAWN:
        return None
    if name not in LABEL_IDS:
        raise InputError(f"{path}: an object of label {name!r}, expected one of {', '.join([*LABEL_IDS, *NOT_DRAWN])}")
    return LABEL_IDS[name]


if __name__ == "__main__":
    sys.exit(main())
