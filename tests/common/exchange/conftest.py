"""What tests of exchange share: foreign networks written by hand, imports by command line, what a ticket computes."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from common.exchange.__main__ import main
from common.models.backbones import build_backbone, rebuild_backbone
from common.tickets import Ticket, load_ticket


@pytest.fixture(scope="session")
def images() -> Tensor:
    """Two images, float, as a network gets them: (2, 3, 32, 32)."""
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def _cifar_shapes(option: str, classifier: str, blocks: int = 3) -> dict[str, tuple[int, ...]]:
    """Return the names and shapes of a CIFAR ResNet of 6 * blocks + 2 layers, as published checkpoints have them."""
    shapes: dict[str, tuple[int, ...]] = {"conv1.weight": (16, 3, 3, 3), **_norm("bn1", 16)}
    before = 16
    for stage, width in enumerate((16, 32, 64), 1):
        for block in range(blocks):
            name = f"layer{stage}.{block}"
            shapes |= {f"{name}.conv1.weight": (width, before, 3, 3), **_norm(f"{name}.bn1", width)}
            shapes |= {f"{name}.conv2.weight": (width, width, 3, 3), **_norm(f"{name}.bn2", width)}
            if option == "B" and before != width:
                shapes |= {f"{name}.downsample.0.weight": (width, before, 1, 1), **_norm(f"{name}.downsample.1", width)}
            before = width
    return shapes | {f"{classifier}.weight": (10, 64), f"{classifier}.bias": (10,)}


def _norm(name: str, width: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.{field}": (width,) for field in ("weight", "bias", "running_mean", "running_var")}


def _drawn(shapes: Mapping[str, tuple[int, ...]], seed: int = 0) -> dict[str, Tensor]:
    """Draw weights and statistics of which none is 0."""
    draws = torch.Generator().manual_seed(seed)
    state = {}
    for name, shape in shapes.items():
        noise = torch.rand(shape, generator=draws)
        fan_in = torch.Size(shape[1:]).numel()
        signs = torch.where(torch.rand(shape, generator=draws) < 0.5, -1.0, 1.0)
        state[name] = noise + 0.5 if len(shape) == 1 else (noise + 0.1) * signs * (2 / fan_in) ** 0.5
    return state


def _cifar_logits(state: Mapping[str, Tensor], x_NCHW: Tensor, classifier: str) -> Tensor:
    """Compute a CIFAR ResNet by hand from its tensors (He et al. 2016, 4.2); option A where there are no shortcut weights."""

    def norm(x: Tensor, name: str) -> Tensor:
        fields = [state[f"{name}.{field}"][:, None, None] for field in ("running_mean", "running_var", "weight", "bias")]
        mean, var, weight, bias = fields
        return (x - mean) / (var + 1e-5).sqrt() * weight + bias

    x = norm(functional.conv2d(x_NCHW, state["conv1.weight"], padding=1), "bn1").relu()
    blocks = sorted({name.rsplit(".", 2)[0] for name in state if name.startswith("layer") and name.endswith(".conv1.weight")})
    for block in sorted(blocks, key=lambda name: [int(part) for part in name.removeprefix("layer").split(".")]):
        stride = 2 if block in ("layer2.0", "layer3.0") else 1
        y = norm(functional.conv2d(x, state[f"{block}.conv1.weight"], stride=stride, padding=1), f"{block}.bn1").relu()
        y = norm(functional.conv2d(y, state[f"{block}.conv2.weight"], padding=1), f"{block}.bn2")
        if f"{block}.downsample.0.weight" in state:
            x = norm(functional.conv2d(x, state[f"{block}.downsample.0.weight"], stride=stride), f"{block}.downsample.1")
        elif stride == 2:
            quarter = x.shape[1] // 2
            x = functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, quarter, quarter))
        x = (x + y).relu()
    return functional.linear(x.mean((2, 3)), state[f"{classifier}.weight"], state[f"{classifier}.bias"])


@pytest.fixture
def real() -> Callable[[str], Path]:
    """Return a function that finds a folder of real data in LTP_DATA, or skips the test."""

    def find(name: str) -> Path:
        root = os.environ.get("LTP_DATA")
        if root is None or not Path(root, name).is_dir():
            pytest.skip(f"needs real data: set LTP_DATA to the folder that holds {name}")
        return Path(root, name)

    return find


@pytest.fixture
def cifar_state() -> Callable[..., dict[str, Tensor]]:
    """Return a function that draws the tensors of a CIFAR ResNet-20: its option, its classifier's name, a seed."""
    return lambda option="B", classifier="fc", seed=0: _drawn(_cifar_shapes(option, classifier), seed)


@pytest.fixture
def cifar_module(cifar_state: Callable[..., dict[str, Tensor]]) -> nn.Module:
    """A ResNet-20 (option B) with a classifier `fc` as a module, in eval mode, for the tools that write files from modules."""
    network = build_backbone("resnet20", seed=0)
    network.fc = nn.Linear(64, 10)
    network.load_state_dict(cifar_state(), strict=False)
    return network.eval()


@pytest.fixture
def cifar_logits() -> Callable[..., Tensor]:
    """Return a function that computes a CIFAR ResNet by hand from its tensors, images and the name of its classifier."""
    return _cifar_logits


@pytest.fixture
def import_file(tmp_path: Path) -> Callable[..., Ticket]:
    """Return a function that imports a file through the command line and returns the ticket."""

    def run(file: Path, *words: str, arch: str = "resnet20", input: str | None = "half") -> Ticket:
        output = tmp_path / f"ticket{len(list(tmp_path.glob('ticket*')))}.safetensors"
        asked = () if input is None else (f"--input={input}",)
        assert main(["import", str(file), f"--arch={arch}", *asked, *words, f"--output={output}"]) == 0
        return load_ticket(output)

    return run


@pytest.fixture
def refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Return a function that imports a file which must be refused; it returns the one line that says why."""

    def run(file: Path, *words: str, arch: str = "resnet20", input: str | None = "half") -> str:
        capsys.readouterr()
        output = tmp_path / "refused.safetensors"
        asked = () if input is None else (f"--input={input}",)
        assert main(["import", str(file), f"--arch={arch}", *asked, *words, f"--output={output}"]) == 2
        assert not output.exists()
        said = capsys.readouterr()
        (line,) = said.err.strip().splitlines()
        assert said.out == ""
        return line.removeprefix("common.exchange: error: ")

    return run


@pytest.fixture
def logits_of() -> Callable[[Ticket, Tensor], Tensor]:
    """Return a function that computes a ticket's network: its backbone under the mask, and its classifier."""

    @torch.no_grad()
    def compute(ticket: Ticket, x_NCHW: Tensor) -> Tensor:
        backbone = rebuild_backbone(ticket.header["arch"], seed=9, stream="test", size=ticket.header["input"]["size"]).eval()
        ticket.apply_to(backbone)
        head = ticket.rewind_point().head
        return functional.linear(backbone(x_NCHW), head["weight"], head["bias"])

    return compute
