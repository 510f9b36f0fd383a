from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

import common
from common.provenance import host, software, version_of, versions

ROOT = Path(__file__).parents[2]
CODE = "from common.provenance import commit; print(commit())"


def _commit_of(folder: Path, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", CODE], cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def _git(folder: Path, *words: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]
    return subprocess.run(
        ["git", "-C", str(folder), *identity, *words], check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Return a folder with the two files of the package that `commit` needs."""
    (tmp_path / "common").mkdir()
    for name in ("__init__.py", "provenance.py"):
        shutil.copy(ROOT / "common" / name, tmp_path / "common" / name)
    return tmp_path


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_commit_of_a_checkout(tree: Path) -> None:
    _git(tree, "init", "-q")
    assert _commit_of(tree) == "None"  # no commit yet
    _git(tree, "add", "common/__init__.py", "common/provenance.py")
    _git(tree, "commit", "-q", "-m", "x")
    head = _git(tree, "rev-parse", "HEAD")
    assert _commit_of(tree) == head
    (tree / "untracked").write_text("x")
    assert _commit_of(tree) == head
    with open(tree / "common" / "__init__.py", "a") as file:
        file.write("\n")
    assert _commit_of(tree) == f"{head}+changes"


def test_no_checkout_and_no_git(tree: Path, tmp_path: Path) -> None:
    assert _commit_of(tree, GIT_CEILING_DIRECTORIES=str(tmp_path.parent)) == "None"
    assert _commit_of(tree, PATH="/nonexistent") == "None"


def test_versions() -> None:
    found = versions()
    assert found["torch"] == metadata.version("torch")
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))
    assert found["project"] == common.__version__
    assert version_of("no-such-package-at-all") is None
    assert software()["torch"] == metadata.version("torch")
    assert re.fullmatch(r"[0-9a-f]{40}(\+changes)?|None", str(software()["commit"]))
    assert host()["pid"] == os.getpid()


def test_versions_import_nothing_heavy() -> None:
    code = (
        "import sys; from common.provenance import versions, software; versions(); software(); assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
