"""Exported state dicts: the libraries' own models load them strictly and compute what dense weights times mask compute."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.utils import prune

from common.tickets.mask import Mask

Run = Callable[..., Path]


def _load(path: Path) -> dict[str, Tensor]:
    return torch.load(path, weights_only=True)


def _same(got: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("library", ["torchvision", "timm"])
def test_the_librarys_own_model_with_a_classifier(library: str, resnet18: Any, images: Tensor, export: Run) -> None:
    import timm
    import torchvision

    build = {"torchvision": torchvision.models.resnet18, "timm": lambda **how: timm.create_model("resnet18", **how)}
    model = build[library](num_classes=7)
    state = _load(export(resnet18, library, "--head"))
    model.load_state_dict(state)
    with torch.no_grad():
        _same(model.eval()(images), resnet18.logits(images))
    for name, kept in resnet18.ticket.mask.items():
        assert torch.equal(state[name], torch.where(kept, state[name], 0.0)), name
        assert not torch.signbit(state[name][~kept]).any()
    bare = _load(export(resnet18, library, file="bare.pth"))
    assert set(state) - set(bare) == {"fc.weight", "fc.bias"}


def test_detectors_of_torchvision(resnet18: Any, images: Tensor, export: Run) -> None:
    from torchvision.models.detection import FasterRCNN
    from torchvision.models.detection.backbone_utils import resnet_fpn_backbone

    detector = FasterRCNN(resnet_fpn_backbone(backbone_name="resnet18", weights=None), num_classes=3)
    result = detector.load_state_dict(_load(export(resnet18, "torchvision-detection")), strict=False)
    assert not [name for name in result.unexpected_keys if not name.endswith("num_batches_tracked")]
    assert not [name for name in result.missing_keys if name.startswith("backbone.body.")]
    with torch.no_grad():
        _same(detector.eval().backbone.body(images)["3"].mean((2, 3)), resnet18.features(images))


@pytest.mark.parametrize(("encoder", "to"), [("resnet18", "smp"), ("tu-resnet18", "smp-tu")])
def test_encoders_of_segmentation_models(encoder: str, to: str, resnet18: Any, images: Tensor, export: Run) -> None:
    smp = pytest.importorskip("segmentation_models_pytorch")
    model = smp.Unet(encoder, encoder_weights=None)
    result = model.load_state_dict(_load(export(resnet18, to)), strict=False)
    assert result.unexpected_keys == []
    assert not [name for name in result.missing_keys if name.startswith("encoder.")]
    with torch.no_grad():
        _same(model.eval().encoder(images)[-1].mean((2, 3)), resnet18.features(images))


def test_an_encoder_that_timm_flattens_and_cuts(make: Any, export: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """ConvNeXt's stages are `stages_0` as feature maps, and the norm of its head is not there; that is said."""
    import timm

    made = make("convnext_atto", head=False)
    state = _load(export(made, "smp-tu", "--prefix", ""))
    assert "head.norm.weight" in capsys.readouterr().out
    extractor = timm.create_model("convnext_atto", features_only=True)
    extractor.load_state_dict(state)
    x_NCHW = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        _same(extractor.eval()(x_NCHW)[-1], made.backbone.forward_features(x_NCHW))


class _Conv(nn.Conv2d):
    """A convolution that holds its norm, as detectron2's."""

    def __init__(self, *words: int) -> None:
        super().__init__(*words, bias=False)
        self.norm = nn.BatchNorm2d(words[1])

    def forward(self, x_NCHW: Tensor) -> Tensor:
        return self.norm(super().forward(x_NCHW))


