"""`python -m common.exchange cost|compact`: what they print and write, and that every error is one line and exit code 2."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from common.exchange.__main__ import main
from common.exchange.compaction.compacted_file import load_compacted
from common.exchange.ticket_network import masked_network
from common.tickets.ticket import Description, Ticket, load_ticket, save_ticket
from common.tickets.weights_file import save_weights

ROOT = Path(__file__).parents[4]


def _fails(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(list(words)) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("common.exchange")
    assert err.count("\n") == 1
    return err


def test_cost_as_json(make_ticket: Callable[..., Ticket], capsys: pytest.CaptureFixture[str]) -> None:
    ticket = make_ticket()
    assert main(["cost", str(ticket.path), "--size", "24", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    network = masked_network(ticket, "rewind", 24)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.zeros(1, 3, 24, 24))
    total = sum(parameter.numel() for parameter in network.parameters())
    kept = sum(int(ticket.mask[name].sum()) for name in ticket.mask)
    size = sum(ticket.mask[name].numel() for name in ticket.mask)
    assert found["ticket"] == ticket.digest
    assert "5 classes" in found["network"]
    assert found["macs"]["dense"] == counter.get_total_flops() // 2
    assert found["macs"]["other"] == 0
    assert found["in_scope"] == {"parameters": size, "kept": kept, "sparsity": 1 - kept / size}
    assert found["whole_network"]["parameters"] == total
    assert found["whole_network"]["sparsity"] == pytest.approx((size - kept) / total)


def test_cost_as_a_table(make_ticket: Callable[..., Ticket], capsys: pytest.CaptureFixture[str]) -> None:
    ticket = make_ticket(classes=None)
    assert main(["cost", str(ticket.path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["size"] == [16, 16]
    assert "without a head" in found["network"]
    assert main(["cost", str(ticket.path)]) == 0
    out = capsys.readouterr().out
    for layer in found["layers"]:
        row = next(line for line in out.splitlines() if f" {layer['name'].removesuffix('.weight')} " in line)
        assert f" {layer['masked_macs']:,} " in row
        assert f" {layer['kernels']['dead']:,}/{layer['kernels']['count']:,} " in row
    assert f"{found['in_scope']['sparsity']:.4%}" in out
    assert f"{found['whole_network']['sparsity']:.4%}" in out
    assert f"{found['storage']['packed']:,}" in out


def test_cost_needs_no_weights(make_ticket: Callable[..., Ticket], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ticket = make_ticket()
    header = ticket.header
    parts = {key: header[key] for key in ("arch", "scope", "origin", "rewind", "input")}
    (tmp_path / "run" / "round_01").mkdir(parents=True)
    sha256 = save_weights(tmp_path / "run" / "rewind.safetensors", ticket.rewind_point())
    reference = {"file": "../rewind.safetensors", "sha256": sha256}
    other = save_ticket(tmp_path / "run/round_01/t.safetensors", ticket.mask, Description(**parts), weights_file=reference)
    assert main(["cost", str(other.path), "--json"]) == 0
    assert "5 classes" in json.loads(capsys.readouterr().out)["network"]
    (tmp_path / "run" / "rewind.safetensors").unlink()
    assert main(["cost", str(other.path), "--json"]) == 0
    assert "../rewind.safetensors, are missing" in json.loads(capsys.readouterr().out)["network"]


def test_compact(make_ticket: Callable[..., Ticket], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ticket, output = make_ticket(), tmp_path / "new" / "c.safetensors"
    assert main(["compact", str(ticket.path), "-o", str(output), "--repeats", "2", "--batch", "3"]) == 0
    out = capsys.readouterr().out
    thin, masked = load_compacted(output), masked_network(ticket, "rewind", 16)
    sizes = [sum(p.numel() for p in network.parameters()) for network in (masked, thin)]
    row = next(line for line in out.splitlines() if line.startswith("parameters"))
    assert row.split()[1:] == [f"{sizes[0]:,}", f"{sizes[1]:,}", f"{sizes[1] / sizes[0]:.4f}"]
    assert "ms for 3 of 16 px" in out
    assert "medians of 2 interleaved runs on processor" in out
    assert "removed" in out
    content = output.read_bytes()
    assert "exists" in _fails(capsys, "compact", str(ticket.path), "-o", str(output))
    assert output.read_bytes() == content
    assert main(["compact", str(ticket.path), "-o", str(tmp_path / "again"), "--repeats", "0"]) == 0
    assert "medians" not in capsys.readouterr().out
    assert (tmp_path / "again").read_bytes() == content


def test_project(make_ticket: Callable[..., Ticket], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ticket, output = make_ticket(), tmp_path / "p.safetensors"
    assert main(["compact", str(ticket.path), "--to", "2:4", "-o", str(output)]) == 0
    out = capsys.readouterr().out
    written = load_ticket(output)
    assert written.header["parent"] == ticket.digest
    assert written.header["origin"]["importer"] == "compact:2:4:rewind"
    assert written.mask.is_within(ticket.mask)
    assert written.density < ticket.density
    source = ticket.rewind_point().backbone
    assert all(torch.equal(tensor, source[name]) for name, tensor in written.rewind_point().backbone.items())
    before, after = (sum(float(source[n][mask[n]].abs().sum()) for n in mask) for mask in (ticket.mask, written.mask))
    assert f"{after / before:.4%} of magnitude stays" in out


def test_bad_input(make_ticket: Callable[..., Ticket], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ticket = make_ticket()
    path, new = str(ticket.path), str(tmp_path / "new.safetensors")
    parts: dict[str, Any] = {key: ticket.header[key] for key in ("arch", "scope", "origin", "rewind", "input")}
    bare = save_ticket(tmp_path / "bare.safetensors", ticket.mask, Description(**parts))
    parts["input"] = {**parts["input"], "size": None}
    unsized = save_ticket(tmp_path / "unsized.safetensors", ticket.mask, Description(**parts), weights=ticket.rewind_point())
    for words, expected in (
        (["cost", str(tmp_path / "absent")], "No such file"),
        (["cost", path, "--size", "0"], "pixels >= 1"),
        (["cost", path, "--size", "x"], "invalid int"),
        (["cost", str(unsized.path)], "give --size"),
        (["compact", path], "required"),
        (["compact", str(unsized.path), "-o", new], "give --size"),
        (["compact", str(bare.path), "-o", new], "mask without weights"),
        (["compact", path, "-o", new, "--weights", "trained"], "scores.safetensors"),
        (["compact", path, "-o", new, "--repeats", "-1"], "repeats"),
        (["compact", path, "-o", new, "--batch", "0"], "batch"),
        (["compact", path, "-o", new, "--to", "1:4"], "invalid choice"),
        (["compact", path, "-o", new, "--to", "2:4", "--size", "16"], "leave it out"),
        (["compact", str(bare.path), "-o", new, "--to", "2:4"], "mask without weights"),
        (["compact", path, "-o", str(ticket.path / "x")], "cannot write"),
    ):
        assert expected in _fails(capsys, *words), words
    assert not Path(new).exists()


def test_help_loads_no_torch() -> None:
    for command in ("cost", "compact"):
        words = [sys.executable, "-X", "importtime", "-m", "common.exchange", command, "--help"]
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
        assert {"torch", "rich", "numpy"}.isdisjoint(line.rpartition("|")[2].strip() for line in done.stderr.splitlines())
