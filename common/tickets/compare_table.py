"""A comparison of masks as a CSV file: a row for every pair and tensor, and one for the pair's whole masks."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from common.files import write_text

COLUMNS = ("a", "b", "tensor", "weights", "kept_a", "kept_b", "kept_both", "overlap", "chance", "chance_layerwise")
WHOLE = "all"


def write_comparison(report: Mapping[str, Any], path: Path | str) -> None:
    """Write what `compare` returned as CSV, atomically; fractions in full precision, the whole masks as tensor "all".

    Raises:
        InputError: the file cannot be written.
    """
    text = io.StringIO()
    table = csv.DictWriter(text, COLUMNS, lineterminator="\n", extrasaction="raise")
    table.writeheader()
    table.writerows(_rows(report))
    write_text(path, text.getvalue())


def _rows(report: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    counted, levels = COLUMNS[3:7], COLUMNS[7:]
    for pair in report["pairs"]:
        names, tensors = {"a": pair["a"], "b": pair["b"]}, pair["tensors"]
        totals = {column: sum(tensor[column] for tensor in tensors.values()) for column in counted}
        yield {**names, "tensor": WHOLE, **totals, **{level: pair[level] for level in levels}}
        for name, tensor in tensors.items():
            yield {**names, "tensor": name, **tensor}
