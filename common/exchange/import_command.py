"""`python -m common.exchange import`: another system's sparse checkpoint becomes a ticket."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from common.errors import InputError
from common.exchange.formats import FORMATS


def add_parser(commands: Any) -> None:
    """Add the command's parser."""
    parser = commands.add_parser("import", help="make a ticket of another system's sparse checkpoint")
    parser.add_argument("file", help="the checkpoint, or file of masks")
    parser.add_argument("--format", default="auto", help=f"auto (default), or {', '.join(FORMATS)}")
    parser.add_argument("--arch", required=True, help="the backbone, as model.name: resnet50, resnet20_a ...")
    parser.add_argument("--stem", default="native", help="its stem, as model.stem: native (default), 3x3, 7x7")
    parser.add_argument(
        "--input", help="input that the weights expect: imagenet, unit, half, a data set's name, or a JSON or YAML file"
    )
    parser.add_argument("--expect-density", type=float, help="density that the mask must have within .01, in (0, 1]")
    parser.add_argument("--weights", help="file of the weights, where FILE holds masks alone")
    parser.add_argument("--dense", action="store_true", help="take weights without a mask as a ticket of density 1")
    parser.add_argument("--data", help="name of the data set that the weights were trained on, such as cifar10")
    parser.add_argument(
        "--objective", help="what they were trained for, such as supervised, which a result on that data is flagged by"
    )
    parser.add_argument("-o", "--output", required=True, help="ticket to write; an existing file is refused")


def run(words: argparse.Namespace) -> int:
    """Import, and print what was matched."""
    if Path(words.output).exists():
        raise InputError(f"{words.output} exists; choose another file")
    from common.exchange.import_ticket import Request, import_ticket

    request = Request(
        Path(words.file),
        words.arch,
        Path(words.output),
        format=words.format,
        stem=words.stem,
        input=words.input,
        expect_density=words.expect_density,
        weights=Path(words.weights) if words.weights is not None else None,
        dense=words.dense,
        data=words.data,
        objective=words.objective,
    )
    print("\n".join(import_ticket(request).lines()))
    return 0
