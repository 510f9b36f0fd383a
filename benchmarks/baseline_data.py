"""What the baselines of tasks on annotated images take: which images, and where the figures go."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence

from common.data.annotated.config import AnnotatedDataConfig
from common.data.annotated.sets import AnnotatedSet
from common.subcommands import Parser, run


def run_baseline(name: str, about: str, argv: Sequence[str] | None, measure: Callable[[AnnotatedSet], dict[str, float]]) -> int:
    """Open the images that the command line names, measure, print and write.

    Returns:
        0, or 2 for bad input, which is told in one line.
    """
    parser = Parser(prog=f"benchmarks.{name}", description=about)
    parser.add_argument("--data.name", dest="name", default=AnnotatedDataConfig().name, help="data set (default: %(default)s)")
    parser.add_argument("--data.root", dest="root", help="folder that holds it")
    parser.add_argument("--data.classes", dest="classes", nargs="+", default=[], help="sets of your own: names of the classes")
    parser.add_argument("--json", help="write the figures to FILE")

    def act(options: argparse.Namespace) -> int:
        from benchmarks.measure import report
        from common.data.annotated.catalogue import open_annotated

        config = AnnotatedDataConfig(name=options.name, root=options.root, classes=tuple(options.classes))
        report({}, measure(open_annotated(config)), options.json)
        return 0

    return run(parser, argv, act)
