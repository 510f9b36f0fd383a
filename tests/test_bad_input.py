"""Bad input: one clear line that names what was wrong and what is known, exit code 2, no traceback, nothing half-written."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from common.tickets.header import read_header
from Downstream.main import main as downstream
from MoCo.main import main as moco
from SimCLR.main import main as simclr

QUIET = ("--log.progress=false", "--log.tensorboard=false", "--train.device=cpu", "--train.threads=1")


@pytest.fixture
def refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Return a function that runs a command line which must be refused; it returns the line."""

    def run(main: Callable[[list[str]], int], *words: str) -> str:
        out = tmp_path / "runs"
        assert main([*QUIET, f"--out={out}", *words]) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        (line,) = captured.err.strip().splitlines()
        assert "Traceback" not in line
        assert not out.exists(), "something was written"
        return line

    return run


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--recipe=cifar11"], ["cifar11", "digits", "cifar10_resnet18"]),
        (["--prune.rat=0.3"], ["prune.rat", "prune.rate"]),
        (["--optim.lr=fast"], ["optim.lr", "fast"]),
        (["--prune.rate=0"], ["prune.rate", "0", "(0, 1)"]),
        (["--prune.rate=1"], ["prune.rate", "1", "(0, 1)"]),
        (["--prune.rate=-0.2"], ["prune.rate", "(0, 1)"]),
        (["--seed.ticket=-1"], ["seed.ticket", "-1", ">= 0"]),
        (["--data.name=digit"], ["digit", "digits", "cifar10", "folder"]),
        (["--data.name=digits:0-10"], ["0-10", "0-9"]),
        (["--model.name=resnet19"], ["resnet19", "resnet_digits"]),
        (["--model.stem=7x7"], ["model.stem", "7x7", "3x3"]),
        (["--prune.include=[layer9.*]"], ["layer9.*", "layer1"]),
        (["--prune.include=[LSTM:*]"], ["LSTM", "Conv2d"]),
        (["--data.name=cifar10"], ["cifar10", "data.root"]),
        (["--data.name=cifar10", "--data.root=/nowhere"], ["/nowhere", "data.root"]),
        (["--train.batch_size=5000"], ["batch_size", "5000"]),
        (["--evaluation.retrieval_batch=5000"], ["5000", "retrieval_batch"]),
        (["--optim.warmup=3"], ["optim.warmup", "10ep"]),
        (["--rewind.to=step"], ["rewind.step"]),
        (["--rewind.to=step", "--rewind.step=99ep", "--prune.epochs=null"], ["rewind.step", "99ep"]),
        (["--rewind.to=init", "--start.weights=w.pt"], ["rewind.to", "init", "pretrained"]),
        (["--prune.rounds=3", "--prune.rate=0.9", "--prune.allocation=layerwise"], ["prune.rounds", "layer"]),
        (["--rewind.to=pretrained"], ["rewind.to", "start.weights"]),
        (["--rewind.queue=keep"], ["rewind.queue", "to, step"]),
        (["--start.weights=/nowhere.pt"], ["/nowhere.pt"]),
        (["--prune.rounds=60"], ["fewer rounds"]),
        (["--train.device=tpu"], ["train.device", "tpu"]),
        (["--train.checkpoint_every=soon"], ["checkpoint_every", "soon"]),
        (["--evaluate=/nowhere"], ["/nowhere"]),
    ],
)
def test_simclr(words: list[str], named: list[str], refused: Callable[..., str]) -> None:
    line = refused(simclr, *words)
    assert all(name in line for name in named), line


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--train.batch_size=60"], ["train.batch_size", "60", "norm.splits (8)"]),
        (["--train.batch_size=128", "--norm.splits=128"], ["train.batch_size", "128", "at least 2 images"]),
        (["--norm.splits=0"], ["norm.splits", "0"]),
        (["--queue.size=0"], ["queue.size", "0"]),
        (["--queue.start=zeros"], ["queue.start", "zeros", "keys", "random"]),
        (["--rewind.queue=empty"], ["rewind.queue", "empty", "refill", "stored", "keep"]),
        (["--objective.key_momentum=1"], ["objective.key_momentum", "[0, 1)"]),
        (["--objective.temperature=0"], ["objective.temperature", "> 0"]),
        (["--model.name=mobilenetv3_small_050", "--model.stem=native"], ["norm.splits", "BatchNormAct2d", "set it to 1"]),
    ],
)
def test_moco(words: list[str], named: list[str], refused: Callable[..., str]) -> None:
    line = refused(moco, *words)
    assert all(name in line for name in named), line


