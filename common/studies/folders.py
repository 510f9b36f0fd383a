"""Ask a folder, in a process of its own, where runs live, how far they are and what they are made of; nothing is run."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.errors import InputError


@dataclass(frozen=True)
class Answer:
    """What a folder says of one command line: run directory, status and configuration; or its one-line error."""

    run: Path | None
    status: str
    config: Mapping[str, Any]
    error: str | None


def ask(questions: Mapping[str, Sequence[Sequence[str]]]) -> dict[str, list[Answer]]:
    """Ask every folder about its command lines, one process per folder, all at once.

    Args:
        questions: for every folder, the argument lists of its runs.

    Returns:
        For every folder, one answer per argument list, in the same order.

    Raises:
        InputError: a folder cannot be asked, or its answer is not what `--dry_run --jobs` promises.
    """
    with tempfile.TemporaryDirectory(prefix="study-") as scratch:
        started = {
            folder: _start(folder, argvs, Path(scratch) / f"{folder}.jsonl") for folder, argvs in questions.items() if argvs
        }
        return {folder: _read(folder, process, len(questions[folder])) for folder, process in started.items()}


def _start(folder: str, argvs: Sequence[Sequence[str]], file: Path) -> subprocess.Popen[str]:
    file.write_text("".join(json.dumps(list(argv)) + "\n" for argv in argvs), encoding="utf-8")
    command = [sys.executable, "-m", folder, "--dry_run", "--jobs", str(file)]
    # Answers go to a file: with several folders at once, an unread pipe would fill and block.
    output, errors = file.with_suffix(".out"), file.with_suffix(".err")
    with output.open("w") as out, errors.open("w") as err:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, text=True)
    process.args = [str(output), str(errors)]
    return process


def _read(folder: str, process: subprocess.Popen[str], count: int) -> list[Answer]:
    code = process.wait()
    output, errors = (Path(str(name)).read_text(encoding="utf-8", errors="replace") for name in process.args)  # type: ignore[union-attr]
    lines = [line for line in output.splitlines() if line.strip()]
    if len(lines) != count:
        said = errors.strip().splitlines()
        because = said[-1] if said else f"exit code {code}, {len(lines)} answers for {count} runs"
        raise InputError(f"python -m {folder} --dry_run: {because}")
    return [_answer(folder, line) for line in lines]


def _answer(folder: str, line: str) -> Answer:
    try:
        told = json.loads(line)
        if told.get("error"):
            return Answer(None, "error", {}, " ".join(str(told["error"]).split()))
        return Answer(Path(told["run"]), str(told["status"]), dict(told["config"]), None)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"python -m {folder} --dry_run answered {line[:80]!r}, expected a JSON object with run, status and config"
        ) from error
