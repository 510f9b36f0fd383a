"""Controls that take another network, another length, or the weights of another source."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from common.cli import resolve
from common.tickets import load_ticket
from Downstream.main import COMMAND, main
from Downstream.transfer import build_arm

FAST = (
    "--data.name=digits:3-5", "--train.device=cpu", "--train.threads=1", "--log.tensorboard=false", "--log.progress=false",
)  # fmt: skip
FULL = ("--recipe=digits_full", "--train.epochs=2", *FAST)
Transfer = Callable[..., tuple[Path, dict]]


@pytest.fixture
def transfer(tmp_path: Path) -> Transfer:
    def run(*words: str) -> tuple[Path, dict]:
        out = tmp_path / "runs"
        before = set(out.glob("Downstream/*/*"))
        assert main([*words, f"--out={out}"]) == 0
        (made,) = set(out.glob("Downstream/*/*")) - before
        return made, json.loads((made / "result.json").read_text())

    return run


@pytest.fixture(scope="module")
def other_source(tmp_path_factory: pytest.TempPathFactory, small_words: tuple[str, ...]) -> Path:
    """A Supervised search of the same images, shortened."""
    from Supervised.main import main as supervised

    out = tmp_path_factory.mktemp("other")
    assert supervised([*small_words, "--prune.rounds=1", f"--out={out}"]) == 0
    return next(out.glob("Supervised/*/*"))


def test_a_mask_on_the_weights_of_another_source(transfer: Transfer, small_search: Path, other_source: Path) -> None:
    """The mask of SimCLR, weights of Supervised, in both protocols; the result names both sources."""
    ticket, weights = small_search / "round_02/ticket.safetensors", other_source / "round_00/ticket.safetensors"
    words = ("--ticket.control=mask_only", f"--ticket.file={ticket}", f"--start.weights={weights}")
    mask, given = load_ticket(ticket).mask, load_file(other_source / "rewind.safetensors")
    for protocol in (FAST, FULL):
        run, told = transfer(*protocol, *words)
        assert told["source"] == {"folder": "SimCLR", "recipe": "digits", "seed": 0, "round": 2}
        assert told["details"]["start"]["source"] == {"folder": "Supervised", "recipe": "digits", "seed": 0, "round": 0}
        assert told["details"]["start"]["ticket"] == load_ticket(weights).digest
        assert (told["mask_digest"], told["flags"]) == (mask.digest(), [])
        kept = load_file(run / "trained.safetensors")
        for name, part in mask.items():
            expected = given[f"weight/{name}"] * part.numpy()
            moved = kept[f"weight/{name}"] != expected
            assert moved[part.numpy()].mean() > 0.99 if protocol is FULL else not moved.any()
            assert not kept[f"weight/{name}"][~part.numpy()].any()


def test_a_source_of_the_weights_that_saw_the_labels_is_marked(
    transfer: Transfer, small_search: Path, other_source: Path
) -> None:
    ticket = small_search / "round_02/ticket.safetensors"
    for weights in (other_source / "round_00/ticket.safetensors", other_source / "scores.safetensors"):
        words = (f"--ticket.file={ticket}", "--ticket.control=mask_only", f"--start.weights={weights}", "--data.name=digits:2-4")
        assert set(transfer(*FAST, *words)[1]["flags"]) == {"source_saw_images", "source_saw_target"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--data.input=half"], "expects"),
        (["--start.weights={run}"], "is a directory; name a file, of a run a round's ticket.safetensors"),
        (["--start.weights=null"], "ticket.control mask_only needs start.weights"),
        (["--ticket.control=random"], "ticket.control random takes no start.weights"),
    ],
)
def test_what_does_not_go_together_is_refused(
    words: list[str], message: str, small_search: Path, other_source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = [f"--ticket.file={small_search}/round_02/ticket.safetensors", "--ticket.control=mask_only"]
    base += [f"--start.weights={other_source}/round_00/ticket.safetensors", f"--out={tmp_path}"]
    assert main([*FAST, *base, *(word.format(run=other_source) for word in words)]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_narrower_network_of_as_many_weights(
    transfer: Transfer, small_search: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ticket = load_ticket(small_search / "round_02/ticket.safetensors")
    words = (f"--ticket.file={ticket.path}", "--ticket.control=small_dense")
    run, told = transfer(*FULL, *words)
    kept = load_file(run / "trained.safetensors")
    weights = sum(kept[f"weight/{name}"].size for name in ticket.mask)
    small = told["details"]["small_dense"]
    assert (weights, ticket.mask.kept, "parameters") == (small["cost"], small["limit"], small["equal"])
    assert weights <= ticket.mask.kept
    assert told["density"] == weights / ticket.mask.size
    assert (told["mask_digest"], told["ticket"], told["flags"]) == (None, ticket.digest, ["control_not_pretrained"])
    assert all(value.all() for name, value in kept.items() if name.removeprefix("weight/") in ticket.mask), "nothing is pruned"
    assert main([f"--evaluate={run}"]) == 0
    assert f"test/top1 {told['value']:.4f}" in capsys.readouterr().out
    other, by_macs = transfer(*FULL, *words, "--ticket.equal=macs")
    assert by_macs["details"]["small_dense"]["width"] != small["width"]
    assert other.parent != run.parent


def test_fresh_weights_are_flagged_only_against_a_ticket_that_was_trained(
    search: Callable[..., Path], small_search: Path
) -> None:
    untrained = search("--rewind.to=init", "--prune.rounds=1", "--train.epochs=1")
    for file, expected in {
        untrained / "round_01/ticket.safetensors": False,
        small_search / "round_01/ticket.safetensors": True,
    }.items():
        words = [*FAST, f"--ticket.file={file}", "--ticket.control=small_dense"]
        flags = build_arm(resolve(COMMAND, words).config, torch.device("cpu")).start.flags
        assert ("control_not_pretrained" in flags) == expected


def test_a_narrower_network_may_start_from_weights_of_its_width(
    transfer: Transfer, small_search: Path, search: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ticket = small_search / "round_02/ticket.safetensors"
    words = (f"--ticket.file={ticket}", "--ticket.control=small_dense")
    width = transfer(*FAST, *words)[1]["details"]["small_dense"]["width"]
    narrow = search(f"--model.width={width}", "--prune.rounds=0", "--train.epochs=1", folder="Supervised")
    run, told = transfer(*FAST, *words, f"--start.weights={narrow}/round_00/ticket.safetensors")
    given, kept = load_file(narrow / "rewind.safetensors"), load_file(run / "trained.safetensors")
    assert np.array_equal(kept["weight/layer3.0.conv2.weight"], given["weight/layer3.0.conv2.weight"])
    assert told["details"]["start"]["source"]["folder"] == "Supervised"
    assert "control_not_pretrained" not in told["flags"]
    whole = f"--start.weights={small_search}/round_00/ticket.safetensors"
    assert main([*FAST, *words, whole, f"--out={tmp_path / 'refused'}"]) == 2
    assert not (tmp_path / "refused").exists()


def test_the_dense_network_trained_for_the_searchs_epochs_too(transfer: Transfer, small_search: Path) -> None:
    """The ticket of round 3 took rounds 1 and 2 of an epoch each; the dense network starts from the end of round 0."""
    ticket = f"--ticket.file={small_search}/round_03/ticket.safetensors"
    run, told = transfer(*FULL, ticket, "--ticket.control=dense_long")
    dense, short = transfer(*FULL, ticket, "--ticket.control=dense")
    assert (told["details"]["epochs"], told["details"]["search_epochs"]) == (4, 2)
    assert "epochs" not in short["details"]
    assert (told["density"], told["control"]) == (1, "dense_long")
    steps = [json.loads((path / "run.json").read_text())["step"] for path in (run, dense)]
    assert steps[0] == 2 * steps[1]


def test_a_frozen_network_is_not_trained_for_longer(
    small_search: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [f"--ticket.file={small_search}/round_03/ticket.safetensors", "--ticket.control=dense_long", f"--out={tmp_path}"]
    assert main([*FAST, *words]) == 2
    assert "protocol: got 'linear', expected full with ticket.control dense_long" in capsys.readouterr().err
