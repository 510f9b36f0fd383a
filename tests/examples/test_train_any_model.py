"""The example runs, trains what is kept, and leaves what is pruned at zero."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import nn

from common.tickets import load_ticket

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "train_any_model.py"


@pytest.fixture(scope="module")
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("train_any_model", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_mask_holds_in_a_plain_loop(
    example: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The network after training, taken from the loop: zeros where the ticket prunes, other weights than before elsewhere."""
    trained: list[nn.Module] = []
    train = example.train
    monkeypatch.setattr(example, "train", lambda model, *words: (train(model, *words), trained.append(model))[0])
    file = tmp_path / "t.safetensors"
    with torch.random.fork_rng(devices=[]):
        assert example.main(["--out", str(file), "--images", "32", "--density", "0.1"]) == 0
    assert "density 0.1000" in capsys.readouterr().out
    ticket = load_ticket(file)
    dense = ticket.rewind_point().backbone
    parameters = {name: p.detach() for name, p in trained[0].backbone.named_parameters()}
    for name, kept in ticket.mask.items():
        assert not parameters[name][~kept].any()
        assert (parameters[name][kept] != dense[name][kept]).float().mean() > 0.9
    flat = torch.cat([dense[name].flatten().abs() for name in ticket.mask])
    assert ticket.mask.kept == round(0.1 * flat.numel())
    assert torch.equal(ticket.mask.flat(), flat >= flat.topk(ticket.mask.kept).values[-1])


def test_a_ticket_of_another_network_is_refused(
    example: ModuleType, small_search: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with torch.random.fork_rng(devices=[]), pytest.raises(SystemExit) as stopped:
        example.main(["--ticket", str(small_search / "round_01" / "ticket.safetensors")])
    assert stopped.value.code == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "resnet_digits" in err


@pytest.mark.slow
def test_it_runs_as_it_is_documented(tmp_path: Path) -> None:
    words = [sys.executable, str(EXAMPLE), "--out", str(tmp_path / "t.safetensors")]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, env={"PYTHONPATH": str(ROOT)}, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "pruned weights that are not zero: 0" in done.stdout
