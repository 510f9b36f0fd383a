"""What the canonical form takes for one run is one: run both ways, it leaves the same tickets and the same result."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import pytest

from common.tickets import load_ticket

QUICK = ("--train.device=cpu", "--train.threads=1", "--log.tensorboard=false", "--log.progress=false")
SEARCH = (*QUICK, "--data.name=digits:0-2", "--train.epochs=1", "--train.batch_size=64", "--evaluation.retrieval_batch=32")


def left_by(folder: str, out: Path, words: tuple[str, ...]) -> tuple[str, Any, list[Any]]:
    """Run; return the run's identity, what its result says, and its tickets' masks and weights."""
    assert importlib.import_module(f"{folder}.main").main([*words, f"--out={out}"]) == 0
    (run,) = out.glob(f"{folder}/*/*")
    result = json.loads((run / "result.json").read_text())
    tickets = [load_ticket(path) for path in sorted(run.glob("round_*/ticket.safetensors"))]
    kept = ("run", "metrics", "density", "control", "flags", "data", "details", "mask_digest", "ticket")
    return run.parent.name, {key: result[key] for key in kept}, [ticket.digest for ticket in tickets]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (
            ("--prune.rounds=1", "--prune.rate=0.4", "--prune.epochs=null"),
            (
                "--prune.rounds=1",
                "--prune.rate=0.4",
                "--data.name=digits: 2,0,1",
                "--model.stem=native",
                "--prune.epochs=1",
                "--rewind.to=round0",
                "--optim.decay_norms=true",
                "--optim.betas=[0.1,0.2]",
                "--optim.milestones=[1ep]",
                "--optim.warmup=0ep",
                "--augment.blur_sigma=[1,2]",
            ),
        ),
        (
            ("--prune.rounds=0",),
            (
                "--prune.rounds=0",
                "--prune.rate=0.4",
                "--prune.epochs=3",
                "--prune.score=random",
                "--prune.allocation=layerwise",
                "--prune.schedule=one_shot",
            ),
        ),
        (
            ("--prune.rounds=2", "--prune.epochs=1", "--prune.score=random"),
            ("--prune.rounds=2", "--prune.epochs=1", "--prune.score=random", "--prune.schedule=one_shot"),
        ),
        (
            ("--prune.rounds=1", "--prune.epochs=null", "--train.epochs=2", "--rewind.to=step", "--rewind.step=1ep"),
            ("--prune.rounds=1", "--prune.epochs=null", "--train.epochs=2", "--rewind.to=step", "--rewind.step=001ep"),
        ),
    ],
    ids=["spellings", "dense", "random scores", "rewind step"],
)
def test_searches(one: tuple[str, ...], other: tuple[str, ...], tmp_path: Path) -> None:
    found = [left_by("SimCLR", tmp_path / str(i), (*SEARCH, *words)) for i, words in enumerate((one, other))]
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (
            ("--data.name=digits:3-5",),
            (
                "--data.name=digits:5,3-4",
                "--ticket.control=ticket",
                "--ticket.norm_statistics=reestimate",
                "--optim.lr=3",
                "--train.epochs=7",
                "--train.batch_size=9",
                "--augment.flip=1",
                "--select=last",
                "--linear.folds=9",
            ),
        ),
        (
            ("--data.name=digits:3-5", "--recipe=digits_full", "--train.epochs=2"),
            (
                "--data.name=digits:3-5",
                "--recipe=digits_full",
                "--train.epochs=2",
                "--ticket.norm_statistics=stored",
                "--linear.l2=[5]",
                "--linear.max_iterations=2",
                "--augment.crop_scale=[0.1,0.2]",
                "--keep.trained=all",
            ),
        ),
    ],
    ids=["linear", "full"],
)
def test_transfers(one: tuple[str, ...], other: tuple[str, ...], tmp_path: Path, small_search: Path) -> None:
    ticket = f"--ticket.file={small_search}/round_02/ticket.safetensors"
    found = [left_by("Downstream", tmp_path / str(i), (*QUICK, ticket, *words)) for i, words in enumerate((one, other))]
    assert found[0] == found[1]
