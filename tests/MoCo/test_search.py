"""MoCo through the search: the queue of each rewind point, given weights in both encoders, tickets like every folder's."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from common.cli import resolve
from common.tickets import load_ticket
from common.tickets.weights_file import load_weights
from common.training.logs import Log
from common.training.loop import Rules, Span, fit
from common.training.optim import build_optimizer, build_schedule
from common.training.pretraining import build_setting
from common.training.records import Records
from common.training.run import open_run
from common.training.search import search
from MoCo.main import COMMAND
from MoCo.main import main as moco
from MoCo.task import MoCoTask, build_task

IN_MOCO = pytest.mark.parametrize("paradigm", ["MoCo"], indirect=True)


def ready(words: tuple[str, ...]) -> MoCoTask:
    config = resolve(COMMAND, list(words)).config
    task = build_task(build_setting(config, torch.device("cpu")))
    task.prepare_(config.train)
    return task


@pytest.mark.parametrize(
    ("words", "steps"),
    [
        (["--rewind.to=init"], 0),
        (["--rewind.to=round0"], 5),
        (["--rewind.to=step", "--rewind.step=3it", "--prune.epochs=null"], 3),
    ],
)
def test_the_queue_is_kept_at_the_rewind_point(
    words: Sequence[str], steps: int, small_words: tuple[str, ...], tmp_path: Path
) -> None:
    words = [*small_words, *words, "--train.epochs=1", "--prune.rounds=1", "--rewind.queue=stored", f"--out={tmp_path}"]
    invocation, task, alone = resolve(COMMAND, words), ready(tuple(words)), ready(tuple(words))
    assert task.steps_per_epoch == 5
    arch = {"name": "resnet_digits", "stem": "3x3", "in_chans": 3, "variant": None}
    data = {"name": "digits:0-2", "split_hash": "0" * 16, "fingerprint": "0-0"}
    records = Records("moco", 0, arch, data, alone.views.input.to_json())
    with open_run(invocation, torch.device("cpu"), {"name": "digits:0-2", "split_hash": "0", "fingerprint": "0"}) as run:
        search(task, invocation.config, run, records)

    next(iter(alone.train_batches(0, 0, 0)))  # fills the queue
    optim = alone.config.optim
    log = Log(tmp_path, resumed_at=(0, 0), every=100, tensorboard=False)
    schedule = build_schedule(optim, 5, alone.steps_per_epoch)
    fit(alone, build_optimizer(alone.parameter_groups(), optim), schedule, Span(0, 0, steps), log=log, rules=Rules())
    log.close()
    stored = task.state_dict()["stored_queue"]
    assert torch.equal(stored["keys"], alone.queue.keys_KD)
    assert stored["next"] == alone.queue.next


@IN_MOCO
def test_given_weights_start_both_encoders_and_every_round(
    paradigm_search: Path, small_words: tuple[str, ...], tmp_path: Path
) -> None:
    source = paradigm_search / "scores.safetensors"
    task = ready((*small_words, f"--start.weights={source}"))
    given = load_weights(source).backbone
    for encoder in (task.network, task.key_encoder):
        assert all(torch.equal(tensor, given[name]) for name, tensor in encoder.backbone.state_dict().items())
    words = [f"--start.weights={source}", "--prune.rounds=1", "--rewind.queue=stored", f"--out={tmp_path}"]
    assert moco([*small_words, *words]) == 0
    ticket = load_ticket(next(tmp_path.glob("MoCo/*/*/round_01/ticket.safetensors")))
    assert ticket.header["rewind"]["to"] == "pretrained"
    assert ticket.density == pytest.approx(0.66, abs=1e-4)


@IN_MOCO
def test_a_search_leaves_tickets_and_results(paradigm_search: Path) -> None:
    masks = [load_ticket(path).mask for path in sorted(paradigm_search.glob("round_*/ticket.safetensors"))]
    assert all(after.is_within(before) for before, after in pairwise(masks))
    for number, mask in enumerate(masks):
        trained = paradigm_search / (f"round_{number:02d}/trained.safetensors" if number else "scores.safetensors")
        weights = load_weights(trained).backbone
        assert not any(bool(weights[name][~kept].any()) for name, kept in mask.items())
        result = json.loads((paradigm_search / f"round_{number:02d}/result.json").read_text())
        assert result["density"] == pytest.approx(0.66**number, abs=1e-4)
        assert {"validation/retrieval_accuracy", "validation/knn_accuracy", "validation/rankme"} == set(result["metrics"])
    assert load_ticket(paradigm_search / "round_03/ticket.safetensors").header["origin"]["objective"] == "moco"


@IN_MOCO
def test_a_run_and_its_ticket_can_be_judged_again(
    paradigm_search: Path, small_words: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert moco([*small_words, f"--out={tmp_path}", f"--evaluate={paradigm_search}"]) == 0
    result = json.loads((paradigm_search / "result.json").read_text())
    assert f"validation/knn_accuracy {result['metrics']['validation/knn_accuracy']:.4f}" in capsys.readouterr().out
    assert moco([*small_words, f"--out={tmp_path}", f"--evaluate={paradigm_search}/round_02/ticket.safetensors"]) == 0
