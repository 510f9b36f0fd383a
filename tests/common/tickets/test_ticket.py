"""The ticket file: what is written is what is read, and its digests are those that the format's page defines."""

from __future__ import annotations

import hashlib
import json
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch import Tensor, nn

from common.tickets.errors import TicketError
from common.tickets.header import read_header
from common.tickets.mask import Mask
from common.tickets.rewind import capture
from common.tickets.ticket import load_ticket, save_ticket
from common.tickets.weights_file import NetworkState, load_weights, read_weights, save_weights


def _equal(a: Any, b: Any) -> bool:
    return set(a) == set(b) and all(
        a[n].dtype == b[n].dtype
        and a[n].shape == b[n].shape
        and a[n].contiguous().reshape(-1).view(torch.uint8).equal(b[n].contiguous().reshape(-1).view(torch.uint8))
        for n in a
    )


def _tensors_by_library(path: Path) -> tuple[dict[str, str], dict[str, np.ndarray]]:
    with safe_open(path, framework="np") as file:
        return file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


@pytest.fixture
def state(little: nn.Module) -> NetworkState:
    """Weights with payloads that a careless writer would lose."""
    tensors = {name: t for name, t in capture(little).items() if not name.startswith("fc.")}
    tensors["bn1.weight"] = torch.tensor([0x7FC0BEEF, -0x80000000], dtype=torch.int32).view(torch.float32)
    tensors["bn2.weight"] = tensors["bn2.weight"].to(torch.bfloat16)
    return NetworkState(tensors, {"weight": torch.arange(6.0).reshape(2, 3).t(), "bias": torch.zeros(3, dtype=torch.float64)})


def test_embedded_round_trip(
    tmp_path: Path, describe: Callable[..., Any], little_mask: Mask, state: NetworkState, little: nn.Module
) -> None:
    written = save_ticket(tmp_path / "deep" / "t.safetensors", little_mask, describe(parent="a" * 64), weights=state)
    read = load_ticket(str(written.path))
    for ticket in (written, read):
        assert ticket.mask == little_mask
        assert _equal(ticket.rewind_point().backbone, state.backbone)
        assert _equal(ticket.rewind_point().head, state.head)
        assert ticket.density == little_mask.kept / little_mask.size
        assert ticket.round == 2
        assert ticket.header["weights"] == {"embedded": True, "file": None, "sha256": None}
        assert ticket.header["parent"] == "a" * 64
        assert ticket.header["kept"] == {n: int(little_mask[n].numpy().sum()) for n in little_mask}
    assert read.digest == written.digest


