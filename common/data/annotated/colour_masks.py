"""Turn masks whose colours stand for classes into label maps: `python -m common.data.annotated.colour_masks FOLDER OUT ...`.

The first colour of --colours becomes class 0, the next class 1, and so on; those of --ignore become 255. A pixel of any other
colour is an error, so no class is guessed.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from common.data.annotated.sets import IGNORE
from common.errors import InputError
from common.files import write_bytes
from common.subcommands import Parser, run

_ENDINGS = (".png", ".bmp", ".tif", ".tiff", ".ppm")
Colour = tuple[int, int, int]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code: 0 done, 2 bad input, 1 failure."""
    parser = Parser(prog="common.data.annotated.colour_masks", description=__doc__)
    parser.add_argument("folder", help="folder of masks in colours")
    parser.add_argument("out", help="folder that receives PNGs of class numbers, of the same names")
    parser.add_argument("--colours", nargs="+", required=True, metavar="R,G,B", help="colour of every class, in order")
    parser.add_argument("--ignore", nargs="*", default=[], metavar="R,G,B", help="colours of pixels that are ignored")
    return run(parser, argv, _convert_all)


def _convert_all(options: argparse.Namespace) -> int:
    from common.training.progress import Progress

    colours = [_colour(text) for text in options.colours]
    table = {colour: label for label, colour in enumerate(colours)} | {_colour(text): IGNORE for text in options.ignore}
    if len(table) != len(colours) + len(options.ignore) or len(colours) > IGNORE:
        raise InputError(f"--colours: expected different colours, at most {IGNORE}, none of which is ignored too")
    folder, out = Path(options.folder).expanduser(), Path(options.out).expanduser()
    masks = sorted(path for path in folder.glob("*") if path.suffix.lower() in _ENDINGS)
    if not masks:
        raise InputError(f"{folder} has no mask; expected files that end in {', '.join(_ENDINGS)}")
    if out.resolve() == folder.resolve():
        raise InputError(f"OUT: got {out}, expected another folder than that of the masks")
    with Progress("label maps", len(masks)) as progress:
        for path in masks:
            write_bytes(out / f"{path.stem}.png", convert(path, table))
            progress.advance()
    print(f"{out}: {len(masks):,} label maps")
    return 0


def convert(path: Path, table: Mapping[Colour, int]) -> bytes:
    """Return a mask's classes as a PNG.

    Args:
        path: an image in colours.
        table: colour -> class, or IGNORE.

    Raises:
        InputError: it cannot be read, or has a colour that the table has not; names the file and the colour.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as opened:
            pixels_HW3 = np.asarray(opened.convert("RGB")).astype(np.int64)
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
        raise InputError(f"cannot read the mask {path}: it is no image of a known kind, or damaged") from error
    codes_HW = (pixels_HW3[..., 0] << 16) | (pixels_HW3[..., 1] << 8) | pixels_HW3[..., 2]
    known = {(r << 16) | (g << 8) | b: label for (r, g, b), label in table.items()}
    codes_U, places_HW = np.unique(codes_HW, return_inverse=True)
    unknown = next((int(code) for code in codes_U if int(code) not in known), None)
    if unknown is not None:
        text = f"{unknown >> 16},{unknown >> 8 & 255},{unknown & 255}"
        raise InputError(f"{path}: the colour {text} is no class's; name it in --colours or --ignore")
    labels_U = np.array([known[int(code)] for code in codes_U], dtype=np.uint8)
    content = io.BytesIO()
    Image.fromarray(labels_U[places_HW.reshape(codes_HW.shape)]).save(content, "PNG")
    return content.getvalue()


def _colour(text: str) -> Colour:
    parts = text.split(",")
    if len(parts) != 3 or not all(part.isdecimal() and int(part) <= 255 for part in parts):
        raise InputError(f"--colours: got {text!r}, expected R,G,B of 0 to 255")
    red, green, blue = (int(part) for part in parts)
    return red, green, blue


if __name__ == "__main__":
    sys.exit(main())
