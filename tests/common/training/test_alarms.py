"""Alarms: a ruined round is said, flagged, and stops the search where that is asked for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from common.tickets import load_ticket
from common.tickets.mask import Mask
from common.training.alarms import mask_alarms
from SimCLR.main import main


def test_a_tensor_without_weights_is_an_alarm() -> None:
    kept, none = torch.ones(2, 2, dtype=torch.bool), torch.zeros(2, 2, dtype=torch.bool)
    assert mask_alarms(Mask({"a": kept, "b": kept})) == ()
    assert mask_alarms(Mask({"a": kept, "b": none})) == ("layer_collapsed",)


@pytest.fixture
def ruinous(small_words: tuple[str, ...], tmp_path: Path) -> list[str]:
    """A search whose second round keeps a hundredth of a percent: some tensors are left without weights."""
    rounds = ["--prune.rate=0.9999", "--prune.rounds=1"]
    return [*small_words, *rounds, f"--out={tmp_path}"]


def test_a_ruined_round_is_said_and_flagged(ruinous: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(ruinous) == 0
    said = capsys.readouterr()
    assert "ALARM in round 1: layer_collapsed" in said.out + said.err
    result = json.loads(next(tmp_path.glob("SimCLR/*/*/round_01/result.json")).read_text())
    assert "layer_collapsed" in result["flags"]
    ticket = load_ticket(next(tmp_path.glob("SimCLR/*/*/round_01/ticket.safetensors")))
    expected = {name: int(kept.sum()) / kept.numel() for name, kept in ticket.mask.items()}
    assert result["details"]["layer_density"] == expected
    assert min(expected.values()) == 0


def test_a_search_stops_before_the_next_prune_and_goes_on_when_told(
    ruinous: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*ruinous, "--prune.rate=0.99", "--prune.rounds=2"]
    assert main([*words, "--prune.on_alarm=stop"]) == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert "round 1 is ruined" in error
    assert not list(tmp_path.glob("SimCLR/*/*/round_02/ticket.safetensors"))
    before = next(tmp_path.glob("SimCLR/*/*/round_01/ticket.safetensors")).read_bytes()
    assert main([*words, "--prune.on_alarm=warn"]) == 0
    assert len(list(tmp_path.glob("SimCLR/*/*/round_02/ticket.safetensors"))) == 1
    assert next(tmp_path.glob("SimCLR/*/*/round_01/ticket.safetensors")).read_bytes() == before