def test_digests_by_their_definition(
    tmp_path: Path, describe: Callable[..., Any], little_mask: Mask, state: NetworkState
) -> None:
    """Nothing of ours reads the file here: safetensors, json, struct and hashlib do."""
    plain = NetworkState({n: t.float() if t.is_floating_point() else t for n, t in state.backbone.items()}, state.head)
    ticket = save_ticket(tmp_path / "t.safetensors", little_mask, describe(), weights=plain)
    metadata, tensors = _tensors_by_library(ticket.path)
    assert list(metadata) == ["ticket"]
    header = json.loads(metadata["ticket"])
    kinds = {"uint8": "U8", "float32": "F32", "int64": "I64", "float64": "F64"}
    mask_sha = hashlib.sha256()
    for name in sorted(header["shapes"]):
        packed = np.packbits(little_mask[name].numpy().reshape(-1), bitorder="little")
        assert tensors[f"mask/{name}"].tolist() == packed.tolist()
        mask_sha.update(name.encode() + b"\0" + ",".join(map(str, little_mask[name].shape)).encode() + b"\0" + packed.tobytes())
    assert header["mask_digest"] == mask_sha.hexdigest() == little_mask.digest()
    undigested = {key: value for key, value in header.items() if key != "digest"}
    text = json.dumps(undigested, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    sha = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        array = tensors[name]
        sha.update(name.encode() + b"\0" + kinds[array.dtype.name].encode() + b"\0")
        sha.update(",".join(map(str, array.shape)).encode() + b"\0" + np.ascontiguousarray(array).tobytes())
    assert header["digest"] == sha.hexdigest() == ticket.digest
    assert metadata["ticket"] == json.dumps(header, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert set(tensors) == {f"mask/{n}" for n in little_mask} | {f"weight/{n}" for n in plain.backbone} | {
        "head/weight",
        "head/bias",
    }


def test_the_header_holds_what_the_format_lists(tmp_path: Path, describe: Callable[..., Any], little_mask: Mask) -> None:
    path = save_ticket(tmp_path / "t.safetensors", little_mask, describe()).path
    content = path.read_bytes()
    (size,) = struct.unpack("<Q", content[:8])
    header = json.loads(json.loads(content[8 : 8 + size])["__metadata__"]["ticket"])
    assert header == read_header(path)
    assert sorted(header) == sorted(
        [
            "format",
            "digest",
            "mask_digest",
            "arch",
            "scope",
            "shapes",
            "kept",
            "density",
            "origin",
            "parent",
            "rewind",
            "weights",
            "scores",
            "input",
            "software",
        ]
    )
    assert header["format"] == 1
    assert set(header["origin"]) == {
        "folder",
        "objective",
        "data",
        "split",
        "recipe",
        "config",
        "seed",
        "round",
        "run",
        "importer",
    }
    assert set(header["input"]) == {"size", "channels", "range", "mean", "std", "interpolation"}
    assert set(header["software"]) == {"version", "commit", "torch"}
    assert str(tmp_path) not in content.decode("latin1")
    assert os.uname().nodename not in json.dumps(header["origin"])


def test_saving_again_gives_the_same_bytes(
    tmp_path: Path, describe: Callable[..., Any], little_mask: Mask, state: NetworkState
) -> None:
    one = save_ticket(tmp_path / "a.safetensors", little_mask, describe(), weights=state)
    reordered = NetworkState(dict(reversed(list(state.backbone.items()))), dict(reversed(list(state.head.items()))))
    two = save_ticket(
        tmp_path / "b" / "c.safetensors",
        Mask({n: little_mask[n] for n in reversed(list(little_mask))}),
        describe(),
        weights=reordered,
    )
    again = save_ticket(tmp_path / "d.safetensors", two.mask, describe(), weights=load_ticket(one.path).rewind_point())
    assert one.path.read_bytes() == two.path.read_bytes() == again.path.read_bytes()
    assert not list(tmp_path.glob("**/*.tmp"))


def test_a_mask_without_weights(tmp_path: Path, describe: Callable[..., Any], little_mask: Mask) -> None:
    ticket = load_ticket(save_ticket(tmp_path / "t.safetensors", little_mask, describe()).path)
    assert ticket.mask == little_mask
    with pytest.raises(TicketError, match="mask without weights"):
        ticket.rewind_point()
    with pytest.raises(TicketError, match=r"scores\.safetensors"):
        ticket.round0_weights()


def test_weights_by_reference(run: Any) -> None:
    ticket = load_ticket(run.ticket().path)
    assert _equal(ticket.rewind_point().backbone, run.rewind.backbone)
    assert _equal(ticket.rewind_point().head, run.rewind.head)
    assert _equal(ticket.round0_weights().backbone, run.round0.backbone)
    file = run.folder / "rewind.safetensors"
    assert ticket.header["weights"] == {
        "embedded": False,
        "file": "../rewind.safetensors",
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
    }


@pytest.mark.parametrize("damage", ["missing", "flipped", "another", "folder"])
def test_a_broken_reference_leaves_the_mask_readable(damage: str, run: Any) -> None:
    ticket = run.ticket()
    for file in (run.folder / "rewind.safetensors", run.folder / "scores.safetensors"):
        if damage in ("missing", "folder"):
            file.unlink()
        if damage == "folder":
            file.mkdir()
        elif damage == "flipped":
            content = bytearray(file.read_bytes())
            content[-1] ^= 1
            file.write_bytes(content)
        elif damage == "another":
            save_weights(file, NetworkState({"a": torch.zeros(1)}, {}))
    read = load_ticket(ticket.path)
    assert read.mask == ticket.mask
    for file, ask in (("rewind.safetensors", read.rewind_point), ("scores.safetensors", read.round0_weights)):
        with pytest.raises(TicketError, match=file) as error:
            ask()
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("ticket", [None, {"run": "SimCLR/digits@2", "digest": "5" * 64}])
def test_a_file_of_weights_is_checked(ticket: dict[str, str] | None, tmp_path: Path, state: NetworkState) -> None:
    path = tmp_path / "w.safetensors"
    assert save_weights(path, state, ticket) == hashlib.sha256(path.read_bytes()).hexdigest()
    content = path.read_bytes()
    assert read_weights(path).ticket == ticket
    read = load_weights(path)
    assert _equal(read.backbone, state.backbone)
    assert _equal(read.head, state.head)
    for place in range(0, len(content), 7):
        damaged = bytearray(content)
        damaged[place] ^= 1 << (place % 8)
        path.write_bytes(damaged)
        with pytest.raises(TicketError):
            load_weights(path)
    path.write_bytes(content)
    with pytest.raises(TicketError, match="not the file that its ticket names"):
        load_weights(path, "0" * 64)


def test_networks_are_split_at_their_prefixes() -> None:
    state = NetworkState.split({"backbone.a": torch.ones(1), "head.0.b": torch.zeros(2)})
    assert (list(state.backbone), list(state.head)) == (["a"], ["0.b"])
    assert list(state.joined()) == ["backbone.a", "head.0.b"]
    with pytest.raises(TicketError, match="other"):
        NetworkState.split({"other.a": torch.ones(1)})


@pytest.mark.parametrize(
    "change",
    [
        {"input": {"mean": [float("nan")]}},
        {"input": {"mean": {1, 2}}},
        {"arch": {"name": Path("x")}},
        {"arch": {"name": "resnet20"}},
        {"origin": {"seed": -1}},
        {"origin": {"round": 1.5}},
        {"origin": {"host": "me"}},
        {"scores": {"file": None, "sha256": None}},
        {"scores": {"file": "/etc/passwd", "sha256": "0"}},
        {"parent": 5},
    ],
)
def test_descriptions_that_do_not_fit_the_format(
    change: dict[str, Any], tmp_path: Path, describe: Callable[..., Any], little_mask: Mask
) -> None:
    with pytest.raises(TicketError) as error:
        save_ticket(tmp_path / "t.safetensors", little_mask, describe(**change))
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


def test_weights_of_both_kinds_or_of_other_shapes(
    tmp_path: Path, describe: Callable[..., Any], little_mask: Mask, state: NetworkState
) -> None:
    file = {"file": "w.safetensors", "sha256": "0" * 64}
    with pytest.raises(TicketError, match="not both"):
        save_ticket(tmp_path / "t.safetensors", little_mask, describe(), weights=state, weights_file=file)
    turned: dict[str, Tensor] = {**state.backbone, "body.weight": state.backbone["body.weight"].transpose(0, 1)}
    with pytest.raises(TicketError, match=r"body\.weight"):
        save_ticket(tmp_path / "t.safetensors", little_mask, describe(), weights=NetworkState(turned, {}))


def test_a_mask_that_keeps_nothing_is_no_ticket(tmp_path: Path, describe: Callable[..., Any], little_mask: Mask) -> None:
    nothing = Mask({n: torch.zeros_like(m) for n, m in little_mask.items()})
    with pytest.raises(TicketError):
        save_ticket(tmp_path / "t.safetensors", nothing, describe())


def test_input_specification(tmp_path: Path, describe: Callable[..., Any], little_mask: Mask) -> None:
    ticket = save_ticket(tmp_path / "t.safetensors", little_mask, describe())
    spec = {**ticket.header["input"]}
    ticket.check_input({**spec, "mean": tuple(spec["mean"]), "size": 224, "interpolation": "bicubic"})
    for change in ({"range": [0.0, 255.0]}, {"mean": [0.0, 0.0, 0.0]}, {"std": [1.0, 1.0, 1.0]}):
        with pytest.raises(TicketError, match="accept_input_mismatch"):
            ticket.check_input({**spec, **change})
