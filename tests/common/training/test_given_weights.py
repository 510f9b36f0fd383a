"""What a run says of given weights: their input, their stem, what matched; in searches and in transfers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.numpy import load_file

from common.models.backbones import build_backbone
from Downstream.main import main as downstream
from SimCLR.main import main as simclr

IMAGENET = {"size": 224, "channels": 3, "range": [0, 1], "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
FAST = ("--data.name=digits:6-9", "--log.progress=false", "--log.tensorboard=false", "--train.device=cpu", "--train.threads=1")


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """A state dict that says nothing of its input, with a value that is no tensor and a counter missing."""
    state = {n: t for n, t in build_backbone("resnet_digits", seed=3).state_dict().items() if n != "bn1.num_batches_tracked"}
    torch.save({"state_dict": {**state, "fc.weight": torch.ones(2, 64)}, "epoch": 3}, tmp_path / "plain.pth")
    return tmp_path / "plain.pth"


@pytest.fixture
def moco(tmp_path: Path) -> Path:
    """A MoCo checkpoint of the small ResNet, whose projection head is that of the recipe."""
    state = {f"module.encoder_q.{n}": t for n, t in build_backbone("resnet_digits", seed=3).state_dict().items()}
    for name, shape in {"0.weight": (64, 64), "0.bias": (64,), "2.weight": (32, 64), "2.bias": (32,)}.items():
        state[f"module.encoder_q.fc.{name}"] = torch.rand(shape)
    torch.save({"state_dict": state | {"module.queue": torch.ones(2, 2)}}, tmp_path / "moco.pth.tar")
    return tmp_path / "moco.pth.tar"


@pytest.fixture
def searched(small_words: tuple[str, ...], tmp_path: Path) -> Callable[..., dict]:
    """Return a function that evaluates given weights as round 0 and returns the result."""

    def run(*words: str) -> dict:
        assert simclr([*small_words, "--prune.rounds=0", f"--out={tmp_path}/runs", *words]) == 0
        (found,) = (tmp_path / "runs").glob("SimCLR/*/*/result.json")
        return json.loads(found.read_text())

    return run


@pytest.fixture
def refused(small_words: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Return a function that runs a search that must be refused; it returns the line."""

    def run(*words: str) -> str:
        assert simclr([*small_words, f"--out={tmp_path}/runs", *words]) == 2
        assert not (tmp_path / "runs").exists()
        (line,) = capsys.readouterr().err.strip().splitlines()
        return line

    return run


def test_the_report_is_printed_and_recorded(
    plain: Path, searched: Callable[..., dict], capsys: pytest.CaptureFixture[str]
) -> None:
    result = searched(f"--start.weights={plain}", "--start.input=unit")
    start = result["details"]["start"]
    assert (start["layout"], start["matched"], start["missing"]) == ("plain", 71, ["bn1.num_batches_tracked"])
    assert (start["unexpected"], start["left_out"], start["ticket"]) == (["fc.weight"], [], None)
    assert (start["input"]["std"], start["input_said_by"]) == ([1, 1, 1], "start.input")
    assert (result["flags"], start["head"]["taken"]) == ([], False)
    out = capsys.readouterr().out
    assert "71 tensors matched, 1 missing [bn1.num_batches_tracked], 1 unexpected [fc.weight], 0 left out" in out
    assert "no projection head" in out


def test_a_file_that_does_not_say_its_input_needs_start_input(plain: Path, refused: Callable[..., str], tmp_path: Path) -> None:
    line = refused(f"--start.weights={plain}")
    assert all(text in line for text in ("plain.pth", "--start.input", "imagenet", "unit", "data", "JSON")), line
    line = refused(f"--start.weights={plain}", "--start.input=imagenet")
    assert all(text in line for text in ("mean (0.485, 0.456, 0.406) against (0, 0, 0)", "accept_input_mismatch")), line
    assert "nothing.json" in refused(f"--start.weights={plain}", "--start.input=nothing.json")
    (tmp_path / "odd.json").write_text(json.dumps({**IMAGENET, "std": [0, 1, 1], "interpolation": None}))
    assert "std" in refused(f"--start.weights={plain}", f"--start.input={tmp_path}/odd.json")


def test_an_input_in_a_file_of_json(plain: Path, searched: Callable[..., dict], tmp_path: Path) -> None:
    (tmp_path / "input.json").write_text(json.dumps({**IMAGENET, "interpolation": "bicubic"}))
    words = [f"--start.weights={plain}", f"--start.input={tmp_path}/input.json", "--data.accept_input_mismatch=true"]
    result = searched(*words)
    assert result["details"]["start"]["input"]["interpolation"] == "bicubic"
    assert result["flags"] == ["input_mismatch"]


def test_an_accepted_mismatch_flags_every_result_and_is_no_alarm(moco: Path, searched: Callable[..., dict]) -> None:
    words = [f"--start.weights={moco}", "--data.accept_input_mismatch=true", "--prune.rounds=1", "--prune.on_alarm=stop"]
    assert searched(*words)["flags"] == ["input_mismatch"]


