"""A search that starts from a ticket goes on inside its mask: masks, counts and rewind points recomputed from the files."""

from __future__ import annotations

import _thread
import json
import shutil
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from common.tickets import load_ticket
from common.tickets.header import read_header
from Downstream.main import main as downstream
from SimCLR.main import main

RATE = 0.34
Search = Callable[..., Path]


def mask_of(ticket: Path) -> dict[str, np.ndarray]:
    return {name: kept.numpy() for name, kept in load_ticket(ticket).mask.items()}


def flat(tensors: dict[str, np.ndarray]) -> np.ndarray:
    return np.concatenate([tensors[name].ravel() for name in sorted(tensors)])


def magnitudes(file: Path, names: dict[str, np.ndarray]) -> np.ndarray:
    stored = load_file(file)
    return flat({name: np.abs(stored[f"weight/{name}"]) for name in names})


def highest(scores: np.ndarray, within: np.ndarray, count: int) -> np.ndarray:
    kept = np.zeros_like(within)
    kept[np.argsort(np.where(within, -scores, np.inf), kind="stable")[:count]] = True
    return kept


def result(folder: Path) -> dict:
    return json.loads((folder / "result.json").read_text())


@pytest.fixture(scope="module")
def ticket(small_search: Path) -> Path:
    """Round 2 of a finished search: density 0.66 squared."""
    return small_search / "round_02/ticket.safetensors"


