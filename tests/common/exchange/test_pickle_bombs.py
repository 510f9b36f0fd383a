"""No pickle is ever executed: a bomb under every name that legacy files have is refused, or read without going off."""

from __future__ import annotations

import io
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from common.errors import InputError
from common.exchange.__main__ import main
from common.exchange.import_ticket import Request, import_ticket
from common.models.start import read_start_weights
from tests.common.exchange import foreign_files

SUFFIXES = (".pt", ".pth", ".pkl", ".ckpt", ".tar", ".pth.tar", ".th", ".t7", ".npz", ".npy", ".safetensors", "")


class Bomb:
    """Writes a file when it is unpickled."""

    def __init__(self, canary: Path, how: str) -> None:
        self.canary, self.how = str(canary), how

    def __reduce__(self) -> tuple[Any, ...]:
        command = f"touch {self.canary}"
        return {
            "system": (os.system, (command,)),
            "eval": (eval, (f"__import__('os').system({command!r})",)),
            "open": (open, (self.canary, "w")),
            "state": (dict, (), None, None, iter([(Bomb(Path(self.canary), "system"), 1)])),
        }[self.how]


KINDS: dict[str, Callable[[Any, Path], object]] = {
    "zip": lambda content, path: torch.save(content, path),
    "stream": lambda content, path: torch.save(content, path, _use_new_zipfile_serialization=False),
    **{
        f"pickle {protocol}": lambda content, path, protocol=protocol: path.write_bytes(pickle.dumps(content, protocol))
        for protocol in (0, 2, 4, 5)
    },
}


def _try_all(path: Path) -> list[str]:
    """Read a file in every way there is; return what was said. Any exception but InputError is a failure."""
    said = []
    for legacy_pickle in (False, True):
        request = Request(path, "resnet_digits", path.parent / "out.safetensors", input="unit", legacy_pickle=legacy_pickle)
        with pytest.raises(InputError) as error:
            import_ticket(request)
        said.append(str(error.value))
    with pytest.raises(InputError) as error:
        read_start_weights(path)
    said.append(str(error.value))
    assert not (path.parent / "out.safetensors").exists()
    assert all("\n" not in text for text in said)
    return said


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_bomb_under_every_name(suffix: str, kind: str, tmp_path: Path) -> None:
    canary, path = tmp_path / "canary", tmp_path / f"model{suffix}"
    KINDS[kind]({"state_dict": {"w": torch.ones(2)}, "bomb": Bomb(canary, "system")}, path)
    _try_all(path)
    assert not canary.exists()
    if kind.startswith("pickle"):
        pickle.loads(path.read_bytes())
        assert canary.exists(), "the bomb is none"


@pytest.mark.parametrize("how", ["system", "eval", "open", "state"])
@pytest.mark.parametrize("kind", ["zip", "stream", "pickle 2"])
def test_every_kind_of_bomb_alone(how: str, kind: str, tmp_path: Path) -> None:
    canary, path = tmp_path / "canary", tmp_path / "model.pth"
    KINDS[kind](Bomb(canary, how), path)
    _try_all(path)
    assert not canary.exists()


@pytest.mark.parametrize("name", ["weights.npz", "weights.npy"])
def test_arrays_of_objects_are_refused(name: str, tmp_path: Path) -> None:
    canary, path = tmp_path / "canary", tmp_path / name
    objects = np.array([Bomb(canary, "system")], dtype=object)
    with open(path, "wb") as file:
        (np.savez if name.endswith("z") else np.save)(file, objects)  # type: ignore[operator]
    said = _try_all(path)
    assert "pickles and could run code" in said[0] or "no PyTorch checkpoint" in said[0]
    assert not canary.exists()


def test_the_reason_and_the_way_out_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    canary, path = tmp_path / "canary", tmp_path / "model.pth.tar"
    torch.save({"state_dict": {"w": torch.ones(2)}, "bomb": Bomb(canary, "system")}, path)
    assert main(["import", str(path), "--arch", "resnet_digits", "-o", str(tmp_path / "t.safetensors")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "a pickled" in error
    assert "could run code" in error
    assert "--legacy-pickle" in error
    assert not canary.exists()


def test_a_bomb_beside_a_whole_checkpoint_is_left_where_it_is(tmp_path: Path) -> None:
    """Girish et al.'s files hold a pickled pruner beside the weights; the weights are what is wanted."""
    canary, path = tmp_path / "canary", tmp_path / "checkpoint_3.pth.tar"
    foreign_files.write_wrapped(path)
    content = torch.load(path, weights_only=True)
    plain = import_ticket(Request(path, "resnet_digits", tmp_path / "a.safetensors")).ticket
    for kind in ("zip", "stream"):
        KINDS[kind]({**content, "lth_pruner": Bomb(canary, "system"), "optimizer": Bomb(canary, "eval")}, path)
        with pytest.raises(InputError, match="give --legacy-pickle"):
            import_ticket(Request(path, "resnet_digits", tmp_path / "b.safetensors"))
        request = Request(path, "resnet_digits", tmp_path / "b.safetensors", legacy_pickle=True)
        assert import_ticket(request).ticket.mask == plain.mask
        (tmp_path / "b.safetensors").unlink()
    assert not canary.exists()


def test_a_bomb_inside_a_tensor_of_a_pickle(tmp_path: Path) -> None:
    """Plain pickles hold every tensor as a torch file of its own, which may hold a bomb again."""
    canary, path, inner = tmp_path / "canary", tmp_path / "model.pkl", io.BytesIO()
    torch.save(Bomb(canary, "system"), inner, _use_new_zipfile_serialization=False)

    class Tensor:
        def __reduce__(self) -> tuple[Any, ...]:
            return torch.storage._load_from_bytes, (inner.getvalue(),)

    path.write_bytes(pickle.dumps({"w": Tensor()}))
    _try_all(path)
    assert not canary.exists()