class _Block(nn.Module):
    def __init__(self, before: int, width: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = [_Conv(before, width, 3, stride, 1), _Conv(width, width, 3, 1, 1)]
        if expansion > 1:
            inner = [_Conv(before, width, 1), _Conv(width, width, 3, stride, 1), _Conv(width, width * expansion, 1)]
        self.number = len(inner)
        for i, conv in enumerate(inner, 1):
            self.add_module(f"conv{i}", conv)
        self.shortcut = _Conv(before, width * expansion, 1, stride) if stride > 1 or before != width * expansion else None

    def forward(self, x_NCHW: Tensor) -> Tensor:
        shortcut = x_NCHW if self.shortcut is None else self.shortcut(x_NCHW)
        for i in range(1, self.number + 1):
            x_NCHW = getattr(self, f"conv{i}")(x_NCHW)
            x_NCHW = torch.relu(x_NCHW) if i < self.number else torch.relu(x_NCHW + shortcut)
        return x_NCHW


class _Detectron2(nn.Module):
    """A ResNet laid out as detectron2 lays it out (its BasicStem, BasicBlock and BottleneckBlock with STRIDE_IN_1X1 False)."""

    def __init__(self, blocks: tuple[int, ...], expansion: int) -> None:
        super().__init__()
        self.stem = nn.Module()
        self.stem.conv1 = _Conv(3, 64, 7, 2, 3)
        before = 64
        for stage, count in enumerate(blocks):
            layers = []
            for i in range(count):
                layers.append(_Block(before, 64 << stage, 2 if stage and not i else 1, expansion))
                before = (64 << stage) * expansion
            self.add_module(f"res{stage + 2}", nn.Sequential(*layers))

    def forward(self, x_NCHW: Tensor) -> Tensor:
        x_NCHW = nn.functional.max_pool2d(torch.relu(self.stem.conv1(x_NCHW)), 3, 2, 1)
        for stage in (2, 3, 4, 5):
            x_NCHW = getattr(self, f"res{stage}")(x_NCHW)
        return x_NCHW.mean((2, 3))


def _check_detectron2(model: nn.Module, made: Any, images: Tensor, export: Run) -> None:
    checkpoint: dict[str, Any] = torch.load(export(made, "detectron2"), weights_only=True)
    assert checkpoint["matching_heuristics"] is True
    result = model.load_state_dict(checkpoint["model"], strict=False)
    assert result.unexpected_keys == []
    assert all(name.endswith("num_batches_tracked") for name in result.missing_keys)
    with torch.no_grad():
        _same(model.eval()(images), made.features(images))
    plain = load_file(export(made, "detectron2", "--prefix", "backbone.bottom_up.", file="d2.safetensors"))
    assert set(plain) == {f"backbone.bottom_up.{name}" for name in checkpoint["model"]}


def test_detectron2_names(resnet18: Any, images: Tensor, export: Run, capsys: pytest.CaptureFixture[str]) -> None:
    _check_detectron2(_Detectron2((2, 2, 2, 2), 1), resnet18, images, export)
    out = capsys.readouterr().out
    assert "MODEL.PIXEL_MEAN [127.5, 63.75, 31.875], MODEL.PIXEL_STD [127.5, 127.5, 63.75], INPUT.FORMAT RGB" in out
    assert "DEPTH 18, MODEL.RESNETS.STRIDE_IN_1X1 False, MODEL.RESNETS.RES2_OUT_CHANNELS 64" in out


@pytest.mark.slow
def test_detectron2_names_of_bottlenecks(make: Any, images: Tensor, export: Run, capsys: pytest.CaptureFixture[str]) -> None:
    _check_detectron2(_Detectron2((3, 4, 6, 3), 4), make("resnet50"), images, export)
    assert "DEPTH 50, MODEL.RESNETS.STRIDE_IN_1X1 False\n" in capsys.readouterr().out


def test_a_module_that_torch_pruned(resnet18: Any, images: Tensor, export: Run) -> None:
    """torch's own functions make the layout, take the file and fold it."""
    import torchvision

    model = torchvision.models.resnet18(num_classes=7)
    pruned = {name: model.get_submodule(name.removesuffix(".weight")) for name in resnet18.ticket.mask}
    for module in pruned.values():
        prune.identity(module, "weight")
    state = _load(export(resnet18, "torch-prune", "--head"))
    assert {name: tensor.dtype for name, tensor in state.items()} == {n: t.dtype for n, t in model.state_dict().items()}
    model.load_state_dict(state)
    with torch.no_grad():
        _same(model.eval()(images), resnet18.logits(images))
    dense = resnet18.ticket.rewind_point().backbone
    for name, module in pruned.items():
        assert torch.equal(module.weight_orig, dense[name])
        prune.remove(module, "weight")
        assert torch.equal(module.weight, resnet18.masked()[name])


def test_masks_alone(resnet18: Any, export: Run) -> None:
    state = _load(export(resnet18, "masks", "--prefix", "module."))
    masks = {name.removeprefix("module.").removesuffix("_mask"): kept for name, kept in state.items()}
    assert Mask(masks) == resnet18.ticket.mask
    layer = nn.Conv2d(64, 64, 3)
    prune.custom_from_mask(layer, "weight", state["module.layer1.0.conv1.weight_mask"])
    assert int((layer.weight != 0).sum()) == resnet18.ticket.mask.kept_per_tensor["layer1.0.conv1.weight"]


def test_own_names_of_a_small_network(digits: Any, export: Run) -> None:
    state = load_file(export(digits, "plain", "--head", "--prefix", "net.", file="out.safetensors"))
    names = {**digits.masked(), **{f"fc.{name}": tensor for name, tensor in digits.head.state_dict().items()}}
    assert {name: tensor.tolist() for name, tensor in state.items()} == {f"net.{n}": t.tolist() for n, t in names.items()}


def test_a_stem_that_the_receiver_keeps(make: Any, images: Tensor, export: Run, refused: Callable[..., str]) -> None:
    """A ticket found behind a 3x3 stem goes into torchvision's network, which has a 7x7 one, when it is told to."""
    import torchvision

    made = make("resnet18", stem="3x3")
    line = refused(made, "torchvision")
    assert "'conv1.weight'" in line
    assert "(64, 3, 7, 7) there" in line
    assert "--stem fresh" in line
    model = torchvision.models.resnet18()
    result = model.load_state_dict(_load(export(made, "torchvision", "--stem", "fresh")), strict=False)
    assert (result.missing_keys, result.unexpected_keys) == (["conv1.weight", "fc.weight", "fc.bias"], [])
    assert torch.equal(model.layer4[1].conv2.weight, made.masked()["layer4.1.conv2.weight"])


def test_weights_by_reference_and_trained_ones(small_search: Path, export: Run) -> None:
    """Trained weights are those of the round's own file; the rewind point is that of the run, under the mask."""
    round_ = small_search / "round_02"
    masks = {name[5:]: bits for name, bits in load_file(round_ / "ticket.safetensors").items()}
    for weights, file in (("rewind", small_search / "rewind.safetensors"), ("trained", round_ / "trained.safetensors")):
        stored = {name[7:]: tensor for name, tensor in load_file(file).items() if name.startswith("weight/")}
        state = _load(export(round_ / "ticket.safetensors", "plain", "--weights", weights, file=f"{weights}.pth"))
        assert set(state) == set(stored)
        for name, tensor in stored.items():
            if name in masks:
                bits = (masks[name][:, None] >> torch.arange(8)) & 1
                tensor = tensor * bits.reshape(-1)[: tensor.numel()].reshape(tensor.shape)
            assert torch.equal(state[name], tensor), name


def test_a_ticket_taken_out_of_its_run(small_search: Path, export: Run, capsys: pytest.CaptureFixture[str]) -> None:
    from common.tickets.__main__ import main as tickets
    from common.tickets.ticket import load_ticket

    source = load_ticket(small_search / "round_02" / "ticket.safetensors")
    path = export(source.path, "ticket", file="alone.safetensors")
    alone = load_ticket(path)
    assert alone.header["weights"] == {"embedded": True, "file": None, "sha256": None}
    assert alone.mask == source.mask
    assert {k: v for k, v in alone.header.items() if k not in ("weights", "digest", "scores", "software")} == {
        k: v for k, v in source.header.items() if k not in ("weights", "digest", "scores", "software")
    }
    for part in ("backbone", "head"):
        mine, theirs = (getattr(ticket.rewind_point(), part) for ticket in (alone, source))
        assert set(mine) == set(theirs)
        assert all(torch.equal(mine[name], theirs[name]) for name in theirs)
    capsys.readouterr()
    assert tickets(["verify", str(path), "--parent", str(small_search / "round_01/ticket.safetensors")]) == 0
    assert "nested in round 1 of its run" in capsys.readouterr().out
    again = export(path, "ticket", file="again.safetensors")
    assert again.read_bytes() == path.read_bytes()
