"""Small networks, masks and tickets that the tests of this folder share."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from common.models.backbones import build_backbone
from common.models.heads import Network, linear_head
from common.tickets.mask import Mask
from common.tickets.rewind import capture
from common.tickets.scope import find_scope
from common.tickets.ticket import Description, Ticket, save_ticket
from common.tickets.weights_file import NetworkState, save_weights

INPUT = {
    "size": 16,
    "channels": 3,
    "range": [0.0, 1.0],
    "mean": [0.5, 0.25, 0.125],
    "std": [0.5, 0.5, 0.25],
    "interpolation": None,
}


class Little(nn.Module):
    """A stem, two convolutions of different kernels, norms and a classifier: 5 prunable candidates, 76 weights in scope."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 2, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(2)
        self.body = nn.Conv2d(2, 4, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(4)
        self.point = nn.Conv2d(4, 1, 1, bias=False)
        self.fc = nn.Linear(1, 3)

    def forward(self, x_NCHW: torch.Tensor) -> torch.Tensor:
        x_NCHW = torch.relu(self.bn1(self.conv1(x_NCHW)))
        x_NCHW = torch.relu(self.bn2(self.body(x_NCHW)))
        return self.fc(self.point(x_NCHW).mean((2, 3)))


@pytest.fixture
def little() -> Little:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        return Little()


@pytest.fixture
def little_mask() -> Mask:
    draws = torch.Generator().manual_seed(8)
    shapes = {"body.weight": (4, 2, 3, 3), "point.weight": (1, 4, 1, 1)}
    mask = {name: torch.rand(shape, generator=draws) < 0.5 for name, shape in shapes.items()}
    mask["point.weight"][0, 1] = True
    mask["point.weight"][0, 2] = False
    return Mask(mask)


@pytest.fixture
def describe() -> Callable[..., Description]:
    """Return a description of a ticket of a backbone; keyword arguments replace parts of it."""

    def make(arch: dict[str, Any] | None = None, **changes: Any) -> Description:
        origin = {
            "folder": "SimCLR",
            "objective": "simclr",
            "data": "digits:0-5",
            "split": "5" * 12,
            "recipe": "digits",
            "config": "0123456789ab",
            "seed": 3,
            "round": 2,
            "run": "SimCLR/digits-0123456789ab",
            "importer": None,
        }
        plain: dict[str, Any] = {
            "arch": arch or {"name": "resnet_digits", "stem": "3x3", "in_chans": 3, "variant": None},
            "scope": {"include": ["Conv2d:*"], "exclude": ["@stem"]},
            "origin": {**origin, **changes.pop("origin", {})},
            "rewind": {"to": "round0", "at": None},
            "input": INPUT,
        }
        return Description(**{**plain, **changes})

    return make


@pytest.fixture
def draw_mask() -> Callable[..., Mask]:
    """Return a mask over a model's scope that keeps each weight with a probability."""

    def make(model: nn.Module, density: float, seed: int = 0) -> Mask:
        draws = torch.Generator().manual_seed(seed)
        parameters = find_scope(model).parameters(model)
        return Mask({name: torch.rand(p.shape, generator=draws) < density for name, p in parameters.items()})

    return make


class Run:
    """A run directory with one round: the files that a ticket refers to lie where a search would write them."""

    def __init__(self, folder: Path, describe: Callable[..., Description], draw_mask: Callable[..., Mask]) -> None:
        self.folder, self._describe, self._draw_mask = folder, describe, draw_mask
        self.network = Network(build_backbone("resnet_digits", seed=1), linear_head(64, 6, seed=1))
        self.rewind = NetworkState.split(capture(self.network))
        trained = build_backbone("resnet_digits", seed=2)
        self.round0 = NetworkState(capture(trained), {})
        self.rewind_sha = save_weights(folder / "rewind.safetensors", self.rewind)
        self.scores_sha = save_weights(folder / "scores.safetensors", self.round0)

    def ticket(self, density: float = 0.3, seed: int = 0, round_: int = 2, **changes: Any) -> Ticket:
        """Write and return a ticket by reference, with scores."""
        mask = self._draw_mask(self.network.backbone, density, seed)
        scores = {"file": "../scores.safetensors", "sha256": self.scores_sha}
        description = self._describe(**{"scores": scores, "origin": {"round": round_}, **changes})
        weights = {"file": "../rewind.safetensors", "sha256": self.rewind_sha}
        return save_ticket(self.folder / f"round_{round_:02}" / "ticket.safetensors", mask, description, weights_file=weights)


@pytest.fixture
def run(tmp_path: Path, describe: Callable[..., Description], draw_mask: Callable[..., Mask]) -> Run:
    return Run(tmp_path / "run", describe, draw_mask)


class Forge:
    """A writer of ticket files that is none of ours: struct, json and hashlib, after the page that defines the format."""

    @staticmethod
    def canonical(value: Any) -> str:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)

    @staticmethod
    def read(content: bytes) -> tuple[dict[str, Any], dict[str, tuple[str, list[int], bytes]]]:
        """Return the ticket's header and {name: (dtype, shape, bytes)}."""
        (size,) = struct.unpack("<Q", content[:8])
        outer = json.loads(content[8 : 8 + size])
        header = json.loads(outer.pop("__metadata__")["ticket"])
        data = content[8 + size :]
        return header, {n: (e["dtype"], e["shape"], data[slice(*e["data_offsets"])]) for n, e in outer.items()}

    @staticmethod
    def container(tensors: dict[str, tuple[str, list[int], bytes]], metadata: Any) -> bytes:
        """Write a safetensors file."""
        outer, data = {"__metadata__": metadata}, b""
        for name, (dtype, shape, content) in tensors.items():
            outer[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(content)]}
            data += content
        text = json.dumps(outer, separators=(",", ":"), ensure_ascii=False).encode()
        text += b" " * (-len(text) % 8)
        return struct.pack("<Q", len(text)) + text + data

    @classmethod
    def mask_digest(cls, header: dict[str, Any], tensors: dict[str, tuple[str, list[int], bytes]]) -> str:
        sha = hashlib.sha256()
        for name in sorted(header["shapes"]):
            shape = ",".join(str(n) for n in header["shapes"][name]).encode()
            sha.update(name.encode() + b"\0" + shape + b"\0" + tensors["mask/" + name][2])
        return sha.hexdigest()

    @classmethod
    def digest(cls, header: dict[str, Any], tensors: dict[str, tuple[str, list[int], bytes]]) -> str:
        sha = hashlib.sha256(cls.canonical({k: v for k, v in header.items() if k != "digest"}).encode())
        for name in sorted(tensors):
            dtype, shape, content = tensors[name]
            sha.update(name.encode() + b"\0" + dtype.encode() + b"\0" + ",".join(map(str, shape)).encode() + b"\0" + content)
        return sha.hexdigest()

    @classmethod
    def write(cls, header: dict[str, Any], tensors: dict[str, tuple[str, list[int], bytes]], *, sign: bool = True) -> bytes:
        """Write a ticket; `sign` recomputes both digests, as a forger who knows the format would."""
        header = dict(header)
        if sign:
            try:
                header["mask_digest"] = cls.mask_digest(header, tensors)
            except (KeyError, TypeError):
                pass
            header["digest"] = cls.digest(header, tensors)
        return cls.container(tensors, {"ticket": cls.canonical(header)})


@pytest.fixture
def forge() -> type[Forge]:
    return Forge
