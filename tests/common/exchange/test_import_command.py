"""The command line: what it prints, how large a ticket is, and the real published files."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor

from common.models.backbones import build_backbone
from common.tickets import Ticket, find_scope

Import, States = Callable[..., Ticket], Callable[..., dict[str, Tensor]]


def test_it_says_what_was_matched(
    cifar_state: States, import_file: Import, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    state = cifar_state()
    for name in ("layer3.0.conv2.weight", "layer2.0.downsample.0.weight"):
        state[name] = state[name] * (torch.arange(state[name].numel()) % 4 == 0).reshape(state[name].shape)
    torch.save({"state_dict": {f"module.{name}": tensor for name, tensor in state.items()}}, tmp_path / "f.pth.tar")
    ticket = import_file(tmp_path / "f.pth.tar", "--data=cifar10")
    lines = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines() if not line.startswith(" "))
    assert lines["format"] == "zeros, names in the layout plain"
    assert lines["matched"] == f"{len(state) - 2} tensors, 21 counters that the file lacks"
    assert lines["head"] == "fc, 10 classes"
    kept = 269_824 - 36_864 * 3 // 4 - 512 * 3 // 4
    assert lines["density"] == f"{kept / 269_824:.4%} ({kept:,} of 269,824 weights kept, 20 tensors)"
    assert lines["ticket"] == f"{ticket.path}: digest {ticket.digest}"


def test_a_mask_of_resnet50_takes_3_megabytes(import_file: Import, tmp_path: Path) -> None:
    scope = find_scope(backbone := build_backbone("resnet50")).parameters(backbone)
    draws = torch.Generator().manual_seed(0)
    masks = {name: torch.empty(weight.shape, dtype=torch.uint8).random_(2, generator=draws) for name, weight in scope.items()}
    torch.save(masks, tmp_path / "masks.pt")
    ticket = import_file(tmp_path / "masks.pt", arch="resnet50")
    assert (len(ticket.mask), ticket.mask.size) == (52, 23_445_504)
    assert ticket.path.stat().st_size <= 3_000_000
    assert torch.equal(ticket.mask["layer4.2.conv3.weight"], masks["layer4.2.conv3.weight"] == 1)


PUBLISHED = [
    ("resnet20-12fca82f.th", "resnet20_a", "imagenet", ["--dense"], "linear", 0.9173),
    ("resnet56-4bfd9763.th", "resnet56_a", "imagenet", ["--dense"], "linear", 0.9339),
    ("distiller_resnet20_dense.pth", "resnet20", "half", ["--dense"], "fc", 0.9171),
    ("distiller_resnet20_channel_masked.pth", "resnet20", "half", [], "fc", 0.9081),
]


@pytest.mark.data
@pytest.mark.parametrize(("name", "arch", "input", "words", "head", "accuracy"), PUBLISHED)
def test_real_files_compute_what_they_are(
    name: str, arch: str, input: str, words: list[str], head: str, accuracy: float,
    real: Callable[[str], Path], import_file: Import, logits_of: Callable[[Ticket, Tensor], Tensor],
    cifar_logits: Callable[[Mapping[str, Tensor], Tensor, str], Tensor], images: Tensor,
) -> None:  # fmt: skip
    file = real("checkpoints") / name
    state = {
        key.removeprefix("module."): tensor
        for key, tensor in torch.load(file, map_location="cpu", weights_only=True)["state_dict"].items()
    }
    ticket = import_file(file, *words, arch=arch, input=input)
    assert torch.allclose(logits_of(ticket, images), cifar_logits(state, images, head), rtol=1e-4, atol=1e-4)


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.parametrize(("name", "arch", "input", "words", "head", "accuracy"), PUBLISHED)
def test_real_files_reach_their_published_accuracy(
    name: str, arch: str, input: str, words: list[str], head: str, accuracy: float,
    real: Callable[[str], Path], import_file: Import, tmp_path: Path,
) -> None:  # fmt: skip
    from Downstream.main import main as downstream

    ticket = import_file(real("checkpoints") / name, *words, arch=arch, input=input)
    target = ["--data.name=cifar10", f"--data.root={real('cifar10')}", f"--data.input={input}", f"--model.name={arch}"]
    assert downstream([*target, f"--evaluate={ticket.path}", f"--out={tmp_path / 'runs'}", "--train.device=cpu"]) == 0
    (result,) = (json.loads(path.read_text()) for path in (tmp_path / "runs/Downstream/evaluations").glob("*.json"))
    assert (result["metric"], result["protocol"], result["split"]) == ("top1", "head", "test")
    assert result["details"]["norm_statistics"] == "stored"
    assert result["density"] == ticket.density
    assert result["value"] == pytest.approx(accuracy, abs=0.0005)
