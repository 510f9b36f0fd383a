"""Words of the command line that must be refused, each in one line."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.cli import main

BAD = {
    "abbreviated": (["--prune.rat", "0.3"], "'--prune.rat' (did you mean --prune.rate?)"),
    "abbreviated own": (["--rec", "digits"], "did you mean --recipe?"),
    "last part only": (["--rate", "0.3"], "did you mean --prune.rate?"),
    "hyphen": (["--print-config"], "did you mean --print_config?"),
    "unknown": (["--zzz", "1"], "options: recipe"),
    "short": (["-x"], "unknown option '-x'"),
    "group": (["--prune", "{rate: .5}"], "--prune is a group; give its options one by one: --prune.rounds, --prune.rate"),
    "deeper": (["--prune.rate.x", "1"], "unknown option '--prune.rate.x'"),
    "appended": (["--optim.milestones+", "1ep"], "did you mean --optim.milestones?"),
    "stray": (["0.3"], "stray word '0.3'"),
    "stray negative": (["-3"], "stray word '-3'"),
    "stray after": (["--prune.rate", "0.3", "x"], "stray word 'x'"),
    "dashes": (["--"], "unknown option '--'"),
    "missing last": (["--prune.rate"], "--prune.rate needs a value: a number"),
    "missing before a flag": (["--prune.rate", "--out", "x"], "--prune.rate needs a value: a number; got '--out'"),
    "missing own": (["--config"], "--config needs a value: FILE"),
    "no- form": (["--no-data.download"], "write --data.download false"),
    "no_ form": (["--no_data.download"], "write --data.download false"),
    "bare bool": (["--data.download"], "--data.download needs a value: true or false"),
    "switch with value": (["--list=3"], "--list takes no value"),
    "two modes": (["--list", "--dry_run"], "cannot be combined"),
    "ill-typed": (["--prune.rate", "abc"], "--prune.rate: got 'abc', expected a number"),
    "ill-typed first": (["--prune.rate", "abc", "--prune.rate", "0.2"], "--prune.rate: got 'abc'"),
    "nan": (["--optim.lr", "nan"], "--optim.lr: got 'nan', expected a number"),
    "yaml nan": (["--optim.lr", ".nan"], "--optim.lr: got '.nan'"),
    "overflow": (["--optim.lr", "1e999"], "--optim.lr: got '1e999'"),
    "nan in a list": (["--shape.scale", "[0.1, .nan]"], "--shape.scale: got '[0.1, .nan]'"),
    "long list": (["--shape.scale", "[1, 2, 3]"], "a list of 2 numbers"),
    "bool as int": (["--train.epochs", "true"], "--train.epochs: got 'true', expected an integer"),
    "float as int": (["--train.epochs", "1e2"], "--train.epochs: got '1e2', expected an integer"),
    "octal": (["--train.epochs", "010"], "--train.epochs: got '010'"),
    "minutes": (["--train.epochs", "1:30"], "--train.epochs: got '1:30'"),
    "huge": (["--train.epochs", "9" * 5000], "--train.epochs: got '999"),
    "null": (["--train.epochs", "null"], "--train.epochs: got 'null', expected an integer"),
    "empty": (["--seed.ticket="], "--seed.ticket: got '', expected an integer, or null"),
    "choice": (["--shape.kind", "oval"], "expected one of round, square, or null"),
    "rejected": (["--prune.rate", "1.5"], "prune.rate: got 1.5, expected a fraction in (0, 1)"),
    "negative": (["--optim.weight_decay", "-1e-4"], "optim.weight_decay: got -0.0001, expected"),
    "rejected by a group": (["--optim.schedule", "multistep"], "optim.milestones: got []"),
    "recipe": (["--recipe", "digts"], "unknown recipe 'digts' (did you mean digits?); known recipes: digits, other"),
    "no file": (["--config", "absent.yaml"], "cannot read absent.yaml"),
    "no jobs": (["--jobs", "absent"], "--jobs: cannot read absent"),
    "NUL": (["--config", "a\0b"], "without NUL"),
    "surrogate": (["--out", "\udcff"], "--out: got '\\udcff', expected text"),
    "surrogate file": (["--config", "\udcff"], "cannot read \\udcff"),
    "several lines": (["--config", "a\nb"], "cannot read a b"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_words_are_refused_in_one_line(folder: Any, refused: Callable[..., str], case: str) -> None:
    argv, expected = BAD[case]
    assert expected in refused(*argv)


@pytest.mark.parametrize("text", ["#", "~", "# data", "1", "true", "{a: 1}", "'x'", "a b"])
def test_a_text_stands_for_itself_and_only_null_is_null(folder: Any, text: str) -> None:
    assert folder.resolve("--data.root", text).data.root == text
    assert folder.resolve("--data.root", "null").data.root is None


OPTIONS = ["--prune.rate", "--out", "--config", "--recipe", "--list", "--dry_run", "--jobs", "--print_config", "--evaluate", "-h"]
WORDS = [
    *OPTIONS,
    "--shape.scale=[1",
    "--data",
    "--no-x",
    "--=",
    "--",
    "-",
    "-1",
    "0.3",
    "3",
    "[",
    "{a: 1}",
    "null",
    "${",
    "${HOME}",
]


@given(st.lists(st.sampled_from(WORDS) | st.text(max_size=8) | st.text(max_size=8).map("--{}".format), max_size=5))
@settings(deadline=None, max_examples=200, suppress_health_check=list(HealthCheck))
def test_random_words_never_give_a_traceback(folder: Any, words: list[str]) -> None:
    sys.stdin, stdin = io.StringIO(""), sys.stdin
    sys.stdout, stdout = io.StringIO(), sys.stdout
    sys.stderr, stderr = io.StringIO(), sys.stderr
    try:
        code = main(folder.command(), words)
        errors = sys.stderr.getvalue()
    finally:
        sys.stdin, sys.stdout, sys.stderr = stdin, stdout, stderr
    assert code in (0, 2)
    assert errors.count("\n") == (code == 2)
    assert "Traceback" not in errors
    folder.runs.clear()
