"""The command line that every folder shares: recipe, files and flags become a configuration; errors become one line.

Precedence, whatever the order on the line: defaults < recipe < each --config < dotted flags. Exit codes: 0 done, 2 bad input,
1 failure, 130 interrupted. Nothing here imports torch: help, lists and bad input answer at once.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from common.config import as_tree
from common.errors import InputError, RunError
from common.flags import DEFAULT_RECIPE, Line, help_text, read_line, wants_help
from common.jobs import INTERRUPTED, run_jobs
from common.recipes import find_recipe, load_recipe, recipe_about, recipe_names
from common.streams import say
from common.values import escape


@dataclass(frozen=True)
class Invocation:
    """A resolved run request: which folder, the recipe's name, and the whole configuration (the folder's schema).

    `given` is what the line itself says, by dotted name: flags, what --config files set, and `recipe` where --recipe names one.
    """

    folder: str
    recipe: str
    config: Any
    given: Mapping[str, Any] = field(default_factory=dict, compare=False)


@dataclass(frozen=True)
class Command:
    """What the command line needs to know of a folder.

    Attributes:
        folder: its name, as in `python -m FOLDER`.
        about: one sentence for --help.
        schema: frozen dataclass whose fields are the groups of the configuration.
        recipes: folder of its YAML recipes.
        run: does the run; a killed one continues.
        evaluate: judges what --evaluate was given; trains nothing.
        listing: extra text for --list (data sets, backbones).
    """

    folder: str
    about: str
    schema: type
    recipes: Path
    run: Callable[[Invocation], None]
    evaluate: Callable[[Invocation, str], None]
    listing: Callable[[], str] | None = None


@dataclass(frozen=True)
class Outcome:
    """How a command line ended: exit code, and the line of the error or None."""

    code: int
    error: str | None = None


def resolve(command: Command, argv: Sequence[str]) -> Invocation:
    """Turn a command line into a run request.

    Raises:
        InputError: a word, recipe, file, key or value cannot be used; one line.
    """
    return _invocation(command, read_line(command.schema, argv))


def main(command: Command, argv: Sequence[str] | None = None) -> int:
    """Run a folder's command line.

    Args:
        command: the folder.
        argv: words after the program's name; None: those of this process.

    Returns:
        Exit code: 0 done, 2 bad input, 1 failure, 130 interrupted. Errors were printed on stderr, one line each.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    return _guarded(command.folder, lambda: _act(command, words)).code


def _guarded(folder: str, action: Callable[[], int]) -> Outcome:
    """Act, and turn what is raised into one line on stderr; a bug keeps its traceback above that line."""
    try:
        return Outcome(action())
    except InputError as error:
        code, text = 2, str(error)
    except RunError as error:
        code, text = 1, str(error)
    except OSError as error:
        code, text = (
            1,
            ": ".join(str(part) for part in (error.strerror or type(error).__name__, error.filename) if part is not None),
        )
    except KeyboardInterrupt:
        code, text = INTERRUPTED, "interrupted; run the same command again to continue"
    except Exception as error:
        traceback.print_exc()
        code, text = 1, f"{type(error).__name__}: {error}"
    text = " ".join(text.encode("utf-8", "backslashreplace").decode().split())
    if code == 2 and os.environ.get("RANK", "0") != "0":
        return Outcome(code, text)  # every process of torchrun finds the same bad input; the first one says it
    print(f"{folder}: {text}" if code == INTERRUPTED else f"{folder}: error: {text}", file=sys.stderr, flush=True)
    return Outcome(code, text)


def _act(command: Command, words: Sequence[str]) -> int:
    if wants_help(words):
        say(help_text(command.schema, f"python -m {command.folder}", command.about))
        return 0
    line = read_line(command.schema, words)
    if line.jobs is not None:
        shared = [word for word in line.words if not word.startswith("--jobs=")]
        return run_jobs(line.jobs, lambda job: _job(command, shared, job))
    _perform(command, line)
    return 0


