"""The command line of a task on annotated images: all that differs between folders is a schema and a task. Imports no torch."""

from __future__ import annotations

import inspect
from importlib import import_module
from pathlib import Path

from common.cli import Command, Invocation
from common.listing import list_annotated_and_backbones


def annotated_command(schema: type, *, about: str) -> Command:
    """Make the command of the folder that a schema lives in; its `task.py` has `KIND`, of `common.training.annotated_setting`.

    A run transfers one ticket or control or, with prune.rounds, finds tickets on the task itself; a killed one continues.

    Args:
        schema: extends `AnnotatedTaskConfig`.
        about: one sentence for --help.
    """
    folder = schema.__module__.partition(".")[0]

    def run(invocation: Invocation) -> None:
        kind = import_module(f"{folder}.task").KIND
        if invocation.config.searches:
            from common.training.annotated_search import find_tickets

            find_tickets(invocation, kind)
        else:
            from common.training.annotated_transfer import transfer

            transfer(invocation, kind)

    def evaluate(invocation: Invocation, what: str) -> None:
        from common.training.annotated_evaluation import evaluate_run

        evaluate_run(invocation, what, import_module(f"{folder}.task").KIND)

    recipes = Path(inspect.getfile(schema)).parent / "recipes"
    return Command(folder, about, schema, recipes, run, evaluate, list_annotated_and_backbones)
