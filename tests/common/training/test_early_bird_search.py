"""Rounds that end early, against runs that are as long from the start; a killed one ends at the same step."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from common.tickets import load_ticket
from Supervised.main import main

WORDS = ("--optim.schedule=constant", "--prune.epochs=null", "--train.epochs=5")
BIRD = ("--prune.early_bird=0.06", "--prune.early_bird_window=2", "--prune.rounds=2")
Search = Callable[..., Path]


def flat(tensors: dict[str, np.ndarray]) -> np.ndarray:
    return np.concatenate([tensors[name].ravel() for name in sorted(tensors)])


def mask_of(ticket: Path) -> np.ndarray:
    return flat({name: kept.numpy() for name, kept in load_ticket(ticket).mask.items()})


def details(run: Path, round_: int) -> dict:
    return json.loads((run / f"round_{round_:02d}/result.json").read_text())["details"]


@pytest.fixture(scope="module")
def early(small_words: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("early")
    assert main([*small_words, *WORDS, *BIRD, f"--out={out}"]) == 0
    return next(out.glob("Supervised/*/*"))


def test_a_round_ends_where_masks_of_runs_of_every_length_settle(early: Path, search: Search) -> None:
    """With a constant rate, a run of e epochs is the first e epochs of a longer one: its weights give that epoch's mask."""
    masks: list[np.ndarray] = []
    distances: list[float] = []
    while len(distances) < 2 or max(distances[-2:]) >= 0.06:
        run = search(*WORDS, f"--train.epochs={len(masks) + 1}", "--prune.rounds=0", folder="Supervised")
        names = sorted(load_ticket(run / "round_00/ticket.safetensors").mask)
        scores = np.abs(flat({name: load_file(run / "scores.safetensors")[f"weight/{name}"] for name in names}))
        kept = len(scores) - round(0.34 * len(scores))
        mask = np.zeros(len(scores), dtype=bool)
        mask[np.argsort(-scores, kind="stable")[:kept]] = True
        if masks:
            distances.append(float((masks[-1] != mask).mean()))
        masks.append(mask)
    told = details(early, 0)
    assert told["early_bird"] == {"distances": pytest.approx(distances), "settled": True}
    assert told["epochs"] == len(masks) < 5
    assert (mask_of(early / "round_01/ticket.safetensors") == masks[-1]).all()


def test_in_a_later_round_distances_are_fractions_of_what_it_keeps(early: Path) -> None:
    """Masks of one count differ in an even number of weights; as fractions of the scope, hardly any product would be whole."""
    told, kept = details(early, 1)["early_bird"]["distances"], int(mask_of(early / "round_01/ticket.safetensors").sum())
    changed = [distance * kept for distance in told]
    assert any(changed)
    assert changed == pytest.approx([2 * round(count / 2) for count in changed])


def test_the_last_round_is_trained_to_its_end(early: Path) -> None:
    assert "early_bird" not in details(early, 2)
    assert details(early, 2)["epochs"] == 5


def test_killed_and_continued_it_ends_at_the_same_step(
    early: Path, small_words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from common.training import span

    saved, save = [], span.save_checkpoint

    def dying(*args: object, **known: object) -> None:
        save(*args, **known)  # type: ignore[arg-type]
        saved.append(known["step"])
        if len(saved) % 2 == 0:
            raise KeyboardInterrupt

    monkeypatch.setattr(span, "save_checkpoint", dying)
    codes = []
    for _ in range(30):
        codes.append(main([*small_words, *WORDS, *BIRD, f"--out={tmp_path}"]))
        if codes[-1] == 0:
            break
    assert set(codes[:-1]) == {130}
    assert codes[-1] == 0
    (run,) = tmp_path.glob("Supervised/*/*")
    files = sorted(early.glob("round_*/ticket.safetensors"))
    assert [load_ticket(run / file.relative_to(early)).digest for file in files] == [load_ticket(file).digest for file in files]
    assert [details(run, k).get("early_bird") for k in range(3)] == [details(early, k).get("early_bird") for k in range(3)]


def test_round_0_is_not_ended_before_the_rewind_step(search: Search) -> None:
    words = ("--prune.early_bird=1.0", "--prune.early_bird_window=1", "--prune.rounds=1")
    run = search(*WORDS, *words, "--rewind.to=step", "--rewind.step=3ep", folder="Supervised")
    assert details(run, 0)["epochs"] == 4  # masks of epochs 3 and 4: one distance, which always lies below 1
    assert (run / "rewind.safetensors").exists()
    assert details(run, 1) | {"epochs": 2.0, "from_epoch": 3.0} == details(run, 1)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("--prune.early_bird=0", "prune.early_bird: got 0.0, expected a fraction in (0, 1], or null"),
        ("--prune.early_bird_window=0", "prune.early_bird_window: got 0, expected an integer >= 1"),
        ("--prune.score=random", "prune.early_bird: got 0.06, expected null with prune.score random"),
    ],
)
def test_bad_input(word: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*BIRD, word, f"--out={tmp_path}"]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
