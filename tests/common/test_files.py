"""Atomic writes (a killed writer leaves old or new, never a part), canonical JSON, hashes."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import InputError
from common.files import (
    canonical_json,
    make_folder,
    read_json,
    require_writable,
    sha256_bytes,
    sha256_file,
    write_bytes,
    write_json,
    write_text,
)

ROOT = Path(__file__).parents[2]
WRITER = """
import sys
from common.files import write_bytes
path, size = sys.argv[1], int(sys.argv[2])
print("ready", flush=True)
while True:
    for letter in b"ab":
        write_bytes(path, bytes([letter]) * size)
"""


def test_a_killed_writer_leaves_old_or_new_content(tmp_path: Path) -> None:
    path, size, draws, seen = tmp_path / "file", 3_000_000, random.Random(4), set()
    write_bytes(path, b"o" * size)
    for _ in range(12):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path), str(size)], cwd=ROOT, stdout=subprocess.PIPE)
        try:
            assert writer.stdout is not None
            assert writer.stdout.readline() == b"ready\n"
            deadline = time.monotonic() + draws.uniform(0, 0.05)
            while time.monotonic() < deadline:
                content = path.read_bytes()  # a reader at the same time
                assert len(content) == size
                assert len(set(content)) == 1
        finally:
            writer.send_signal(signal.SIGKILL)
            writer.wait()
            assert writer.stdout is not None
            writer.stdout.close()
        content = path.read_bytes()
        assert len(content) == size
        assert len(set(content)) == 1
        seen.add(content[:1])
    assert seen & {b"a", b"b"}
    assert {file.name for file in tmp_path.iterdir() if not file.name.endswith(".tmp")} == {"file"}
    write_bytes(path, b"new")  # remains of killed writers are in nobody's way
    assert path.read_bytes() == b"new"


def test_a_write_that_fails_leaves_the_old_content_and_no_remains(tmp_path: Path) -> None:
    """A file size limit stands in for a full disk."""
    code = """
import resource, signal, sys
from common.files import write_bytes
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    write_bytes(sys.argv[1], b"n" * 5000)
except OSError as error:
    assert "too large" in str(error)
else:
    raise SystemExit("no error")
"""
    path = tmp_path / "file"
    path.write_bytes(b"old")
    done = subprocess.run([sys.executable, "-c", code, str(path)], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert path.read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


def test_folders_are_made_and_the_file_can_be_read_by_others(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "é"
    write_text(path, "ü\n")
    assert path.read_bytes() == b"\xc3\xbc\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert list(path.parent.iterdir()) == [path]


def test_what_cannot_be_written(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"old")
    (tmp_path / "folder" / "inner").mkdir(parents=True)
    for path in (file / "x", file / "x" / "y", tmp_path / "folder", tmp_path / ("n" * 300), Path("/proc/nothing/x")):
        with pytest.raises(InputError, match="cannot write") as error:
            write_bytes(path, b"new")
        assert "\n" not in str(error.value)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder"]
    assert file.read_bytes() == b"old"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_an_unwritable_folder(tmp_path: Path) -> None:
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o500)
    with pytest.raises(InputError, match="Permission denied"):
        write_bytes(folder / "x", b"new")


characters = st.characters(codec="utf-8")
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(characters)
json_values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(characters, max_size=5), inner, max_size=4),
    max_leaves=12,
)


@given(json_values)
def test_canonical_json_is_a_fixed_point(value: object) -> None:
    text = canonical_json(value)
    assert json.loads(text) == value
    assert canonical_json(json.loads(text)) == text
    text.encode("utf-8")


def test_canonical_json_by_hand() -> None:
    assert canonical_json({"b": [1, 2.0, None], "a": {"é": True, "B": "\n"}}) == '{"a":{"B":"\\n","é":true},"b":[1,2.0,null]}'
    assert canonical_json({"x": (1, 2)}) == canonical_json({"x": [1, 2]})
    for bad in (float("nan"), float("inf"), -float("inf")):
        with pytest.raises(ValueError, match="JSON"):
            canonical_json({"a": bad})
    for other in ({1, 2}, object(), b"x", {(1, 2): 3}):
        with pytest.raises(TypeError):
            canonical_json(other)


def test_json_files(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_json(path, {"b": 1, "a": "é"})
    assert path.read_text(encoding="utf-8") == '{\n "a": "é",\n "b": 1\n}\n'
    assert read_json(path) == {"a": "é", "b": 1}
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, {"a": float("nan")})
    assert read_json(path) == {"a": "é", "b": 1}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a JSON file"),
        (b"{", "not a JSON file"),
        (b"\xff\xfe", "not a JSON file"),
        (b"[1]", "list, expected an object"),
        (b"null", "expected an object"),
        (b"[" * 200_000, "not a JSON file"),
        (b'{"a": ' + b"9" * 10_000 + b"}", "not a JSON file"),
    ],
)
def test_files_that_are_no_json_object(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as error:
        read_json(path)
    assert "\n" not in str(error.value)
    for unreadable in (tmp_path, tmp_path / "absent"):
        with pytest.raises(InputError, match="cannot read"):
            read_json(unreadable)


def test_hashes(tmp_path: Path) -> None:
    content = bytes(range(256)) * 5000
    (tmp_path / "x").write_bytes(content)
    assert sha256_file(tmp_path / "x") == sha256_bytes(content) == hashlib.sha256(content).hexdigest()
    assert sha256_bytes(b"") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_a_folder_is_made_or_refused_in_one_line(tmp_path: Path) -> None:
    make_folder(tmp_path / "a" / "b")
    make_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").write_text("")
    for place in ("file", "file/below"):
        with pytest.raises(InputError, match=r"cannot write .*; choose another output folder with --out"):
            make_folder(tmp_path / place)


def test_whether_a_folder_could_be_written_is_found_out_without_a_trace(tmp_path: Path) -> None:
    require_writable(tmp_path)
    require_writable(tmp_path / "not" / "yet" / "there")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("")
    (tmp_path / "nowhere").symlink_to(tmp_path / "absent" / "target")
    for place in (tmp_path / "file", tmp_path / "file" / "below", tmp_path / "nowhere", Path("/proc/nowhere/below")):
        with pytest.raises(InputError, match=r"cannot write .*; choose another output folder with --out") as caught:
            require_writable(place)
        assert "\n" not in str(caught.value)
    assert {file.name for file in tmp_path.iterdir()} == {"file", "nowhere"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_refused(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    with pytest.raises(InputError, match="Permission denied"):
        require_writable(closed / "below")
