"""Published layouts: a checkpoint written in each by hand computes, once loaded, what its own network computes."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from common.data.inputs import InputSpec
from common.errors import InputError
from common.models.backbones import build_backbone
from common.models.heads import projection_head
from common.models.start import StartWeights, load_start_weights_, read_start_weights

State = dict[str, Tensor]


def shaken(network: nn.Module, seed: int) -> nn.Module:
    """Give a network weights and norm statistics that no initialisation gives, in eval mode."""
    draws = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if tensor.is_floating_point():
                noise = torch.rand(tensor.shape, generator=draws)
                scale = (2.0 / max(1, tensor[0].numel())) ** 0.5 if tensor.dim() > 1 else 1.0
                tensor.copy_(noise + 0.5 if tensor.dim() == 1 and "bias" not in name else (noise - 0.5) * 2 * scale)
    return network.eval()


@pytest.fixture(scope="module")
def original() -> nn.Module:
    """torchvision's ResNet-18 with its classifier."""
    return shaken(torchvision.models.resnet18(num_classes=7), 1)


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.rand(2, 3, 48, 48, generator=torch.Generator().manual_seed(0))


def loaded(path: Path, name: str = "resnet18", **how: Any) -> tuple[nn.Module, StartWeights, Any]:
    """Return a backbone of ours that was filled from a file, what was read, and what matched."""
    start = read_start_weights(path, **how)
    backbone = build_backbone(name, seed=5)
    report = load_start_weights_(backbone, start, str(path))
    return backbone.eval(), start, report


def features(network: nn.Module, images: Tensor) -> Tensor:
    """torchvision's ResNet up to its classifier."""
    with torch.no_grad():
        x = images
        for name, part in network.named_children():
            x = part(x) if name != "fc" else x.flatten(1)
        return x


PLAIN: dict[str, Callable[[nn.Module, Path], Any]] = {
    "torchvision.pth": lambda m, p: torch.save(m.state_dict(), p),
    "wrapped.pth.tar": lambda m, p: torch.save({"epoch": 9, "state_dict": m.state_dict(), "optimizer": {"state": {}}}, p),
    "reference.pth": lambda m, p: torch.save({"model": m.state_dict(), "args": argparse.Namespace(lr=0.1), "epoch": 9}, p),
    "dataparallel.pth": lambda m, p: torch.save(nn.DataParallel(m).state_dict(), p),
    "wrapped_ddp.pth": lambda m, p: torch.save({"state_dict": {f"module.{n}": t for n, t in m.state_dict().items()}}, p),
    "compiled.pth": lambda m, p: torch.save({f"_orig_mod.module.{n}": t for n, t in m.state_dict().items()}, p),
    "half.pth": lambda m, p: torch.save({n: t.double() if t.is_floating_point() else t for n, t in m.state_dict().items()}, p),
    "timm.safetensors": lambda m, p: save_file(dict(m.state_dict()), p),
}


@pytest.mark.parametrize("name", PLAIN)
def test_state_dicts_of_torchvision_and_timm(name: str, original: nn.Module, images: Tensor, tmp_path: Path) -> None:
    PLAIN[name](original, tmp_path / name)
    backbone, start, report = loaded(tmp_path / name)
    assert torch.equal(backbone(images), features(original, images))
    assert (start.layout, start.input, start.objective) == ("plain", None, None)
    assert (len(report.matched), report.missing, report.unexpected) == (120, (), ("fc.bias", "fc.weight"))
    with torch.no_grad():
        logits = functional.linear(backbone(images), start.state["fc.weight"].float(), start.state["fc.bias"].float())
    assert torch.allclose(logits, original(images), rtol=1e-5, atol=1e-5)