def test_an_unknown_key_in_yaml(tmp_path: Path, refused: Callable[..., str]) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("prune:\n  rat: 0.3\n")
    line = refused(simclr, f"--config={file}")
    assert all(name in line for name in ("mine.yaml", "prune.rat", "rate")), line


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--ticket.control=rndom"], ["rndom", "random"]),
        (["--ticket.control=dense_long"], ["dense_long", "protocol", "full"]),
        (["--model.name=resnet20"], ["resnet_digits", "resnet20"]),
        (["--data.name=folder", "--data.root=ROOT", "--data.size=16", "--data.labels=8"], ["mean", "accept_input_mismatch"]),
        (["--data.labels=100000"], ["100000"]),
        (["--data.name=digits:7", "--data.labels=10"], ["one class", "at least 2"]),
        (["--data.labels=3"], ["class", "data.labels"]),
        (["--linear.l2=[1.0,10.0]", "--data.labels=8"], ["linear.folds"]),
        (["--seed.ticket=7"], ["seed.ticket", "7"]),
        (["--ticket.weights=trained", "--ticket.control=random"], ["trained", "random"]),
        (["--start.weights=/nowhere.pt"], ["/nowhere.pt"]),
    ],
)
def test_downstream(words: list[str], named: list[str], refused: Callable[..., str], small_search: Path, tmp_path: Path) -> None:
    ticket = f"--ticket.file={small_search}/round_02/ticket.safetensors"
    words = [word.replace("ROOT", str(_folder_of_images(tmp_path))) for word in words]
    line = refused(downstream, ticket, *words)
    assert all(name in line for name in named), line


def _folder_of_images(folder: Path) -> Path:
    """Make a folder of images that a network for ImageNet's normalisation would read."""
    from PIL import Image

    root = folder / "images"
    for split in ("train", "val", "test"):
        for label in ("a", "b"):
            (root / split / label).mkdir(parents=True, exist_ok=True)
            for i in range(6):
                Image.new("RGB", (20, 20), (40 * i, 10, 10)).save(root / split / label / f"{i}.png")
    return root


def test_a_ticket_that_is_missing_cut_or_edited(refused: Callable[..., str], small_search: Path, tmp_path: Path) -> None:
    assert "nothing.safetensors" in refused(downstream, f"--ticket.file={tmp_path}/nothing.safetensors")
    run = tmp_path / "moved"
    shutil.copytree(small_search, run)
    file = run / "round_01/ticket.safetensors"
    whole = file.read_bytes()
    file.write_bytes(whole[:-40])
    assert "truncated" in refused(downstream, f"--ticket.file={file}")
    middle = len(whole) - 100
    file.write_bytes(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :])
    assert "damaged or was edited" in refused(downstream, f"--ticket.file={file}")
    file.write_bytes(whole)
    (run / "rewind.safetensors").unlink()
    assert "rewind.safetensors" in refused(downstream, f"--ticket.file={file}")
    (run / "scores.safetensors").unlink()
    assert "scores.safetensors" in refused(downstream, f"--ticket.file={file}", "--ticket.control=one_shot")


def test_a_ticket_of_another_stem(refused: Callable[..., str], small_search: Path, tmp_path: Path) -> None:
    from common.models.backbones import build_backbone
    from common.tickets import Description, Mask, NetworkState, capture, find_scope, save_ticket

    header = read_header(small_search / "round_01/ticket.safetensors")
    backbone = build_backbone("resnet18", stem="7x7")
    scope = find_scope(backbone)
    mask = Mask.dense({name: parameter.shape for name, parameter in scope.parameters(backbone).items()})
    description = Description(backbone.arch, header["scope"], header["origin"], header["rewind"], header["input"])
    file = tmp_path / "t.safetensors"
    save_ticket(file, mask, description, weights=NetworkState(capture(backbone), {}))
    line = refused(downstream, f"--ticket.file={file}", "--model.name=resnet18", "--model.stem=3x3")
    assert all(name in line for name in ("7x7", "3x3", "ticket.stem fresh")), line


@pytest.mark.parametrize("main", [simclr, downstream])
def test_an_output_folder_that_cannot_be_written(
    main: Callable[[list[str]], int], tmp_path: Path, capsys: pytest.CaptureFixture[str], small_search: Path
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    ticket = [f"--ticket.file={small_search}/round_02/ticket.safetensors"] if main is downstream else []
    assert main([*QUIET, f"--out={blocked}", *ticket]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert all(name in line for name in (str(blocked), "--out")), line
    assert blocked.read_text() == "not a folder"
