"""The command line of a pre-training folder: all that differs between folders is a schema and a task. Imports no torch."""

from __future__ import annotations

import inspect
from importlib import import_module
from pathlib import Path

from common.cli import Command, Invocation
from common.listing import list_data_and_backbones


def pretraining_command(schema: type, *, objective: str, about: str) -> Command:
    """Make the command of the folder that a schema lives in; its `task.py` has `build_task(setting) -> Task`.

    Args:
        schema: extends `PretrainingConfig`.
        objective: the objective's name for tickets, for example "simclr".
        about: one sentence for --help.
    """
    folder = schema.__module__.partition(".")[0]

    def run(invocation: Invocation) -> None:
        from common.training.pretraining import run_search

        run_search(invocation, objective, import_module(f"{folder}.task").build_task)

    def evaluate(invocation: Invocation, what: str) -> None:
        from common.training.pretraining import evaluate_search

        evaluate_search(invocation, what, import_module(f"{folder}.task").build_task)

    recipes = Path(inspect.getfile(schema)).parent / "recipes"
    return Command(folder, about, schema, recipes, run, evaluate, list_data_and_backbones)