def test_a_timm_model_under_its_own_names(images: Tensor, tmp_path: Path) -> None:
    model = shaken(timm.create_model("convnext_atto", num_classes=3), 2)
    torch.save({"state_dict": model.state_dict()}, tmp_path / "c.pth")
    backbone, _, report = loaded(tmp_path / "c.pth", "convnext_atto")
    with torch.no_grad():
        expected = model.forward_head(model.forward_features(images), pre_logits=True)
        assert torch.allclose(backbone(images), expected, rtol=1e-5, atol=1e-6)
    assert report.unexpected == ("head.fc.bias", "head.fc.weight")


def moco_state(query: nn.Module, key: nn.Module, prefix: str = "module.") -> State:
    """Write MoCo's checkpoint as its training does: both encoders, each with the projection as `fc`, and the queue."""
    state = {f"{prefix}encoder_q.{n}": t for n, t in query.state_dict().items()}
    state |= {f"{prefix}encoder_k.{n}": t for n, t in key.state_dict().items()}
    return state | {f"{prefix}queue": torch.rand(128, 64), f"{prefix}queue_ptr": torch.zeros(1, dtype=torch.long)}


def with_projection(network: nn.Module, version: int) -> nn.Module:
    """Put MoCo's projection in place of the classifier: one layer in v1, two with ReLU between in v2."""
    width = network.fc.in_features
    network.fc = nn.Linear(width, 128)
    if version == 2:
        network.fc = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 128))
    return network


@pytest.mark.parametrize(
    ("version", "widths", "prefix", "only_query"),
    [(2, (512, 128), "module.", False), (2, (512, 128), "module.", True), (1, (128,), "", False)],
)
def test_moco_takes_the_query_encoder_and_its_head(
    version: int, widths: tuple[int, ...], prefix: str, only_query: bool, images: Tensor, tmp_path: Path
) -> None:
    query, key = (shaken(with_projection(torchvision.models.resnet18(), version), seed) for seed in (3, 4))
    state = moco_state(query, key, prefix)
    if only_query:
        state = {n: t for n, t in state.items() if "encoder_q" in n}
    torch.save(
        {"epoch": 800, "arch": "resnet18", "state_dict": state, "optimizer": {"param_groups": [{"lr": 0.0}]}}, tmp_path / "m.tar"
    )
    backbone, start, report = loaded(tmp_path / "m.tar")
    head = projection_head(512, widths, seed=0)
    head.load_state_dict(dict(start.head))
    with torch.no_grad():
        assert torch.equal(backbone(images), features(query, images))
        assert torch.allclose(head(backbone(images)), query(images), rtol=1e-5, atol=1e-5)
        assert not torch.allclose(head(backbone(images)), key(images), rtol=1e-2)
    assert (start.layout, start.objective) == ("moco", "moco")
    assert InputSpec.from_json(start.input or {}).mean == (0.485, 0.456, 0.406)
    assert (report.missing, report.unexpected) == ((), ())
    assert ("queue" in report.left_out) == (not only_query)
    assert sum(name.startswith("encoder_k.") for name in report.left_out) == (0 if only_query else len(key.state_dict()))


