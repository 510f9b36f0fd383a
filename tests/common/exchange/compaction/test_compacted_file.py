"""Files of compacted networks: read back they compute the same, and no damage gets through."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save

from common.errors import InputError
from common.exchange.compaction.compact import compact
from common.exchange.compaction.compacted_file import load_compacted, save_compacted
from common.exchange.compaction.positions import read_positions, write_positions
from common.exchange.ticket_network import masked_network
from common.files import canonical_json
from common.tickets.container import parse_container
from common.tickets.header import ticket_digest
from common.tickets.ticket import Ticket


def _saved(ticket: Ticket, path: Path, size: int = 16) -> torch.nn.Module:
    images_NCHW = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    compaction = compact(masked_network(ticket, "rewind", size), images_NCHW)
    save_compacted(path, compaction, ticket, weights="rewind", size=size)
    return compaction.network


def _header(path: Path) -> dict[str, Any]:
    with safe_open(path, "pt") as file:
        return json.loads(file.metadata()["compacted"])


@pytest.mark.parametrize(("name", "classes"), [("resnet_digits", 5), ("resnet20_a", None), ("mobilenetv1_100", 4)])
def test_a_network_comes_back(make_ticket: Callable[..., Ticket], tmp_path: Path, name: str, classes: int | None) -> None:
    ticket = make_ticket(name, classes, 32, filters=0.5)
    thin = _saved(ticket, tmp_path / "c.safetensors", 32)
    loaded = load_compacted(tmp_path / "c.safetensors")
    assert not loaded.training
    x_NCHW = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        assert torch.equal(loaded(x_NCHW), thin(x_NCHW))
        masked = masked_network(ticket, "rewind", 32)(x_NCHW)
        assert torch.allclose(loaded(x_NCHW), masked, atol=1e-5 * float(masked.abs().max()), rtol=0)
    header = _header(tmp_path / "c.safetensors")
    assert (header["ticket"], header["classes"]) == (ticket.digest, classes)
    assert set(load_file(tmp_path / "c.safetensors")) == set(thin.state_dict())
    assert (tmp_path / "c.safetensors").stat().st_size < ticket.path.stat().st_size


def test_kept_positions_are_those_of_the_weights(make_ticket: Callable[..., Ticket], tmp_path: Path) -> None:
    """What stays of an active filter is the dense filter at the positions that the file names."""
    ticket = make_ticket()
    _saved(ticket, tmp_path / "c.safetensors")
    header, thin = _header(tmp_path / "c.safetensors"), load_file(tmp_path / "c.safetensors")
    masked = {name: t * ticket.mask[name] if name in ticket.mask else t for name, t in ticket.rewind_point().backbone.items()}
    for name, cut in header["layers"].items():
        weight = masked.get(name.removeprefix("backbone.") + ".weight")
        if weight is not None and weight.dim() == 4:
            outputs, inputs = (read_positions(cut[key], cut[f"of_{key}"]) for key in ("outputs", "inputs"))
            kept = thin[f"{name}.weight"]
            assert torch.equal(kept, torch.where(kept == 0, 0.0, weight[outputs][:, inputs]))


def test_damage_is_refused(make_ticket: Callable[..., Ticket], tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    _saved(make_ticket(), path)
    content = path.read_bytes()
    draws = torch.Generator().manual_seed(0)
    for at in torch.randint(len(content), (60,), generator=draws).tolist() + list(range(0, 4000, 131)):
        path.write_bytes(content[:at] + bytes([content[at] ^ 1 << at % 8]) + content[at + 1 :])
        with pytest.raises(InputError):
            load_compacted(path)
    path.write_bytes(content[:-7])
    with pytest.raises(InputError, match="truncated"):
        load_compacted(path)


def _forged(path: Path, change: Callable[[dict[str, Any], dict[str, torch.Tensor]], None]) -> None:
    """Change a file as somebody who knows the format would, digest and all."""
    header, tensors = _header(path), load_file(path)
    change(header, tensors)
    del header["digest"]
    digest = ticket_digest(header, parse_container(save(tensors), "x").tensors)
    path.write_bytes(save(tensors, {"compacted": canonical_json({**header, "digest": digest})}))


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("format", 2, "this version reads 1"),
        ("arch", {"name": "resnet_digits"}, "cannot be built"),
        ("arch", {"name": "nonsense", "stem": "native", "in_chans": 3, "variant": None}, "unknown backbone"),
        ("classes", -3, "cannot be built"),
        ("classes", "many", "cannot be built"),
        ("size", "big", "do not fit one another"),
        ("layers", {}, "do not fit"),
    ],
)
def test_forged_headers_are_refused(
    make_ticket: Callable[..., Ticket], tmp_path: Path, key: str, value: object, expected: str
) -> None:
    path = tmp_path / "c.safetensors"
    _saved(make_ticket(), path)
    _forged(path, lambda header, tensors: header.update({key: value}))
    with pytest.raises(InputError, match=expected):
        load_compacted(path)


@pytest.mark.parametrize(
    ("layer", "said", "expected"),
    [
        ("nowhere", {"inputs": "0", "of_inputs": 1, "outputs": "0", "of_outputs": 1}, "nowhere"),
        ("backbone.relu", {"inputs": "0", "of_inputs": 1, "outputs": "0", "of_outputs": 1}, "not compacted"),
        ("backbone.conv1", {"inputs": "0-2", "of_inputs": 3, "outputs": "0-2", "of_outputs": 9}, "numbers of channels"),
        ("backbone.conv1", {"inputs": "0-2", "of_inputs": 3, "outputs": "0-99", "of_outputs": 16}, "positions"),
        ("backbone.conv1", {"inputs": "0-2", "of_inputs": 3, "outputs": "5,2", "of_outputs": 16}, "positions"),
        ("backbone.conv1", {"inputs": "0-2", "of_inputs": 3, "outputs": "0", "of_outputs": 16}, "do not fit"),
        ("backbone.conv1", "all", "numbers of channels"),
        ("backbone.conv1", {"of_inputs": 3, "of_outputs": 16}, "inputs"),
    ],
)
def test_forged_layers_are_refused(
    make_ticket: Callable[..., Ticket], tmp_path: Path, layer: str, said: object, expected: str
) -> None:
    path = tmp_path / "c.safetensors"
    _saved(make_ticket(), path)
    _forged(path, lambda header, tensors: header["layers"].update({layer: said}))
    with pytest.raises(InputError, match=expected):
        load_compacted(path)


def test_cuts_through_groups_are_refused(make_ticket: Callable[..., Ticket], tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    _saved(make_ticket("mobilenetv1_100", None, 32), path, 32)

    def change(header: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
        header["layers"]["blocks.1.0.conv_dw"]["inputs"] = "0-2"

    _forged(path, change)
    with pytest.raises(InputError, match="groups"):
        load_compacted(path)


def test_other_files_are_refused(make_ticket: Callable[..., Ticket], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no compacted network"):
        load_compacted(make_ticket().path)
    with pytest.raises(InputError, match="cannot read"):
        load_compacted(tmp_path / "absent")


@given(st.sets(st.integers(0, 300)))
def test_positions_come_back(chosen: set[int]) -> None:
    positions = sorted(chosen)
    text = write_positions(positions)
    if positions:
        assert read_positions(text, 301) == positions
    assert len(text) <= 4 * len(positions)


def test_positions_by_hand() -> None:
    assert write_positions([0, 1, 2, 7, 9, 10]) == "0-2,7,9-10"
    for bad in ("", "3-1", "1,1", "2,1", "0-4,4", "01", "-1", "1-", "a", "5", 3, None, "0 -1", "1,"):
        with pytest.raises(ValueError, match="positions"):
            read_positions(bad, 5)
