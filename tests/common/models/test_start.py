"""Weights to start from: every kind of file, what matched, and hostile files."""

from __future__ import annotations

import json
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from common.errors import InputError
from common.models.backbones import build_backbone
from common.models.heads import Network, linear_head
from common.models.start import StartWeights, load_start_weights_, read_start_weights
from common.tickets.mask import Mask
from common.tickets.rewind import capture
from common.tickets.scope import find_scope
from common.tickets.ticket import Description, save_ticket
from common.tickets.weights_file import NetworkState, save_weights


@pytest.fixture
def source() -> nn.Module:
    return build_backbone("resnet_digits", seed=3)


def _bytes(state: dict[str, Tensor]) -> dict[str, bytes]:
    return {n: t.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes() for n, t in state.items()}


def _ticket(path: Path, source: nn.Module) -> None:
    mask = Mask({n: torch.arange(p.numel()).reshape(p.shape) % 2 == 0 for n, p in find_scope(source).parameters(source).items()})
    origin = dict.fromkeys(("folder", "objective", "data", "split", "recipe", "config", "seed", "round", "run", "importer"))
    spec = {**dict.fromkeys(("size", "range", "mean", "std", "interpolation")), "channels": 3}
    scope: dict[str, list[str]] = {"include": [], "exclude": []}
    description = Description(source.arch, scope, origin, {"to": None, "at": None}, spec)  # type: ignore[arg-type]
    save_ticket(path, mask, description, weights=NetworkState(capture(source), {"weight": torch.ones(1)}))


def network_state(backbone: nn.Module) -> dict[str, Tensor]:
    return Network(backbone, linear_head(64, 3, seed=0)).state_dict()


WRITERS: dict[str, Callable[[Path, nn.Module], Any]] = {
    "plain.pt": lambda p, m: torch.save(m.state_dict(), p),
    "old.pth": lambda p, m: torch.save(m.state_dict(), p, _use_new_zipfile_serialization=False),
    "checkpoint.pth.tar": lambda p, m: torch.save({"state_dict": m.state_dict(), "epoch": 3, "best": 0.5}, p),
    "parallel.pt": lambda p, m: torch.save({f"module.{n}": t for n, t in m.state_dict().items()}, p),
    "network.pt": lambda p, m: torch.save(network_state(m), p),
    "both.pt": lambda p, m: torch.save({f"module.{n}": t for n, t in network_state(m).items()}, p),
    "classifier.pt": lambda p, m: torch.save({**m.state_dict(), "fc.weight": torch.ones(2, 64)}, p),
    "foreign.safetensors": lambda p, m: save_file(dict(m.state_dict()), p, metadata={"format": "pt"}),
    "bare.safetensors": lambda p, m: save_file(dict(m.state_dict()), p),
    "ours.safetensors": lambda p, m: save_weights(p, NetworkState(capture(m), {"bias": torch.ones(2)})),
    "ticket.safetensors": _ticket,
}  # fmt: skip


@pytest.mark.parametrize("name", WRITERS)
def test_every_kind_of_file(name: str, source: nn.Module, tmp_path: Path) -> None:
    WRITERS[name](tmp_path / name, source)
    start = read_start_weights(str(tmp_path / name))
    model = build_backbone("resnet_digits", seed=8)
    objects = {n: id(p) for n, p in model.named_parameters()}
    report = load_start_weights_(model, start, name)
    assert _bytes(model.state_dict()) == _bytes(source.state_dict())
    assert objects == {n: id(p) for n, p in model.named_parameters()}
    assert report.matched == tuple(sorted(source.state_dict()))
    assert report.missing == ()
    heads = {"classifier.pt": ("fc.weight",)}
    assert report.unexpected == heads.get(name, ())
    assert (start.input is not None) == (name == "ticket.safetensors")


