"""Files that are whole or absent: atomic writes, canonical JSON, hashes."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from common.errors import InputError


def canonical_json(value: Any) -> str:
    """Serialise to the one JSON text of a value: sorted keys, no spaces, UTF-8, no NaN.

    Raises:
        ValueError: the value holds NaN or an infinity.
        TypeError: the value holds something JSON has no word for.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def sha256_bytes(content: bytes) -> str:
    """Return the SHA-256 of `content` as 64 hex digits."""
    return hashlib.sha256(content).hexdigest()


def sha256_file(path: Path | str) -> str:
    """Return the SHA-256 of a file's bytes as 64 hex digits, read in chunks.

    Raises:
        OSError: the file cannot be read.
    """
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_bytes(path: Path | str, content: bytes) -> None:
    """Write a file atomically: temporary file in the same folder, fsync, rename.

    A reader sees the old content or the new one, never a part; a crash leaves the old one.

    Raises:
        InputError: the folder cannot be created or written, or the path is a folder itself.
        OSError: writing failed on the way, for example on a full disk.
    """
    path = Path(path)
    if os.path.isdir(path):
        raise InputError(f"cannot write {path}: it is a folder; choose another output folder with --out")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}; choose another output folder with --out") from error
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    finally:
        Path(temporary).unlink(missing_ok=True)
    sync_folder(path.parent)


def make_folder(path: Path | str) -> None:
    """Make a folder and those above it where they are absent.

    Raises:
        InputError: it cannot be made, or the path is a file.
    """
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}; choose another output folder with --out") from error


def require_writable(path: Path | str) -> None:
    """Check that files can be written in a folder, or in the nearest one above it where it is still to be made.

    Nothing is left behind: the file that is tried has no name where the file system allows that.

    Raises:
        InputError: they cannot.
    """
    nearest = Path(path).absolute()
    while not os.path.lexists(nearest) and nearest != nearest.parent:
        nearest = nearest.parent
    try:
        with tempfile.TemporaryFile(dir=nearest):
            pass
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}; choose another output folder with --out") from error


def sync_folder(folder: Path) -> None:
    """Make a rename in `folder` survive a power cut, where the file system can do that."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    except OSError:
        pass
    finally:
        os.close(handle)


def write_text(path: Path | str, content: str) -> None:
    """Write UTF-8 text atomically; errors as `write_bytes`."""
    write_bytes(path, content.encode("utf-8"))


def write_json(path: Path | str, value: Any) -> None:
    """Write indented JSON with sorted keys atomically; errors as `write_bytes`."""
    write_text(path, json.dumps(value, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path | str) -> dict[str, Any]:
    """Read a file that holds one JSON object.

    Raises:
        InputError: the file is absent, unreadable, not JSON, or not an object.
    """
    try:
        value = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not a JSON file: {str(error).splitlines()[0]}") from error
    if not isinstance(value, dict):
        raise InputError(f"{path} holds a JSON {type(value).__name__}, expected an object")
    return value
