"""`python -m common.tickets`: what it prints, and that every error is one line and exit code 2."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.tickets.__main__ import main
from common.tickets.controls import control_mask
from common.tickets.ticket import Ticket, load_ticket
from common.tickets.trained import TRAINED, save_trained_weights
from common.tickets.weights_file import NetworkState

ROOT = Path(__file__).parents[3]


@pytest.fixture
def ticket(run: Any) -> Ticket:
    return run.ticket(density=0.3)


def _fails(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """Run a command that must fail; check code and form; return the message."""
    assert main(list(words)) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("common.tickets")
    assert err.endswith("\n")
    assert err.count("\n") == 1
    assert "Traceback" not in err
    return err


def test_inspect(ticket: Ticket, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(ticket.path)]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    for expected in (
        ticket.digest,
        ticket.header["mask_digest"],
        "resnet_digits",
        "digits:0-5",
        "../rewind.safetensors",
        "round0",
    ):
        assert expected in out
    rows = {line.split()[0]: line.split() for line in out.splitlines() if line.startswith(("layer", "conv"))}
    assert set(rows) == set(ticket.mask)
    for name, (_, shape, kept, density) in rows.items():
        array = ticket.mask[name].numpy()
        assert shape == "x".join(map(str, array.shape))
        assert int(kept.replace(",", "")) == array.sum()
        assert float(density) == pytest.approx(array.mean(), abs=5e-5)


def test_inspect_json(ticket: Ticket, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", "--json", str(ticket.path)]) == 0
    assert json.loads(capsys.readouterr().out) == ticket.header


def test_inspect_needs_no_torch_and_no_other_package(ticket: Ticket) -> None:
    code = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ABSENT:
            raise ImportError(f"{name} is absent")
ABSENT = {"torch", "numpy", "torchvision", "timm", "jsonargparse", "yaml", "matplotlib", "safetensors"}
sys.meta_path.insert(0, Absent())
from common.tickets.__main__ import main
assert main(["inspect", sys.argv[1]]) == 0
assert main(["inspect", "--json", sys.argv[1]]) == 0
assert main(["inspect", "absent"]) == 2
assert not ABSENT & set(sys.modules), ABSENT & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code, str(ticket.path)], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert ticket.digest in done.stdout


def test_tickets_need_torch_and_safetensors_only(ticket: Ticket, tmp_path: Path) -> None:
    code = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ABSENT:
            raise ImportError(f"{name} is absent")
ABSENT = {"torchvision", "timm", "jsonargparse", "yaml", "matplotlib", "sklearn", "rich", "tensorboard", "PIL"}
sys.meta_path.insert(0, Absent())
from common.tickets.__main__ import main
from common.tickets.ticket import load_ticket
from common.tickets.hold import hold
import common.tickets as tickets
assert all(getattr(tickets, name) is not None for name in tickets.__all__)
assert main(["verify", sys.argv[1]]) == 0
assert main(["control", sys.argv[1], "--control", "random", "-o", sys.argv[2]]) == 0
"""
    words = [sys.executable, "-c", code, str(ticket.path), str(tmp_path / "c.safetensors")]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_verify(ticket: Ticket, run: Any, capsys: pytest.CaptureFixture[str]) -> None:
    other = run.ticket(density=0.2, round_=3)
    assert main(["verify", str(ticket.path), str(other.path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    for line, one in zip(lines, (ticket, other), strict=True):
        assert str(one.path) in line
        assert one.digest in line
        assert "round-0 weights" in line
    scores = run.folder / "scores.safetensors"
    content = scores.read_bytes()
    scores.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert "scores.safetensors" in _fails(capsys, "verify", str(ticket.path))
    scores.write_bytes(content)
    (run.folder / "rewind.safetensors").unlink()
    assert "rewind.safetensors" in _fails(capsys, "verify", str(ticket.path))
    assert main(["inspect", str(ticket.path)]) == 0


def test_verify_checks_trained_weights_where_they_lie_there(ticket: Ticket, run: Any, capsys: pytest.CaptureFixture[str]) -> None:
    other = run.ticket(seed=1, round_=3)
    for one in (ticket, other):
        zeroed = {n: t * one.mask[n] if n in one.mask else t for n, t in run.round0.backbone.items()}
        save_trained_weights(one, NetworkState(zeroed, {}))
    assert main(["verify", str(ticket.path)]) == 0
    assert "trained weights whole" in capsys.readouterr().out
    (ticket.path.parent / TRAINED).write_bytes((other.path.parent / TRAINED).read_bytes())
    assert "belongs to another ticket" in _fails(capsys, "verify", str(ticket.path))


def test_compare(ticket: Ticket, run: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = run.ticket(seed=1, round_=3)
    words = ["compare", str(ticket.path), str(other.path), "--plot", str(tmp_path / "p.png")]
    assert main([*words, "--json"]) == 0
    out, err = capsys.readouterr()
    report = json.loads(out)
    a, b = (t.mask.flat().numpy() for t in (ticket, other))
    assert report["pairs"][0]["overlap"] == pytest.approx((a & b).sum() / (a | b).sum())
    assert set(report["density"]) == {"round_02", "round_03"}
    assert "p.png" in err
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
    assert main(words) == 0
    out = capsys.readouterr().out
    assert f"{report['pairs'][0]['overlap']:.4f}" in out
    assert f"{report['pairs'][0]['chance']:.4f}" in out
    assert f"{report['pairs'][0]['chance_layerwise']:.4f}" in out


def test_compare_many(run: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tickets = [run.ticket(seed=seed, round_=seed) for seed in (1, 2, 3)]
    paths = [str(ticket.path) for ticket in tickets]
    files = {name: tmp_path / "out" / name for name in ("p.png", "h.png", "t.csv")}
    words = ["--plot", files["p.png"], "--heatmap", files["h.png"], "--csv", files["t.csv"]]
    assert main(["compare", *paths, "--json", *map(str, words)]) == 0
    out, err = capsys.readouterr()
    report = json.loads(out)
    assert all(str(file) in err and file.is_file() for file in files.values())
    rows = list(csv.DictReader(files["t.csv"].read_text().splitlines()))
    assert len(rows) == 3 * (1 + len(tickets[0].mask))
    labels = {f"round_{seed:02}": ticket for seed, ticket in zip((1, 2, 3), tickets, strict=True)}
    for row in rows:
        pair = next(pair for pair in report["pairs"] if (pair["a"], pair["b"]) == (row["a"], row["b"]))
        names = list(pair["tensors"]) if row["tensor"] == "all" else [row["tensor"]]
        a, b = (np.concatenate([labels[row[side]].mask[name].numpy().ravel() for name in names]) for side in "ab")
        assert [int(row[key]) for key in ("weights", "kept_a", "kept_b", "kept_both")] == [
            a.size,
            a.sum(),
            b.sum(),
            (a & b).sum(),
        ]
        assert float(row["overlap"]) == (a & b).sum() / (a | b).sum()
    assert main(["compare", *paths, *map(str, words)]) == 0
    assert "heat-map" in capsys.readouterr().out


def test_control(ticket: Ticket, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "new" / "c.safetensors"
    assert main(["control", str(ticket.path), "--control", "random_layerwise", "--seed", "7", "-o", str(output)]) == 0
    written = load_ticket(output)
    assert written.digest in capsys.readouterr().out
    assert written.mask == control_mask(ticket, "random_layerwise", 7)
    content = output.read_bytes()
    assert "exists" in _fails(capsys, "control", str(ticket.path), "--control", "random", "-o", str(output))
    assert output.read_bytes() == content


def test_errors_are_one_line_and_exit_code_2(
    ticket: Ticket, run: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, plot, new = str(ticket.path), str(tmp_path / "p.png"), str(tmp_path / "c.safetensors")
    other = str(run.ticket(seed=1, round_=3).path)
    file = tmp_path / "file"
    file.write_text("no ticket")
    control = ["control", path, "-o", new, "--control"]
    for words, expected in (
        ([], "required"),
        (["burn"], "invalid choice"),
        (["inspect"], "required"),
        (["inspect", path, "--jso"], "unrecognized"),
        (["inspect", str(tmp_path / "absent")], "No such file"),
        (["inspect", str(tmp_path)], "directory"),
        (["inspect", str(file)], "not a ticket"),
        (["inspect", str(file) + "/x"], "directory"),
        (["inspect", "a\nb"], "No such file"),
        (["inspect", "a\0b"], "null"),
        (["verify", str(file)], "not a ticket"),
        (["verify", path, other, "--parent", path], "one ticket, got 2"),
        (["verify", path, "--parent", str(file)], "not a ticket"),
        (["verify", str(run.folder / "rewind.safetensors")], "no ticket"),
        (["compare", path, "--plot", plot], "two different"),
        (["compare", path, path, "--plot", plot], "two different"),
        (["compare", path, str(file), "--plot", plot], "not a ticket"),
        ([*control, "randm"], "did you mean random"),
        ([*control, "mask_only"], "start.weights"),
        ([*control, "random", "--seed", "-1"], "seed"),
        ([*control, "random", "--seed", "x"], "invalid int"),
        (["control", path, "--control", "random"], "required"),
        (["control", path, "--control", "random", "-o", str(file / "c")], "cannot write"),
    ):
        assert expected in _fails(capsys, *words), words
    assert main(["compare", path, other, "--plot", str(file / "x.png")]) == 2
    err = capsys.readouterr().err
    assert "cannot write" in err
    assert err.count("\n") == 1
    assert not (tmp_path / "c.safetensors").exists()


def test_masks_of_different_architectures_cannot_be_compared(
    ticket: Ticket, little_mask: Any, describe: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from common.tickets.ticket import save_ticket

    other = save_ticket(tmp_path / "t.safetensors", little_mask, describe())
    assert "different architectures" in _fails(
        capsys, "compare", str(ticket.path), str(other.path), "--plot", str(tmp_path / "p")
    )
    assert not (tmp_path / "p").exists()


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["--help"])
    assert stopped.value.code == 0
    out = capsys.readouterr().out
    assert all(command in out for command in ("inspect", "verify", "compare", "control"))