def test_the_data_may_be_said_to_be_what_the_weights_expect(plain: Path, searched: Callable[..., dict]) -> None:
    result = searched(f"--start.weights={plain}", "--start.input=data")
    assert result["details"]["start"]["input"]["size"] == 16


def test_a_tickets_input_is_not_to_be_contradicted(
    small_search: Path, refused: Callable[..., str], searched: Callable[..., dict]
) -> None:
    ticket = f"--start.weights={small_search}/round_00/ticket.safetensors"
    assert "records another" in refused(ticket, "--start.input=imagenet")
    assert searched(ticket, "--start.input=unit")["flags"] == []


@pytest.mark.parametrize("file", ["scores.safetensors", "rewind.safetensors", "round_01/trained.safetensors"])
def test_weights_of_a_run_know_their_input_from_the_ticket_that_names_them(
    file: str, small_search: Path, searched: Callable[..., dict], refused: Callable[..., str], tmp_path: Path
) -> None:
    start = searched(f"--start.weights={small_search / file}")["details"]["start"]
    assert (start["layout"], start["input_said_by"]) == ("weights", "weights")
    assert start["head"]["taken"]


def test_weights_that_left_their_run_do_not(small_search: Path, refused: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "moved.safetensors").write_bytes((small_search / "scores.safetensors").read_bytes())
    assert "--start.input" in refused(f"--start.weights={tmp_path}/moved.safetensors")


def test_a_projection_head_is_taken_where_it_is_this_objectives_or_asked_for(
    moco: Path, searched: Callable[..., dict], refused: Callable[..., str], plain: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [f"--start.weights={moco}", "--data.accept_input_mismatch=true"]
    assert "no projection head" in refused(f"--start.weights={plain}", "--start.input=unit", "--start.head=given")
    assert "'2.bias' has shape (32,) there and (16,) here" in refused(*words, "--start.head=given", "--objective.head=[64,16]")
    result = searched(*words)
    assert not result["details"]["start"]["head"]["taken"]
    assert "trained on moco, this is simclr" in capsys.readouterr().out


def test_a_projection_head_that_is_asked_for_goes_into_the_network(
    moco: Path, searched: Callable[..., dict], tmp_path: Path
) -> None:
    searched(f"--start.weights={moco}", "--data.accept_input_mismatch=true", "--start.head=given")
    (run,) = (tmp_path / "runs").glob("SimCLR/*/*")
    stored, given = load_file(run / "rewind.safetensors"), torch.load(moco, weights_only=True)["state_dict"]
    for name in ("0.weight", "0.bias", "2.weight", "2.bias"):
        assert (stored[f"head/{name}"] == given[f"module.encoder_q.fc.{name}"].numpy()).all()


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--start.weights=timm", "--start.input=unit"], ["start.input", "timm"]),
        (["--start.weights=torchvision", "--start.format=plain"], ["start.format", "torchvision"]),
        (["--start.weights=PLAIN", "--start.format=moco"], ["start.format", "encoder_q.*", "plain"]),
        (["--start.weights=PLAIN", "--start.format=vissl"], ["start.format", "vissl", "moco"]),
        (
            ["--start.weights=MOCO", "--model.name=resnet20", "--data.accept_input_mismatch=true"],
            ["resnet20", "layer2.0.bn1.bias", "layer1.1"],
        ),
    ],
)
def test_options_that_do_not_go_together(
    words: list[str], named: list[str], refused: Callable[..., str], plain: Path, moco: Path
) -> None:
    line = refused(*(word.replace("PLAIN", str(plain)).replace("MOCO", str(moco)) for word in words))
    assert all(text in line for text in named), line


def transferred(out: Path, *words: str) -> dict:
    assert downstream([*FAST, f"--out={out}", *words]) == 0
    (found,) = out.glob("Downstream/*/*/result.json")
    return json.loads(found.read_text())


def test_a_transfer_starts_densely_from_a_published_file(moco: Path, tmp_path: Path) -> None:
    result = transferred(tmp_path, f"--start.weights={moco}", "--data.accept_input_mismatch=true", "--keep.trained=last")
    assert (result["control"], result["density"], result["flags"]) == ("dense", 1, ["input_mismatch"])
    assert result["details"]["start"]["layout"] == "moco"
    (kept,) = tmp_path.glob("Downstream/*/*/trained.safetensors")
    given = torch.load(moco, weights_only=True)["state_dict"]
    assert (load_file(kept)["weight/layer4.0.conv2.weight"] == given["module.encoder_q.layer4.0.conv2.weight"].numpy()).all()


def test_a_transfer_takes_a_tickets_dense_weights_and_says_what_its_source_has_seen(small_search: Path, tmp_path: Path) -> None:
    words = [f"--start.weights={small_search}/round_02/ticket.safetensors", "--data.name=digits:2-4", "--keep.trained=last"]
    result = transferred(tmp_path, *words)
    assert (result["control"], result["density"], result["flags"]) == ("dense", 1, ["source_saw_images"])
    (kept,) = tmp_path.glob("Downstream/*/*/trained.safetensors")
    name = "weight/layer4.0.conv2.weight"
    assert (load_file(kept)[name] == load_file(small_search / "rewind.safetensors")[name]).all()
