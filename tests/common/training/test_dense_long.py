"""How long control dense_long trains: hand-worked searches, and the schedule stretched."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from common.config import OptimConfig, RunConfig, TrainConfig
from common.errors import InputError
from common.tickets import load_ticket
from common.training.dense_long import lengthened, search_epochs
from common.training.optim import build_schedule


def epochs(run: Path, round_: int) -> float:
    return search_epochs(load_ticket(run / f"round_{round_:02d}/ticket.safetensors"))


def test_rewound_to_the_end_of_round_0(small_search: Path) -> None:
    """Two epochs, then one a round. Round 1's mask needs round 0 alone, which dense has behind it; round 3's, rounds 1 and 2."""
    assert [epochs(small_search, round_) for round_ in range(4)] == [0, 0, 1, 2]


def test_rewound_to_the_start(search: Callable[..., Path]) -> None:
    run = search("--rewind.to=init", "--prune.rounds=2", folder="Supervised")
    assert [epochs(run, round_) for round_ in range(3)] == [0, 2, 3]


def test_rewound_to_a_step(search: Callable[..., Path]) -> None:
    """Round 0 has epochs 0 to 3, later ones epochs 1 to 3; the dense weights have the first epoch behind them."""
    run = search(
        "--rewind.to=step",
        "--rewind.step=1ep",
        "--prune.epochs=null",
        "--train.epochs=3",
        "--prune.rounds=2",
        folder="Supervised",
    )
    assert [epochs(run, round_) for round_ in range(3)] == [0, 2, 4]


@pytest.mark.parametrize(("word", "expected"), [("--prune.schedule=one_shot", [0, 2, 2]), ("--prune.score=random", [0, 0, 0])])
def test_rounds_that_did_not_make_the_mask_are_not_counted(word: str, expected: list[float], search: Callable[..., Path]) -> None:
    """Pruned at once after round 0, every mask took its two epochs alone; a drawn one took none."""
    run = search(word, "--rewind.to=init", "--prune.rounds=2", folder="Supervised")
    assert [epochs(run, round_) for round_ in range(3)] == expected


def test_a_search_that_started_from_a_ticket(small_search: Path, search: Callable[..., Path]) -> None:
    """Inside another ticket's mask its epochs are not all; from a dense one it begins like any other, from its rewind point."""
    start = "--start.weights=" + str(small_search)
    run = search(start + "/round_01/ticket.safetensors", "--prune.rounds=1")
    for round_ in range(2):
        with pytest.raises(InputError, match="is of a search that started from a ticket"):
            epochs(run, round_)
    dense = search(start + "/round_00/ticket.safetensors", "--prune.rounds=2")
    assert [epochs(dense, round_) for round_ in range(3)] == [0, 0, 1]


def test_a_search_whose_record_is_lost(small_search: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(small_search, run)
    told = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**told, "config": {}}))
    with pytest.raises(InputError, match=r"run\.json does not say prune\.score"):
        epochs(run, 2)
    (run / "run.json").unlink()
    with pytest.raises(InputError, match=r"run\.json is missing"):
        epochs(run, 2)


def test_a_search_whose_rounds_do_not_lie_there(small_search: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(small_search, run)
    file = run / "round_01/result.json"
    told = json.loads(file.read_text())
    file.write_text(json.dumps({**told, "details": {}}))
    with pytest.raises(InputError, match=r"round_01/result\.json does not say details\.epochs"):
        epochs(run, 2)
    file.write_text(json.dumps({**told, "run": "SimCLR/other-0123456789ab/seed0-0"}))
    with pytest.raises(InputError, match="is of the run SimCLR/other"):
        epochs(run, 2)
    file.unlink()
    with pytest.raises(InputError, match=r"round_01/result\.json is missing"):
        epochs(run, 2)
    assert epochs(run, 1) == 0


def test_the_schedule_is_stretched() -> None:
    optim = OptimConfig(lr=0.1, schedule="multistep", milestones=("4ep", "60it"), warmup="1ep")
    config = RunConfig(optim=optim, train=TrainConfig(epochs=10, batch_size=8))
    longer = lengthened(config, 5.0, 10)
    assert longer.train.epochs == 15
    assert replace(longer, train=config.train, optim=config.optim) == config
    short, long = (build_schedule(c.optim, c.train.epochs * 10, 10) for c in (config, longer))
    falls = [[step for step in range(11, total) if s(step) < s(step - 1)] for s, total in ((short, 100), (long, 150))]
    assert falls == [[40, 60], [60, 90]]
    assert [long(step) for step in range(10)] == [short(step) for step in range(10)]