def _perform(command: Command, line: Line) -> None:
    if "list" in line.switches:
        say(_listing(command))
        return
    invocation = _invocation(command, line)
    if "print_config" in line.switches:
        say(_as_yaml(invocation))
    elif "dry_run" in line.switches:
        say(json.dumps(_preview(invocation)))
    elif line.evaluate is not None:
        command.evaluate(invocation, line.evaluate)
    else:
        command.run(invocation)


def _job(command: Command, shared: list[str], words: list[str] | InputError) -> dict[str, Any]:
    """Do one job of --jobs and return its answer."""
    started = time.monotonic()
    known: dict[str, Any] = {"run": None, "preview": None}

    def action() -> int:
        if isinstance(words, InputError):
            raise words
        line = read_line(command.schema, [*shared, *words])
        if line.jobs is not None:
            raise InputError("--jobs cannot be given inside a job; write the job's own words")
        if "dry_run" in line.switches:
            known["preview"] = _preview(_invocation(command, line))
            return 0
        if line.evaluate is None and not line.switches:
            known["run"] = _run_directory(_invocation(command, line))
        _perform(command, line)
        return 0

    outcome = _guarded(command.folder, action)
    if known["preview"] is not None:
        return dict(known["preview"])
    if "--dry_run" in shared:
        return {"code": outcome.code, "error": outcome.error}
    seconds = round(time.monotonic() - started, 3)
    return {"code": outcome.code, "seconds": seconds, "run": known["run"], "error": outcome.error}


def _invocation(command: Command, line: Line) -> Invocation:
    values = load_recipe(find_recipe(command.recipes, line.recipe), command.schema)
    given: dict[str, Any] = {}
    for file in line.configs:
        given.update(load_recipe(file, command.schema))
    given.update(line.flags)
    config = _build(command.schema, {**values, **given})
    named = {"recipe": line.recipe} if any(word.startswith("--recipe=") for word in line.words) else {}
    return Invocation(command.folder, line.recipe, config, {**given, **named})


def _build(schema: type, values: Mapping[str, Any], prefix: str = "") -> Any:
    """Build a configuration, group by group, from flat dotted values; fields without a value keep their default."""
    given: dict[str, Any] = {}
    for item in dataclasses.fields(schema):
        name, group = prefix + item.name, item.default_factory
        if isinstance(group, type) and dataclasses.is_dataclass(group):
            given[item.name] = _build(group, values, f"{name}.")
        elif name in values:
            given[item.name] = values[name]
    return schema(**given)


def _run_directory(invocation: Invocation) -> str:
    from common.identity import run_directory

    return str(run_directory(invocation))


def _preview(invocation: Invocation) -> dict[str, Any]:
    """Return what --dry_run prints: where the run lives, how far it is, and what it is made of."""
    from common.identity import invocation_status

    directory = _run_directory(invocation)
    status = invocation_status(invocation)
    return {"run": directory, "status": status, "recipe": invocation.recipe, "config": as_tree(invocation.config)}


def _as_yaml(invocation: Invocation) -> str:
    text = yaml.safe_dump(_escaped(as_tree(invocation.config)), sort_keys=False, default_flow_style=None)
    return f"# {invocation.folder}, recipe {invocation.recipe}\n{text.rstrip()}"


def _escaped(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _escaped(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_escaped(item) for item in value]
    return escape(value) if isinstance(value, str) else value


def _listing(command: Command) -> str:
    lines = [f"recipes of {command.folder}"]
    for name in recipe_names(command.recipes):
        about = (recipe_about(find_recipe(command.recipes, name)).splitlines() or [""])[0]
        lines.append(f"  {name:<22}  {about}{' (default)' if name == DEFAULT_RECIPE else ''}".rstrip())
    return "\n".join(lines) + (f"\n\n{command.listing()}" if command.listing else "")
