"""Tickets to export, and the network of one as the test computes it: dense weights times mask."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from common.exchange.__main__ import main
from common.models.backbones import build_backbone
from common.tickets.mask import Mask
from common.tickets.scope import find_scope
from common.tickets.ticket import Description, Ticket, save_ticket
from common.tickets.weights_file import NetworkState

INPUT = {"size": 32, "channels": 3, "range": [0.0, 1.0], "mean": [0.5, 0.25, 0.125], "std": [0.5, 0.5, 0.25]}


@dataclass(frozen=True)
class Made:
    """A ticket, and its masked network in eval mode, made without the code under test."""

    ticket: Ticket
    backbone: nn.Module
    head: nn.Linear

    @property
    def path(self) -> Path:
        return self.ticket.path

    def masked(self) -> dict[str, Tensor]:
        return self.backbone.state_dict()

    def features(self, x_NCHW: Tensor) -> Tensor:
        with torch.no_grad():
            return self.backbone(x_NCHW)

    def logits(self, x_NCHW: Tensor) -> Tensor:
        with torch.no_grad():
            return self.head(self.backbone(x_NCHW))


def _disturbed(backbone: nn.Module, draws: torch.Generator) -> nn.Module:
    """Give every norm weights and statistics of its own, so that none can be left out or exchanged unseen."""
    for module in backbone.modules():
        if isinstance(module, nn.BatchNorm2d):
            positive, any_sign = (module.weight, module.running_var), (module.bias, module.running_mean)
            for tensor, low in (*((x, 0.5) for x in positive), *((x, -0.5) for x in any_sign)):
                tensor.data = torch.rand(tensor.shape, generator=draws) + low
    return backbone


@pytest.fixture(scope="session")
def make(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Made]:
    """Return what writes a ticket of a backbone with a classifier of 7 classes; weights embedded."""

    def run(name: str, density: float = 0.3, head: bool = True, input: Any = None, include: str = "Conv2d:*", **how: Any) -> Made:
        draws = torch.Generator().manual_seed(4)
        backbone: Any = _disturbed(build_backbone(name, seed=1, **how), draws)
        classifier = nn.Linear(backbone.num_features, 7)
        dense = {key: tensor.clone() for key, tensor in backbone.state_dict().items()}
        scope = find_scope(backbone, [include])
        shapes = {key: p.shape for key, p in scope.parameters(backbone).items()}
        masks = {key: torch.rand(shape, generator=draws) < density for key, shape in shapes.items()}
        origin = dict.fromkeys(("folder", "objective", "data", "split", "recipe", "config", "seed", "round", "run", "importer"))
        description = Description(
            arch=backbone.arch,
            scope={"include": list(scope.include), "exclude": list(scope.exclude)},
            origin={**origin, "importer": "test"},
            rewind={"to": "round0", "at": None},
            input={**INPUT, "interpolation": None, **(input or {})},
        )
        state = NetworkState(dense, dict(classifier.state_dict()) if head else {})
        path = tmp_path_factory.mktemp(name) / "ticket.safetensors"
        ticket = save_ticket(path, Mask(masks), description, weights=state)
        for key, mask in masks.items():
            backbone.get_parameter(key).data *= mask
        return Made(ticket, backbone.eval(), classifier)

    return run


@pytest.fixture(scope="session")
def resnet18(make: Callable[..., Made]) -> Made:
    return make("resnet18")


@pytest.fixture(scope="session")
def digits(make: Callable[..., Made]) -> Made:
    return make("resnet_digits", input={"size": 16})


@pytest.fixture(scope="session")
def images() -> Tensor:
    """Return float images (2, 3, 64, 64)."""
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(6))


@pytest.fixture
def export(tmp_path: Path) -> Callable[..., Path]:
    """Return what exports from the command line and returns the file."""

    def run(made: Made | Path, to: str, *words: str, file: str = "out.pth") -> Path:
        source = made if isinstance(made, Path) else made.path
        assert main(["export", str(source), "--to", to, "-o", str(tmp_path / file), *words]) == 0
        return tmp_path / file

    return run


@pytest.fixture
def refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Return what runs an export that must be refused; it returns the one line."""

    def run(made: Made | Path, to: str, *words: str, file: str = "out.pth", code: int = 2) -> str:
        source = made if isinstance(made, Path) else made.path
        capsys.readouterr()
        before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        assert main(["export", str(source), "--to", to, "-o", str(tmp_path / file), *words]) == code
        out, err = capsys.readouterr()
        assert out == ""
        (line,) = err.strip().splitlines()
        assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
        return line

    return run
