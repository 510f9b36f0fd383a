"""A loss that is not finite stops the run with its step; the last good checkpoint stays; pruned weights cannot move unseen."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from common.errors import RunError
from common.training.checkpoint import load_checkpoint
from common.training.logs import Log
from SimCLR.main import main


def test_a_diverging_run_stops_with_the_step(
    tmp_path: Path, small_words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*small_words, f"--out={tmp_path}", "--optim.lr=1e30", "--optim.schedule=constant", "--train.epochs=20"]
    assert main([*words, "--train.checkpoint_every=1it", "--optim.warmup=40it"]) == 1
    error = capsys.readouterr().err.strip()
    assert len(error.splitlines()) == 1
    assert "step" in error
    assert "round 0" in error
    (run,) = tmp_path.glob("SimCLR/*/*")
    record = json.loads((run / "run.json").read_text())
    assert record["status"] == "failed"
    assert record["error"] in error
    checkpoint = load_checkpoint(run / "checkpoint.pt")
    if checkpoint is not None:
        assert all(bool(torch.isfinite(t).all()) for t in checkpoint.network.values() if t.is_floating_point())
    assert not list(run.glob("round_*"))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_the_first_loss_that_is_not_finite_is_named_though_losses_are_read_late(tmp_path: Path, bad: float) -> None:
    log = Log(tmp_path, resumed_at=(0, 0), every=10, tensorboard=False)
    for step in range(9):
        log.losses(2, step, 0.1, {"total": torch.tensor(bad if step >= 4 else 1.0)})
    with pytest.raises(RunError, match=r"step 4 of round 2"):
        log.losses(2, 9, 0.1, {"total": torch.tensor(1.0)})
    log.close()
    assert (tmp_path / "metrics.jsonl").read_text() == ""
