"""What keeps the house in order: import directions, import costs, sizes, documented names, commands of the README."""

from __future__ import annotations

import argparse
import ast
import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("SimCLR", "MoCo", "Supervised", "Downstream", "Detection", "Segmentation")
SOURCES = sorted(path for top in (*FOLDERS, "common", "benchmarks", "examples") for path in (ROOT / top).rglob("*.py"))


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names.add(node.module or "")
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return names


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_down_only(path: Path) -> None:
    own = path.relative_to(ROOT).parts[0]
    for name in imported(path):
        top = name.partition(".")[0]
        assert top not in FOLDERS or own == top or own == "benchmarks", f"{path} imports {name}"
        assert top != "tests", f"{path} imports {name}"


def test_the_core_of_tickets_knows_nothing_above_it() -> None:
    allowed = {"common.tickets", "common.errors", "common.files", "common.randomness", "common.provenance", "common.subcommands"}
    # The input specification, and fresh weights, which are imported where they are drawn.
    allowed |= {"common.data.inputs", "common.models.backbones"}
    for path in (ROOT / "common/tickets").glob("*.py"):
        for name in imported(path):
            if name.startswith("common."):
                assert any(name == a or name.startswith(f"{a}.") for a in allowed), f"{path} imports {name}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_and_functions_stay_short(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= 400
    assert path.name not in ("utils.py", "helpers.py", "misc.py", "base.py")
    assert not re.search(r"\bsys\.path\b|\bTODO\b|NotImplementedError", text)
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno is not None
            assert node.end_lineno - node.lineno <= 60, f"{path}: {node.name}"


@pytest.mark.parametrize(
    ("words", "absent"),
    [
        (["-m", "SimCLR", "--help"], "torch"),
        (["-m", "SimCLR", "--list"], "torch"),
        (["-m", "MoCo", "--dry_run"], "torch"),
        (["-m", "Supervised", "--dry_run"], "torch"),
        (["-m", "Downstream", "--dry_run"], "torch"),
        (["-m", "Detection", "--dry_run"], "torch"),
        (["-m", "Detection", "--list"], "albumentations"),
        (["-m", "Segmentation", "--dry_run"], "torch"),
        (["-m", "Segmentation", "--list"], "segmentation_models_pytorch"),
        (["-m", "common.studies", "plan", "studies/digits.yaml"], "torch"),
        (["-c", "import common.studies.published.command, common.studies.cluster"], "torch"),
        (["-m", "common.studies", "published", "--help"], "submitit"),
        (["-m", "common.tickets", "--help"], "torch"),
        (["-m", "common.exchange", "import", "--help"], "torch"),
        (["-c", "import common.tickets.ticket"], "torchvision"),
        (["-c", "import common.tickets.hold, common.tickets.controls"], "timm"),
    ],
)
def test_what_is_not_needed_is_not_imported(words: list[str], absent: str) -> None:
    done = subprocess.run([sys.executable, "-X", "importtime", *words], cwd=ROOT, capture_output=True, text=True, check=True)
    modules = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert absent not in modules


def test_torch_load_never_unpickles() -> None:
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("torch.load", "pickle.load", "pickle.loads"):
                assert "weights_only=True" in ast.unparse(node), path


def test_every_package_is_installed_and_every_recipe_resolves() -> None:
    import tomllib

    from common.cli import resolve
    from Detection.main import COMMAND as DETECTION
    from Downstream.main import COMMAND as DOWNSTREAM
    from MoCo.main import COMMAND as MOCO
    from Segmentation.main import COMMAND as SEGMENTATION
    from SimCLR.main import COMMAND as SIMCLR
    from Supervised.main import COMMAND as SUPERVISED

    packages = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    there = {".".join(path.parent.relative_to(ROOT).parts) for path in SOURCES if path.name == "__init__.py"}
    assert packages == there
    for command in (SIMCLR, MOCO, SUPERVISED, DOWNSTREAM, DETECTION, SEGMENTATION):
        names = [path.stem for path in command.recipes.glob("*.yaml")]
        assert "digits" in names
        for name in names:
            assert resolve(command, [f"--recipe={name}"]).recipe == name


@pytest.mark.parametrize("spelling", [words for folder in FOLDERS for words in (["-m", folder], [f"{folder}/main.py"])])
def test_both_spellings_of_a_command_work(spelling: list[str]) -> None:
    done = subprocess.run([sys.executable, *spelling, "--help"], cwd=ROOT, capture_output=True, text=True, check=False)
    if spelling[0].endswith(".py") and "No module named 'common'" in done.stderr:
        pytest.skip("the project is not installed editable here; `make setup` does that")
    assert done.returncode == 0, done.stderr
    assert "--recipe" in done.stdout


def _flags(parser: argparse.ArgumentParser) -> Iterator[str]:
    for action in parser._actions:
        yield from (word[2:] for word in action.option_strings if word.startswith("--"))
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from _flags(command)


def test_commands_of_the_readmes_name_flags_that_exist() -> None:
    from common.config import leaves
    from Detection.config import DetectionConfig
    from Downstream.config import DownstreamConfig
    from MoCo.config import MoCoConfig
    from Segmentation.config import SegmentationConfig
    from SimCLR.config import SimCLRConfig
    from Supervised.config import SupervisedConfig

    schemas = (SimCLRConfig, MoCoConfig, SupervisedConfig, DownstreamConfig, DetectionConfig, SegmentationConfig)
    known = set().union(*(leaves(schema) for schema in schemas))
    known |= {
        "nproc_per_node",
        "recipe",
        "config",
        "list",
        "evaluate",
        "print_config",
        "dry_run",
        "jobs",
        "out",
    }
    for module in ("common.exchange.__main__", "common.tickets.__main__", "common.studies.__main__"):
        known |= set(_flags(importlib.import_module(module)._parser()))
    for readme in (ROOT / "README.md", *(ROOT / folder / "README.md" for folder in FOLDERS)):
        for flag in re.findall(r"--([a-z_]+(?:\.[a-z_0-9]+)?)", readme.read_text(encoding="utf-8")):
            assert flag in known, f"{readme.name}: --{flag}"
