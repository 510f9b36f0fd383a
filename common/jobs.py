"""`--jobs`: many command lines in one process, one line of JSON about each on standard output. Imports no torch."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from common.errors import InputError
from common.streams import say, stdout_to_stderr
from common.values import shown

INTERRUPTED = 130


def run_jobs(source: str, job: Callable[[list[str] | InputError], dict[str, Any]]) -> int:
    """Do one job after another and print a line of JSON after each.

    Args:
        source: file with a JSON list of words on every line, or "-" for standard input, read as lines come.
        job: does one job; gets its words, or the error of a malformed line, and answers what is printed (without `job`).
            `code` is its exit code, 0 where absent.

    Returns:
        0 where every job's code is 0, 130 where a job was interrupted (the rest is not begun), else 1.

    Raises:
        InputError: the file cannot be read.
        OSError: an answer cannot be written.
    """
    worst = 0
    for number, text in enumerate(_lines(source)):
        with stdout_to_stderr():
            answer = job(_words(number, text))
        code = answer.get("code", 0)
        say(json.dumps({"job": number, **answer} if "code" in answer else answer), needed=True)
        if code == INTERRUPTED:
            return INTERRUPTED
        worst = max(worst, int(code != 0))
    return worst


def _lines(source: str) -> Iterator[str]:
    if source == "-":
        yield from (line for line in sys.stdin if line.strip())
        return
    try:
        content = Path(source).read_bytes().decode("utf-8")
    except OSError as error:
        raise InputError(f"--jobs: cannot read {source}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"--jobs: {source} is not UTF-8 text") from error
    # Not splitlines(): JSON allows U+2028 inside a text.
    yield from (line for line in content.split("\n") if line.strip())


def _words(number: int, text: str) -> list[str] | InputError:
    try:
        words = json.loads(text)
    except (ValueError, RecursionError):
        words = None
    if isinstance(words, list) and all(isinstance(word, str) for word in words):
        return words
    return InputError(f'job {number}: got {shown(text.strip())}, expected a JSON list of texts such as ["--seed.task", "1"]')
