"""Given weights and judged ones: the classifier comes along, round 0 is evaluated as it is, rewinds bring it back."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from sklearn.metrics import accuracy_score
from torch import nn

from common.cli import resolve
from common.data.datasets import load_data
from common.models.backbones import build_backbone
from common.models.features import reestimate_norm_statistics_
from common.training.pretraining import build_setting
from Supervised.main import COMMAND, main
from Supervised.task import build_task

DATA = load_data("digits:0-2")
Search = Callable[..., Path]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory, small_words: tuple[str, ...]) -> Path:
    """A search that learnt something, of one round."""
    out = tmp_path_factory.mktemp("source")
    assert (
        main([*small_words, "--train.epochs=12", "--prune.rounds=1", "--prune.epochs=2", "--optim.lr=0.2", f"--out={out}"]) == 0
    )
    return next(out.glob("Supervised/*/*"))


@pytest.fixture
def published(source: Path, tmp_path: Path) -> Path:
    """The dense network of `source` as torchvision publishes one: a state dict whose classifier is fc."""
    stored = load_file(source / "scores.safetensors")
    names = {name: name.removeprefix("weight/").replace("head/", "fc.") for name in stored}
    torch.save({names[name]: torch.from_numpy(tensor) for name, tensor in stored.items()}, tmp_path / "published.pt")
    return tmp_path / "published.pt"


def metrics(run: Path, round_: int) -> dict[str, float]:
    found: dict[str, float] = json.loads((run / f"round_{round_:02d}/result.json").read_text())["metrics"]
    return found


def test_round_0_of_published_weights_is_what_they_are_worth(
    search: Search, source: Path, published: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = search(f"--start.weights={published}", "--start.input=data", "--prune.rounds=1", folder="Supervised")
    assert metrics(run, 0) == metrics(source, 0)
    assert metrics(run, 0)["validation/top1_accuracy"] > 0.6
    assert "the head is fc of the file" in capsys.readouterr().out
    given = torch.load(published, weights_only=True)
    for file in ("scores.safetensors", "rewind.safetensors"):
        stored = load_file(run / file)
        for name, tensor in given.items():
            assert np.array_equal(stored[f"head/{name[3:]}" if name.startswith("fc.") else f"weight/{name}"], tensor.numpy()), (
                name
            )


def test_a_rewind_brings_the_given_classifier_back(search: Search, published: Path) -> None:
    """With a rate too small to move anything, every round ends with the classifier that it was given."""
    run = search(f"--start.weights={published}", "--start.input=data", "--optim.lr=1e-30", folder="Supervised")
    given = torch.load(published, weights_only=True)
    for round_ in (1, 2, 3):
        trained = load_file(run / f"round_{round_:02d}/trained.safetensors")
        assert np.array_equal(trained["head/weight"], given["fc.weight"].numpy())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--data.name=digits:0-3"], "no classifier of shape (4, 64) (there is fc of shape (3, 64)), so the head is fresh"),
        (["--start.head=fresh"], ""),
    ],
)
def test_otherwise_the_head_is_fresh(published: Path, words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    task = task_of(f"--start.weights={published}", "--start.input=data", *words)
    assert said in capsys.readouterr().out
    fresh = task_of(*(word for word in words if not word.startswith("--start.")))
    assert torch.equal(task.network.head.weight, fresh.network.head.weight)


def task_of(*words: str) -> Any:
    small = ("--data.name=digits:0-2", "--evaluation.retrieval_batch=32")
    return build_task(build_setting(resolve(COMMAND, [*small, *words]).config, torch.device("cpu")))


def test_torchvisions_own_network_gives_torchvisions_logits(tmp_path: Path) -> None:
    torchvision = pytest.importorskip("torchvision")
    torch.manual_seed(0)
    theirs = torchvision.models.resnet18(num_classes=3).eval()
    torch.save(theirs.state_dict(), tmp_path / "resnet18.pth")
    task = task_of("--model.name=resnet18", "--model.stem=7x7", f"--start.weights={tmp_path}/resnet18.pth", "--start.input=unit")
    x_NCHW = torch.randn(4, 3, 32, 32)
    torch.testing.assert_close(task.network.eval()(x_NCHW), theirs(x_NCHW), rtol=1e-4, atol=1e-5)


def evaluated(capsys: pytest.CaptureFixture[str], out: Path, what: Path, *words: str) -> dict[str, float]:
    capsys.readouterr()
    small = ["--data.name=digits:0-2", "--evaluation.retrieval_batch=32", "--train.threads=1", "--train.device=cpu"]
    assert main([*small, *words, f"--evaluate={what}", f"--out={out}"]) == 0
    result: dict[str, float] = json.loads(Path(capsys.readouterr().out.split("result: ")[1].strip()).read_text())["metrics"]
    return result


def test_evaluating_a_run_or_its_published_weights_repeats_its_results(
    source: Path, published: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluated(capsys, tmp_path, source) == metrics(source, 1)
    assert evaluated(capsys, tmp_path, published, "--start.input=data") == metrics(source, 0)
    assert evaluated(capsys, tmp_path, source / "scores.safetensors") == metrics(source, 0)


def test_a_ticket_is_judged_with_the_classifier_of_its_rewind_point(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ticket = source / "round_01/ticket.safetensors"
    stored = {name: torch.from_numpy(tensor) for name, tensor in load_file(source / "rewind.safetensors").items()}
    backbone = build_backbone("resnet_digits", seed=7)
    backbone.load_state_dict({name[7:]: tensor for name, tensor in stored.items() if name.startswith("weight/")})
    for name, bits in load_file(ticket).items():
        weight = backbone.get_parameter(name.removeprefix("mask/"))
        kept = np.unpackbits(bits, bitorder="little")[: weight.numel()].reshape(weight.shape)
        weight.data *= torch.from_numpy(kept)
    train, validation = DATA.train.images.float() / 255, DATA.validation.images.float() / 255
    reestimate_norm_statistics_(backbone, train.split(256)[: len(train) // 256])
    with torch.no_grad():
        logits = nn.functional.linear(backbone.eval()(validation), stored["head/weight"], stored["head/bias"])
    expected = accuracy_score(DATA.validation.labels.numpy(), logits.argmax(1).numpy())
    assert evaluated(capsys, tmp_path, ticket)["validation/top1_accuracy"] == pytest.approx(expected, abs=1e-9)


def refused(capsys: pytest.CaptureFixture[str], out: Path, what: Path, *words: str) -> str:
    capsys.readouterr()
    assert main(["--evaluation.retrieval_batch=32", *words, f"--evaluate={what}", f"--out={out}"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert not list(out.glob("Supervised/evaluations/*"))
    return error


def test_what_has_no_classifier_of_these_classes_is_refused(
    source: Path, small_search: Path, published: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ticket = source / "round_01/ticket.safetensors"
    said = refused(capsys, tmp_path, small_search / "round_01/ticket.safetensors", "--data.name=digits:0-2")
    assert "has no head that fits" in said
    assert "a head for the classes of digits:0-2, not of digits:3-5" in refused(
        capsys, tmp_path, ticket, "--data.name=digits:3-5"
    )
    given = torch.load(published, weights_only=True)
    torch.save({name: tensor for name, tensor in given.items() if not name.startswith("fc.")}, tmp_path / "bare.pt")
    assert "there is no classifier" in refused(
        capsys, tmp_path, tmp_path / "bare.pt", "--data.name=digits:0-2", "--start.input=data"
    )
