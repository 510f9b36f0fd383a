"""The published numbers themselves: read from the project's data files, every field checked. Imports no torch."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from common.errors import InputError
from common.recipes import read_yaml

FOLDER = Path(__file__).parent
VALUE, WINNING_SPARSITY = "value", "winning_sparsity"
_KINDS = (VALUE, WINNING_SPARSITY)
_MATCH = "match."
_COLUMNS = (
    "table", "place", "name", "data", "metric", "density", "tolerance", "value", "pstdev", "n", "reading", "said", "apart"
)  # fmt: skip
_NEEDED = ("table", "place", "name", "data", "metric", "value")
_TABLE_KEYS = {"file", "source", "about", "kind"}


@dataclass(frozen=True)
class Cell:
    """One published number.

    Attributes:
        place: where in the publication it stands.
        name: whose it is: the method or the curve, as the publication names it.
        data: the data set; several of ours are parted by "|".
        metric: what the number measures.
        density: kept fraction, in (0, 1]; None where the number has none.
        tolerance: how far the density of a result may be off.
        value: a fraction in [0, 1]; None where the publication says that there is none.
        pstdev: population standard deviation over the n runs, >= 0; None: not published.
        n: number of runs; None: not published.
        reading: how far the number may be off that was read by eye from a figure; None: it was printed.
        said: what `--method` must say of a result; None: its fields tell.
        apart: why no result of ours is put beside it; None: the match fields say which are.
        match: for every field of a result, by its dotted path, the texts that it may have.
    """

    place: str
    name: str
    data: str
    metric: str
    density: float | None
    tolerance: float
    value: float | None
    pstdev: float | None
    n: int | None
    reading: float | None
    said: str | None
    apart: str | None
    match: Mapping[str, tuple[str, ...]]

    @property
    def deviation(self) -> float | None:
        """Sample standard deviation over the runs (ddof 1), from the population one; None where it is unknown or 0."""
        if self.pstdev is None or self.n is None or self.n < 2 or self.pstdev == 0:
            return None
        return self.pstdev * math.sqrt(self.n / (self.n - 1))


@dataclass(frozen=True)
class Table:
    """A published table or figure: its name, publication, what its numbers are, their kind, and the cells."""

    name: str
    source: str
    about: str
    kind: str
    cells: tuple[Cell, ...]


def load_tables(names: Sequence[str] = (), folder: Path = FOLDER) -> tuple[Table, ...]:
    """Read the published tables.

    Args:
        names: which ones; empty: all.
        folder: of tables.yaml and the files that it names.

    Raises:
        InputError: an unknown name, or a file that breaks the schema; names file and line.
    """
    path = folder / "tables.yaml"
    told = read_yaml(path).get("tables")
    if not isinstance(told, dict) or not told:
        raise InputError(f"{path}: expected tables")
    unknown = [name for name in names if name not in told]
    if unknown:
        raise InputError(f"--table: unknown table {unknown[0]!r}; known tables are {', '.join(told)}")
    kinds = {name: _described(path, name, facts) for name, facts in told.items()}
    cells: dict[str, list[Cell]] = {name: [] for name in told}
    for file in dict.fromkeys(str(facts["file"]) for facts in told.values()):
        _read(folder / file, {name: kinds[name] for name, facts in told.items() if facts["file"] == file}, cells)
    for name, found in cells.items():
        if not found:
            raise InputError(f"{path}: {name}: {told[name]['file']} has no row of this table")
    return tuple(
        Table(name, told[name]["source"], told[name]["about"], kinds[name], tuple(cells[name])) for name in names or told
    )


def _described(path: Path, name: str, facts: object) -> str:
    """Check what is said of a table; return its kind."""
    if not isinstance(facts, dict) or not set(facts) <= _TABLE_KEYS or not {"file", "source", "about"} <= set(facts):
        raise InputError(f"{path}: {name}: expected file, source, about and perhaps kind")
    kind = facts.get("kind", VALUE)
    if kind not in _KINDS or not all(isinstance(value, str) and value.strip() for value in facts.values()):
        raise InputError(f"{path}: {name}: expected texts, and kind {' or '.join(_KINDS)}")
    return str(kind)


def _read(path: Path, kinds: Mapping[str, str], cells: Mapping[str, list[Cell]]) -> None:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            header = tuple(reader.fieldnames or ())
            paths = header[len(_COLUMNS) :]
            if header[: len(_COLUMNS)] != _COLUMNS or not all(name.startswith(_MATCH) for name in paths):
                raise InputError(f"{path}: expected the columns {', '.join(_COLUMNS)} and match.*, got {', '.join(header)}")
            for row in reader:
                where = f"{path}: line {reader.line_num}"
                if None in row or None in row.values():
                    raise InputError(f"{where}: expected {len(header)} fields")
                if row["table"] not in kinds:
                    raise InputError(f"{where}: table: got {row['table']!r}, expected {', '.join(kinds)}")
                cells[row["table"]].append(_cell(row, where, kinds[row["table"]]))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"cannot read {path}: {error}") from error


def _cell(row: Mapping[str, str], where: str, kind: str) -> Cell:
    for key in _NEEDED:
        _require(bool(row[key].strip()), where, key, row[key], "text")
    density, tolerance = _number(row, "density", where), _number(row, "tolerance", where)
    none = kind == WINNING_SPARSITY and row["value"] == "none"
    value, n = None if none else _number(row, "value", where), _number(row, "n", where)
    pstdev, reading = _number(row, "pstdev", where), _number(row, "reading", where)
    match = {
        key.removeprefix(_MATCH): tuple(text.split("|")) for key, text in row.items() if key.startswith(_MATCH) and text != ""
    }
    _require(value is None or 0 <= value <= 1, where, "value", row["value"], "a fraction in [0, 1]")
    _require(density is None or 0 < density <= 1, where, "density", row["density"], "a fraction in (0, 1]")
    _require(n is None or (n == int(n) and n >= 1), where, "n", row["n"], "an integer >= 1")
    _require(bool(match) != bool(row["apart"]), where, "apart", row["apart"], "a reason where, and only where, no match.* is set")
    if match and kind == VALUE:
        _require(density is not None, where, "density", row["density"], "a density where results are matched")
        _require(tolerance is not None, where, "tolerance", row["tolerance"], "a tolerance where results are matched")
    return Cell(
        row["place"], row["name"], row["data"], row["metric"], density, tolerance or 0.0, value, pstdev,
        None if n is None else int(n), reading, row["said"] or None, row["apart"] or None, match,
    )  # fmt: skip


def _number(row: Mapping[str, str], key: str, where: str) -> float | None:
    if row[key] == "":
        return None
    try:
        number = float(row[key])
    except ValueError:
        number = math.nan
    _require(math.isfinite(number) and number >= 0, where, key, row[key], "a number >= 0, or nothing")
    return number


def _require(holds: bool, where: str, key: str, got: str, expected: str) -> None:
    if not holds:
        raise InputError(f"{where}: {key}: got {got!r}, expected {expected}")