@pytest.fixture(scope="module")
def continued(ticket: Path, small_words: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ticket, trained at another temperature and cut twice."""
    out = tmp_path_factory.mktemp("continued")
    words = [f"--start.weights={ticket}", "--objective.temperature=0.9", "--prune.rounds=2", f"--out={out}"]
    assert main([*small_words, *words]) == 0
    return next(out.glob("SimCLR/*/*"))


def test_round_0_holds_the_tickets_mask_and_trains_inside_it(continued: Path, ticket: Path, small_search: Path) -> None:
    start, found = mask_of(ticket), mask_of(continued / "round_00/ticket.safetensors")
    assert all(np.array_equal(found[name], start[name]) for name in start)
    trained, rewind = load_file(continued / "scores.safetensors"), load_file(small_search / "rewind.safetensors")
    for name, kept in start.items():
        assert not trained[f"weight/{name}"][~kept].any()
    moved = np.concatenate([(trained[f"weight/{n}"] != rewind[f"weight/{n}"])[kept] for n, kept in start.items()])
    assert moved.mean() > 0.99
    steps = json.loads((continued / "run.json").read_text())["step"]
    counter = "weight/bn1.num_batches_tracked"
    assert trained[counter] == rewind[counter] + steps  # one epoch, as every round with a mask takes


def test_later_masks_lie_inside_it_and_count_on_from_it(continued: Path, ticket: Path) -> None:
    before = flat(mask_of(ticket))
    kept = int(before.sum())
    for round_, trained in ((1, "scores.safetensors"), (2, "round_01/trained.safetensors")):
        mask = mask_of(continued / f"round_{round_:02d}/ticket.safetensors")
        kept -= round(RATE * kept)
        assert (flat(mask) == highest(magnitudes(continued / trained, mask), before, kept)).all()
        before = flat(mask)
    assert result(continued)["density"] == kept / before.size


def test_every_round_rewinds_to_the_tickets_own_rewind_point(continued: Path, small_search: Path) -> None:
    ours, theirs = (load_file(run / "rewind.safetensors") for run in (continued, small_search))
    assert ours.keys() == theirs.keys()
    assert all(np.array_equal(ours[name], theirs[name]) for name in ours)  # dense, with norms and projection head
    assert {load_ticket(file).header["rewind"]["to"] for file in continued.glob("round_*/ticket.safetensors")} == {"pretrained"}


def test_tickets_and_results_name_the_ticket_that_they_come_from(continued: Path, ticket: Path) -> None:
    parent = read_header(ticket)
    for round_ in range(3):
        folder = continued / f"round_{round_:02d}"
        assert read_header(folder / "ticket.safetensors")["parent"] == parent["digest"]
        start = result(folder)["details"]["start"]
        assert (start["ticket"], start["layout"], start["input"]) == (parent["digest"], "ticket", parent["input"])
        assert start["density"] == pytest.approx(parent["density"])
        assert (start["missing"], start["unexpected"], start["head"]["taken"]) == ([], [], True)
        assert result(folder)["density"] == pytest.approx(parent["density"] * (1 - RATE) ** round_, abs=1e-4)
    assert json.loads((continued / "run.json").read_text())["start"] == start
    assert continued.name == "seed0-0"


def test_the_temperature_reaches_the_next_mask(continued: Path, ticket: Path, search: Search) -> None:
    """Were round 0 not trained, the mask of round 1 would be the same at every temperature."""
    other = search(f"--start.weights={ticket}", "--objective.temperature=0.05", "--prune.rounds=1")
    assert (
        flat(mask_of(other / "round_01/ticket.safetensors")) != flat(mask_of(continued / "round_01/ticket.safetensors"))
    ).any()


def test_a_continued_ticket_transfers_and_so_do_its_controls(continued: Path, tmp_path: Path) -> None:
    ticket = continued / "round_01/ticket.safetensors"
    fast = [
        "--data.name=digits:6-9",
        "--log.progress=false",
        "--log.tensorboard=false",
        "--train.device=cpu",
        "--train.threads=1",
    ]
    for control in ("ticket", "random", "one_shot", "dense"):
        out = tmp_path / control
        assert downstream([*fast, f"--ticket.file={ticket}", f"--ticket.control={control}", f"--out={out}"]) == 0
        found = result(next(out.glob("Downstream/*/*")))
        assert found["density"] == (1 if control == "dense" else pytest.approx(load_ticket(ticket).density))


def test_no_dense_network_was_trained_in_it(continued: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [f"--ticket.file={continued}/round_01/ticket.safetensors", "--ticket.control=dense", "--ticket.weights=trained"]
    assert downstream(["--data.name=digits:6-9", *words, f"--out={tmp_path}/runs"]) == 2
    assert "nothing was trained densely" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_round_0_untrained_is_the_rewound_ticket_itself(ticket: Path, search: Search, small_search: Path) -> None:
    run = search(f"--start.weights={ticket}", "--start.train=false", "--prune.rounds=1")
    scores, rewind, mask = load_file(run / "scores.safetensors"), load_file(small_search / "rewind.safetensors"), mask_of(ticket)
    for name, tensor in rewind.items():
        kept = mask.get(name.removeprefix("weight/"))
        assert np.array_equal(scores[name], tensor if kept is None else tensor * kept)
    expected = highest(
        magnitudes(run / "scores.safetensors", mask), flat(mask), int(flat(mask).sum()) - round(RATE * flat(mask).sum())
    )
    assert (flat(mask_of(run / "round_01/ticket.safetensors")) == expected).all()


def test_layerwise_counts_on_from_every_tensors_own_count(ticket: Path, search: Search) -> None:
    run = search(f"--start.weights={ticket}", "--prune.allocation=layerwise", "--prune.rounds=2")
    counts = {name: int(kept.sum()) for name, kept in mask_of(ticket).items()}
    for round_ in (1, 2):
        counts = {name: count - round(RATE * count) for name, count in counts.items()}
        assert {name: int(kept.sum()) for name, kept in mask_of(run / f"round_{round_:02d}/ticket.safetensors").items()} == counts


def test_the_dense_ticket_of_round_0_is_given_weights_and_not_trained(small_search: Path, search: Search) -> None:
    run = search(f"--start.weights={small_search}/round_00/ticket.safetensors", "--prune.rounds=1")
    ours, theirs = (load_file(folder / "scores.safetensors") for folder in (run, small_search))
    assert all(np.array_equal(ours[name], theirs[name]) for name in ours)
    ranked = (flat(mask_of(folder / "round_01/ticket.safetensors")) for folder in (run, small_search))
    assert np.array_equal(*ranked)


def test_given_weights_may_be_trained_on(small_search: Path, search: Search) -> None:
    run = search(f"--start.weights={small_search}/scores.safetensors", "--start.train=true", "--prune.rounds=0")
    ours, theirs = (load_file(folder / "scores.safetensors") for folder in (run, small_search))
    counter = "weight/bn1.num_batches_tracked"
    assert ours[counter] == 2 * theirs[counter]  # the source's round 0 and as many steps again
    assert (ours["weight/conv1.weight"] != theirs["weight/conv1.weight"]).any()


@pytest.fixture
def final(search: Search) -> Path:
    """A ticket that was never rewound."""
    return search("--rewind.to=final", "--prune.rounds=1") / "round_01/ticket.safetensors"


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--rewind.to=round0"], ["rewind.to", "round0", "pretrained"]),
        (["--rewind.to=final"], ["rewind.to", "final", "pretrained"]),
        (["--prune.include=[layer1.*]", "--prune.exclude=[]"], ["scope", "Conv2d:*", "@stem"]),
        (["--model.name=resnet20"], ["resnet_digits", "resnet20"]),
        (["--prune.rounds=40"], ["prune.rounds", "fewer rounds"]),
        (["--seed.ticket=3"], ["seed.ticket is 3", "seed 0"]),
        (["--objective.head=[32,16]", "--start.head=given"], ["start.head", "0.bias", "(64,)", "(32,)"]),
    ],
)
def test_a_ticket_that_cannot_be_gone_on_from_is_refused(
    words: list[str],
    named: list[str],
    ticket: Path,
    small_words: tuple[str, ...],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([*small_words, f"--start.weights={ticket}", f"--out={tmp_path}/runs", *words]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert all(name in line for name in named), line
    assert not (tmp_path / "runs").exists()


def test_a_ticket_that_was_never_rewound_has_lost_the_weights_outside_its_mask(
    final: Path, small_words: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*small_words, f"--start.weights={final}", f"--out={tmp_path}/other"]) == 2
    assert "never rewound" in capsys.readouterr().err


def test_a_result_of_a_ticket_that_was_replaced_is_made_anew(
    small_search: Path, small_words: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(small_search, tmp_path / "SimCLR" / small_search.parent.name / small_search.name)
    (source,) = tmp_path.glob("SimCLR/*/*")
    words = [*small_words, f"--start.weights={source}/round_02/ticket.safetensors", "--prune.rounds=0", f"--out={tmp_path}"]
    assert main(words) == 0
    (run,) = set(tmp_path.glob("SimCLR/*/*")) - {source}
    assert main(words) == 0
    assert "is done already" in capsys.readouterr().out
    shutil.copy(source / "round_01/ticket.safetensors", source / "round_02/ticket.safetensors")
    assert main(words) == 0
    assert "was made from another ticket" in capsys.readouterr().out
    assert result(run)["density"] == pytest.approx(0.66, abs=1e-3)


def interrupted(words: list[str], out: Path) -> bool:
    """Run, and interrupt at the first checkpoint; say whether that came before the end."""

    def interrupt() -> None:
        while not over.is_set():
            if any(json.loads(file.read_text())["step"] >= 1 for file in out.glob("SimCLR/*/*/run.json")):
                _thread.interrupt_main()
                return
            time.sleep(0.001)

    over = threading.Event()
    watch = threading.Thread(target=interrupt)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background begins with it ignored
    watch.start()
    try:
        return main([*words, f"--out={out}"]) == 130
    finally:
        over.set()
        watch.join()
        signal.signal(signal.SIGINT, before)


def test_interrupted_in_round_0_it_ends_with_the_same_tickets(
    continued: Path, ticket: Path, small_words: tuple[str, ...], tmp_path: Path
) -> None:
    words = [*small_words, f"--start.weights={ticket}", "--objective.temperature=0.9", "--prune.rounds=2"]
    words.append("--train.checkpoint_every=1it")
    out = next((out for out in (tmp_path / str(i) for i in range(10)) if interrupted(words, out)), None)
    assert out is not None, "ten runs were over before the interruption"
    (run,) = out.glob("SimCLR/*/*")
    assert json.loads((run / "run.json").read_text())["status"] != "done"
    assert main([*words, f"--out={out}"]) == 0
    files = [f"round_{round_:02d}/ticket.safetensors" for round_ in range(3)]
    assert [load_ticket(run / file).digest for file in files] == [load_ticket(continued / file).digest for file in files]
