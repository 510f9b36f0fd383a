"""Look at tickets, check them, compare them, make controls: `python -m common.tickets inspect|verify|compare|control`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.errors import InputError
from common.subcommands import Parser, run
from common.tickets.header import read_header

if TYPE_CHECKING:
    from common.tickets.ticket import Ticket


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code: 0 done, 2 bad input."""
    return run(_parser(), argv, lambda words: int(words.action(words)))


def _parser() -> Parser:
    parser = Parser(prog="common.tickets", description="Look at tickets, check them, compare them, make controls.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="inspect|verify|compare|control")
    inspect = commands.add_parser("inspect", help="print what a ticket says of itself, and the density of every tensor")
    inspect.add_argument("ticket")
    inspect.add_argument("--json", action="store_true", help="print the header as JSON")
    inspect.set_defaults(action=_inspect)
    verify = commands.add_parser("verify", help="check tickets, the files that they refer to, and that rounds are nested")
    verify.add_argument("tickets", nargs="+")
    verify.add_argument("--parent", help="the ticket that one ticket was made from, or an earlier round of its run")
    verify.set_defaults(action=_verify)
    compare = commands.add_parser("compare", help="overlap with its chance levels, densities, all-zero kernels")
    compare.add_argument("tickets", nargs="+", help="two tickets or more, of one architecture")
    compare.add_argument("--json", action="store_true", help="print JSON instead of tables")
    compare.add_argument("--plot", default="compare.png", help="picture to write (default: compare.png)")
    compare.add_argument("--heatmap", help="picture of the overlaps of every two, whole and tensor by tensor, to write too")
    compare.add_argument("--csv", help="table of every pair and tensor to write too")
    compare.set_defaults(action=_compare)
    control = commands.add_parser("control", help="write a control of a ticket as a ticket file")
    control.add_argument("ticket")
    control.add_argument("--control", required=True, help="random, random_layerwise, shuffled, reversed_matched ...")
    control.add_argument("--seed", type=int, default=0, help="seed of the control's draws, >= 0 (default: 0)")
    control.add_argument("-o", "--output", required=True, help="file to write; an existing one is refused")
    control.set_defaults(action=_control)
    return parser


def _inspect(words: argparse.Namespace) -> int:
    header = read_header(words.ticket)
    print(json.dumps(header, sort_keys=True, indent=1, ensure_ascii=False) if words.json else "\n".join(_described(header)))
    return 0


def _described(header: Mapping[str, Any]) -> list[str]:
    origin, arch, weights = header["origin"], header["arch"], header["weights"]
    kept, size = sum(header["kept"].values()), sum(_size(shape) for shape in header["shapes"].values())
    rows = {
        "digest": header["digest"],
        "mask": f"{header['mask_digest']}  {len(header['shapes'])} tensors",
        "density": f"{header['density']:.4%} ({kept:,} of {size:,} weights kept)",
        "backbone": f"{arch['name']}, stem {arch['stem']}, {arch['in_chans']} channels",
        "from": _origin(origin),
        "rewind": " ".join(str(part) for part in header["rewind"].values() if part is not None),
        "weights": "embedded" if weights["embedded"] else weights["file"] or "none: a mask only",
        "input": f"range {header['input']['range']}, mean {header['input']['mean']}, std {header['input']['std']}",
        "written by": f"version {header['software']['version']}, commit {header['software']['commit']}",
    }
    lines = [f"{key:<12}{value}" for key, value in rows.items()]
    width = max(len(name) for name in header["shapes"])
    lines += ["", f"{'tensor':<{width}}  {'shape':<20}{'kept':>12}  density"]
    for name, shape in sorted(header["shapes"].items()):
        count = header["kept"][name]
        lines.append(f"{name:<{width}}  {'x'.join(map(str, shape)):<20}{count:>12,}  {count / _size(shape):.4f}")
    return lines


def _origin(origin: Mapping[str, Any]) -> str:
    imported = f"{origin['importer']}, " if origin["importer"] is not None else ""
    if origin["folder"] is None:
        return f"{imported}trained on {origin['data'] or 'data that the file does not name'}"
    found = f"{origin['folder']} on {origin['data']}, recipe {origin['recipe']}, round {origin['round']}, seed {origin['seed']}"
    return imported + found


def _size(shape: Sequence[int]) -> int:
    size = 1
    for extent in shape:
        size *= extent
    return size


def _verify(words: argparse.Namespace) -> int:
    from common.tickets.nesting import nested_beside, nested_in
    from common.tickets.ticket import load_ticket

    if words.parent is not None and len(words.tickets) != 1:
        raise InputError(f"verify: --parent goes with one ticket, got {len(words.tickets)}")
    for path in words.tickets:
        ticket = load_ticket(path)
        parts = _whole_parts(ticket)
        nesting = nested_beside(ticket) if words.parent is None else nested_in(ticket, load_ticket(words.parent))
        print(f"{path}: {', '.join(parts)} whole; {nesting}; digest {ticket.digest}")
    return 0


def _whole_parts(ticket: Ticket) -> list[str]:
    """Check the files that a ticket refers to; return the names of all that is whole. Reading it has checked the first four."""
    from common.tickets.trained import TRAINED

    parts = ["structure", "density", "mask", "header"]
    if ticket.has_weights:
        ticket.rewind_point()
        parts.append("weights")
    if ticket.header["scores"]:
        ticket.round0_weights()
        parts.append("round-0 weights")
    if (ticket.path.parent / TRAINED).exists() and ticket.round and ticket.header["origin"]["importer"] is None:
        ticket.trained_weights()
        parts.append("trained weights")
    return parts


def _compare(words: argparse.Namespace) -> int:
    from common.tickets.compare import compare, plot_comparison
    from common.tickets.compare_table import write_comparison
    from common.tickets.heatmap import plot_heatmap
    from common.tickets.ticket import load_ticket

    if len(words.tickets) < 2 or len(set(words.tickets)) != len(words.tickets):
        raise InputError("compare needs at least two different tickets")
    report = compare({label: load_ticket(path).mask for label, path in _labels(words.tickets).items()})
    print(json.dumps(report, sort_keys=True, indent=1) if words.json else "\n".join(_tables(report)))
    plot_comparison(report, Path(words.plot))
    written = [f"picture: {words.plot}"]
    if words.heatmap is not None:
        plot_heatmap(report, words.heatmap)
        written.append(f"heat-map: {words.heatmap}")
    if words.csv is not None:
        write_comparison(report, words.csv)
        written.append(f"table: {words.csv}")
    print("\n".join(written), file=sys.stderr if words.json else sys.stdout)
    return 0


def _labels(paths: Sequence[str]) -> dict[str, str]:
    """Label tickets by what tells their paths apart."""
    parts = [Path(path).parts for path in paths]
    same = lambda column: len(set(column)) == 1
    start = next((i for i, column in enumerate(zip(*parts, strict=False)) if not same(column)), 0)
    end = next((i for i, column in enumerate(zip(*(reversed(p) for p in parts), strict=False)) if not same(column)), 0)
    labels = ["/".join(p[start : len(p) - end]) or str(Path(*p)) for p in parts]
    return dict(zip(labels if len(set(labels)) == len(labels) else paths, paths, strict=True))


def _tables(report: Mapping[str, Any]) -> list[str]:
    pairs, labels = report["pairs"], list(report["density"])
    width = max(len(f"{pair['a']} / {pair['b']}") for pair in pairs)
    lines = [f"{'pair':<{width}}  overlap   chance   chance given every tensor's density"]
    for pair in pairs:
        name = f"{pair['a']} / {pair['b']}"
        lines.append(f"{name:<{width}}  {pair['overlap']:7.4f}  {pair['chance']:7.4f}  {pair['chance_layerwise']:7.4f}")
    name_width = max(len(name) for name in report["kernels"])
    columns = "".join(f"  {label:>22}" for label in labels)
    lines += ["", "density of every tensor (all-zero kernels of all)", f"{'':<{name_width}}{columns}"]
    for name, kernels in report["kernels"].items():
        cells = (
            f"{report['density_per_tensor'][label][name]:.4f} ({report['zero_kernels'][label][name]}/{kernels})"
            for label in labels
        )
        lines.append(f"{name:<{name_width}}" + "".join(f"  {cell:>22}" for cell in cells))
    totals = (f"{report['density'][label]:.4f} ({sum(report['zero_kernels'][label].values())})" for label in labels)
    lines.append(f"{'all':<{name_width}}" + "".join(f"  {cell:>22}" for cell in totals))
    return lines


def _control(words: argparse.Namespace) -> int:
    from common.tickets.control_file import write_control

    if Path(words.output).exists():
        raise InputError(f"{words.output} exists; choose another file")
    ticket = write_control(words.ticket, words.control, words.seed, words.output)
    print(f"{words.output}: {words.control} of {words.ticket}, density {ticket.density:.4f}, digest {ticket.digest}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