def test_a_safetensors_file_of_another_writer(source: nn.Module, tmp_path: Path) -> None:
    """Valid files need not be compact or padded; only tickets must be."""
    outer: dict[str, Any] = {}
    data = b""
    for name, tensor in source.state_dict().items():
        content = tensor.numpy().tobytes()
        kind = {torch.float32: "F32", torch.int64: "I64"}[tensor.dtype]
        outer[name] = {"shape": list(tensor.shape), "dtype": kind, "data_offsets": [len(data), len(data) + len(content)]}
        data += content
    text = json.dumps(outer).encode()
    (tmp_path / "f.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)
    model = build_backbone("resnet_digits", seed=8)
    load_start_weights_(model, read_start_weights(tmp_path / "f.safetensors"), "f")
    assert _bytes(model.state_dict()) == _bytes(source.state_dict())


def test_our_own_files_are_checked(source: nn.Module, tmp_path: Path) -> None:
    for name in ("ours.safetensors", "ticket.safetensors"):
        path = tmp_path / name
        WRITERS[name](path, source)
        content = path.read_bytes()
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        with pytest.raises(InputError, match=r"was edited"):
            read_start_weights(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: {f"encoder.{n}": t for n, t in s.items()}, "0 tensors matched"),
        (lambda s: {n: t for n, t in s.items() if n != "layer1.0.bn1.running_var"}, r"1 missing \[layer1.0.bn1.running_var\]"),
        (
            lambda s: {**s, "conv1.weight": torch.ones(16, 1, 3, 3)},
            r"'conv1.weight' has shape \(16, 1, 3, 3\), the backbone's has",
        ),
        (lambda s: {"fc.weight": torch.ones(1)}, "0 tensors matched"),
    ],
)
def test_what_does_not_fit_changes_nothing(change: Callable[[Any], Any], message: str, source: nn.Module) -> None:
    model = build_backbone("resnet_digits", seed=8)
    before = _bytes(model.state_dict())
    with pytest.raises(InputError, match=message) as error:
        load_start_weights_(model, StartWeights(change(dict(source.state_dict())), None), "FILE")
    assert "\n" not in str(error.value)
    assert "FILE" in str(error.value)
    assert _bytes(model.state_dict()) == before


class Trap:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_a_hostile_pickle_is_refused_and_not_executed(tmp_path: Path) -> None:
    executed = tmp_path / "executed"
    torch.save({"conv1.weight": torch.ones(1), "x": Trap(executed)}, tmp_path / "a.pt")
    torch.save({"x": Trap(executed)}, tmp_path / "b.pt", _use_new_zipfile_serialization=False)
    (tmp_path / "c.pt").write_bytes(pickle.dumps(Trap(executed)))
    (tmp_path / "d.safetensors").write_bytes(pickle.dumps(Trap(executed)))
    for name in ("a.pt", "b.pt", "c.pt", "d.safetensors"):
        with pytest.raises(InputError) as error:
            read_start_weights(tmp_path / name)
        assert "\n" not in str(error.value)
        assert name in str(error.value)
    assert not executed.exists()
    pickle.loads(pickle.dumps(Trap(executed)))
    assert executed.exists()  # the trap itself works


@pytest.mark.parametrize("name", ["x.pt", "x.safetensors"])
@pytest.mark.parametrize("content", [b"", b"text", b"\0" * 64, b"PK\3\4" + bytes(60), b"\x80\x02}q\0."])
def test_files_of_no_kind(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=name) as error:
        read_start_weights(tmp_path / name)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("value", [[torch.ones(1)], torch.ones(2), {}, {"a": 1}, {"state_dict": {}}, 5])
def test_files_without_named_tensors(value: Any, tmp_path: Path) -> None:
    torch.save(value, tmp_path / "x.pt")
    with pytest.raises(InputError, match="no tensors"):
        read_start_weights(tmp_path / "x.pt")


@pytest.mark.parametrize("name", ["absent.pt", "absent.safetensors", ".", "a\0.pt", "a\0.safetensors"])
def test_files_that_cannot_be_read(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        read_start_weights(f"{tmp_path}/{name}")
    assert "\n" not in str(error.value)