class SimCLRv2Block(nn.Module):
    """A bottleneck as SimCLRv2's converted checkpoints name it (He et al. 2016, figure 5; the stride is the 3x3's)."""

    def __init__(self, before: int, width: int, stride: int, projects: bool) -> None:
        super().__init__()
        if projects:
            self.projection = nn.Module()
            self.projection.shortcut = nn.Conv2d(before, 4 * width, 1, stride, bias=False)
            self.projection.bn = nn.Sequential(nn.BatchNorm2d(4 * width))
        sizes = ((before, width, 1, 1), (width, width, 3, stride), (width, 4 * width, 1, 1))
        layers: list[nn.Module] = []
        for inner, outer, side, step in sizes:
            layers += [nn.Conv2d(inner, outer, side, step, side // 2, bias=False), nn.Sequential(nn.BatchNorm2d(outer))]
        self.net = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu(self.net[1](self.net[0](x)))
        y = self.net[5](self.net[4](functional.relu(self.net[3](self.net[2](y)))))
        shortcut = self.projection.bn(self.projection.shortcut(x)) if hasattr(self, "projection") else x
        return functional.relu(y + shortcut)


class SimCLRv2(nn.Module):
    """A ResNet without selective kernels whose state dict has the names of SimCLRv2's converted checkpoints."""

    def __init__(self, depths: tuple[int, ...]) -> None:
        super().__init__()
        parts: list[nn.Module] = [nn.Sequential(nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.Sequential(nn.BatchNorm2d(64)))]
        before = 64
        for stage, depth in enumerate(depths):
            width, part = 64 * 2**stage, nn.Module()
            part.blocks = nn.ModuleList()
            for number in range(depth):
                first = number == 0
                part.blocks.append(SimCLRv2Block(before, width, 2 if first and stage else 1, first))
                before = 4 * width
            parts.append(part)
        self.net = nn.ModuleList(parts)
        self.fc = nn.Linear(before, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.max_pool2d(functional.relu(self.net[0](x)), 3, 2, 1)
        for part in list(self.net)[1:]:
            for block in part.blocks:
                x = block(x)
        return x.mean((2, 3))


def simclr_v2_head() -> State:
    """The projection head of SimCLRv2: three linear layers without bias, each with a batch norm."""
    layers: list[nn.Module] = []
    for _ in range(3):
        layers += [nn.Linear(16, 16, bias=False), nn.BatchNorm1d(16), nn.ReLU()]
    return {f"layers.{name}": tensor for name, tensor in nn.Sequential(*layers[:-1]).state_dict().items()}


V2_DEPTHS = {"resnet50": (3, 4, 6, 3), "resnet152": (3, 8, 36, 3)}


@pytest.mark.parametrize("name", ["resnet50", pytest.param("resnet152", marks=pytest.mark.slow)])
def test_simclr_v2(name: str, images: Tensor, tmp_path: Path) -> None:
    model = shaken(SimCLRv2(V2_DEPTHS[name]), 6)
    torch.save({"resnet": model.state_dict(), "head": simclr_v2_head()}, tmp_path / "r.pth")
    backbone, start, report = loaded(tmp_path / "r.pth", name)
    with torch.no_grad():
        expected, got = model(images), backbone(images)
    assert torch.allclose(got, expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))
    assert float(expected.std()) > 0
    assert start.layout == "simclr_v2"
    spec = InputSpec.from_json(start.input or {})
    assert (spec.range, spec.mean, spec.std) == ((0, 1), (0, 0, 0), (1, 1, 1))
    assert (report.missing, report.unexpected) == ((), ("fc.bias", "fc.weight"))
    assert "head.layers.0.weight" in report.left_out


@pytest.mark.parametrize("form", ["alone", "wrapped", "parallel"])
def test_simclr_v2_in_other_wrappings(form: str, tmp_path: Path) -> None:
    state = SimCLRv2((1, 1, 1, 1)).state_dict()
    wrapped = {"alone": state, "wrapped": {"state_dict": state}, "parallel": {f"module.{n}": t for n, t in state.items()}}
    torch.save(wrapped[form], tmp_path / "a.pth")
    torch.save({"resnet": state, "head": simclr_v2_head()}, tmp_path / "b.pth")
    found, expected = (read_start_weights(tmp_path / name) for name in ("a.pth", "b.pth"))
    assert (found.layout, found.left_out) == ("simclr_v2", ())
    assert found.state.keys() == expected.state.keys()
    assert all(torch.equal(tensor, expected.state[n]) for n, tensor in found.state.items())


def test_simclr_v1_is_told_apart_by_its_user_alone(original: nn.Module, images: Tensor, tmp_path: Path) -> None:
    torch.save({"state_dict": original.state_dict()}, tmp_path / "s.pth")
    assert read_start_weights(tmp_path / "s.pth").input is None
    backbone, start, _ = loaded(tmp_path / "s.pth", format="simclr_v1")
    assert torch.equal(backbone(images), features(original, images))
    assert InputSpec.from_json(start.input or {}).std == (1, 1, 1)


def selective(state: State) -> State:
    return state | {"net.1.blocks.0.net.2.main_conv.0.weight": torch.ones(1), "net.0.3.weight": torch.ones(1)}


def empty(name: str, width: int = 1) -> State:
    """A state dict of torchvision's names and shapes, all of one stored number; width multiplies all channels but the image's."""
    with torch.device("meta"):
        state = torchvision.models.get_model(name, weights=None).state_dict()
    shapes = {n: [width * s if axis < 2 and s > 3 else s for axis, s in enumerate(t.shape)] for n, t in state.items()}
    return {n: torch.zeros((), dtype=t.dtype).expand(shapes[n]) for n, t in state.items()}


R18 = empty("resnet18")
R50 = empty("resnet50")
REFUSED: dict[str, tuple[Any, str, list[str]]] = {
    "another architecture": (R50, "resnet18", ["ResNet-50", "resnet18", "layer1.0.bn3", "layer1.0.conv1.weight"]),
    "a shallower one": (R18, "resnet50", ["ResNet-18", "resnet50"]),
    "a deeper one": (empty("resnet34"), "resnet50", ["ResNet-34", "missing", "resnet50"]),
    "width 2x": (empty("resnet50", 2), "resnet50", ["ResNet-50 of width 2x", "bn1.bias", "(128,)", "(64,)"]),
    "inner width 2x": (
        empty("wide_resnet50_2"),
        "resnet50",
        ["ResNet-50 of inner width 2x", "layer1.0.bn1.bias"],
    ),
    "the key encoder alone": (
        {f"module.encoder_k.{n}": t for n, t in R18.items()},
        "resnet18",
        ["key encoder alone", "encoder_q.*"],
    ),
    "a stem of 3x3": (R18 | {"conv1.weight": torch.ones(64, 3, 3, 3)}, "resnet18", ["stem 3x3", "conv1", "start.stem fresh"]),
    "selective kernels": (
        {"resnet": selective(SimCLRv2((1, 1, 1, 1)).state_dict())},
        "resnet50",
        ["selective kernels", "sk0"],
    ),
    "blocks of another kind in SimCLRv2's names": (
        SimCLRv2((1, 1, 1, 1)).state_dict() | {"net.1.blocks.0.se.weight": torch.ones(1)},
        "resnet50",
        ["SimCLRv2", "net.1.blocks.0.se.weight"],
    ),
    "nothing known": ({"blocks.0.attn.weight": torch.ones(1)}, "resnet18", ["0 tensors matched", "blocks.0", "moco", "plain"]),
    "part of it prefixed": (
        {f"module.{n}" if n.startswith("layer1") else n: t for n, t in R18.items()},
        "resnet18",
        ["'module.'", "module.layer1.0.conv1.weight", "conv1.weight"],
    ),
    "two backbones": (R18 | {f"backbone.{n}": t for n, t in R18.items()}, "resnet18", ["bn1.bias", "backbone.bn1.bias"]),
    "two state dicts": ({"state_dict": R18, "state_dict_ema": R18}, "resnet18", ["state_dict, state_dict_ema"]),
    "an empty state dict": ({"state_dict": {}}, "resnet18", ["no tensors"]),
    "no tensors": ({"epoch": 3, "arch": "resnet50"}, "resnet18", ["no tensors", "epoch, arch"]),
    "a value that is not finite": (R18 | {"bn1.bias": torch.full((64,), torch.nan)}, "resnet18", ["bn1.bias", "not finite"]),
    "integers": (R18 | {"bn1.bias": torch.ones(64, dtype=torch.long)}, "resnet18", ["bn1.bias", "int64", "float32"]),
    "complex numbers": (R18 | {"bn1.bias": torch.ones(64, dtype=torch.complex64)}, "resnet18", ["bn1.bias", "complex64"]),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_wrong_is_refused_by_name(name: str, tmp_path: Path) -> None:
    content, model, named = REFUSED[name]
    torch.save(content, tmp_path / "FILE.pth")
    backbone = build_backbone(model, stem="native", seed=5)
    before = {n: t.clone() for n, t in backbone.state_dict().items()}
    with pytest.raises(InputError) as error:
        load_start_weights_(backbone, read_start_weights(tmp_path / "FILE.pth"), "FILE.pth")
    line = str(error.value)
    assert "\n" not in line
    assert all(text in line for text in ["FILE.pth", *named]), line
    assert all(torch.equal(tensor, before[n]) for n, tensor in backbone.state_dict().items())


@pytest.mark.parametrize(
    ("content", "wanted", "named"),
    [
        ({"state_dict": R18}, "moco", ["start.format", "moco", "encoder_q.*", "plain", "bn1.bias"]),
        (R18, "simclr_v2", ["simclr_v2", "net.0.0.weight", "plain"]),
        (R18, "ticket", ["ticket", "plain"]),
        ({f"encoder_q.{n}": t for n, t in R18.items()}, "network", ["network", "moco", "encoder_q.bn1.bias"]),
    ],
)
def test_a_layout_that_is_asked_for_must_be_there(content: Any, wanted: str, named: list[str], tmp_path: Path) -> None:
    torch.save(content, tmp_path / "FILE.pth")
    with pytest.raises(InputError) as error:
        read_start_weights(tmp_path / "FILE.pth", wanted)
    assert all(text in str(error.value) for text in ["FILE.pth", *named]), error.value


def test_truncated_at_any_place(tmp_path: Path) -> None:
    torch.save({"state_dict": {"conv1.weight": torch.rand(64, 3, 7, 7)}}, tmp_path / "w.pth")
    whole = (tmp_path / "w.pth").read_bytes()
    for part in (1, 100, len(whole) // 2, len(whole) - 1):
        (tmp_path / "cut.pth").write_bytes(whole[:part])
        with pytest.raises(InputError, match=r"cut\.pth is truncated, or no PyTorch checkpoint") as error:
            read_start_weights(tmp_path / "cut.pth")
        assert "\n" not in str(error.value)


def test_old_pickles_that_need_more_are_refused_with_the_reason(tmp_path: Path) -> None:
    from collections import deque

    for zipped in (True, False):
        torch.save({"state_dict": R18, "meter": deque([1.0])}, tmp_path / "old.pth", _use_new_zipfile_serialization=zipped)
        with pytest.raises(InputError, match=r"old\.pth holds more than tensors \(a pickled collections\.deque\)"):
            read_start_weights(tmp_path / "old.pth")


def test_a_fresh_stem_takes_everything_else(original: nn.Module, tmp_path: Path) -> None:
    torch.save(original.state_dict(), tmp_path / "w.pth")
    backbone = build_backbone("resnet18", stem="3x3", seed=5)
    stem = backbone.conv1.weight.detach().clone()
    with pytest.raises(InputError, match=r"conv1\.weight.*start\.stem fresh"):
        load_start_weights_(backbone, read_start_weights(tmp_path / "w.pth"), "w.pth")
    report = load_start_weights_(backbone, read_start_weights(tmp_path / "w.pth"), "w.pth", stem="fresh")
    theirs = original.state_dict()
    assert torch.equal(backbone.conv1.weight, stem)
    assert all(torch.equal(tensor, theirs[n]) for n, tensor in backbone.state_dict().items() if n != "conv1.weight")
    assert len(report.matched) == 119
    assert report.left_out == ("conv1.weight",)


def test_the_names_of_the_schema_are_those_of_the_table() -> None:
    from typing import get_args, get_type_hints

    from common.config import StartConfig
    from common.models.layouts.table import LAYOUTS
    from common.models.start import OWN_FORMATS

    assert get_args(get_type_hints(StartConfig)["format"]) == ("auto", *OWN_FORMATS, *LAYOUTS)
