"""Importers of layers with masks and thresholds: the ticket's network computes what the foreign network computes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from common.errors import InputError
from common.exchange.__main__ import main
from common.exchange.import_ticket import Request, import_ticket
from common.exchange.importers.table import find_importer
from common.exchange.match import canonical
from common.exchange.source import read_source
from common.models.backbones import rebuild_backbone
from common.models.layouts.table import find_layout
from common.models.variants import make_variant_
from common.tickets.ticket import Ticket, load_ticket
from tests.common.exchange import foreign_files
from tests.common.exchange.foreign_networks import (
    MobileNet,
    PointConv,
    SmallNet,
    TensorflowBottlenecks,
    ThresholdConv,
    WrappedLayer,
    random_mask,
    randomised,
)


def imported(file: Path, arch: str = "resnet_digits", **settings: Any) -> Ticket:
    """Import a file; the input is [0, 1] where nothing else is said."""
    output = file.with_suffix(".safetensors")
    import_ticket(Request(file, arch, output, **{"input": "unit", **settings}))
    return load_ticket(output)


def outputs(ticket: Ticket, images_NCHW: Tensor) -> Tensor:
    """Compute the logits of a ticket's network and its head."""
    backbone = rebuild_backbone(ticket.header["arch"], seed=7, stream="test", size=None).eval()
    ticket.apply_to(backbone)
    head = ticket.rewind_point().head
    with torch.no_grad():
        return functional.linear(backbone(images_NCHW), head["weight"], head["bias"])


def same_function(ticket: Ticket, model: nn.Module, side: int = 16) -> None:
    images_NCHW = torch.rand(3, 3, side, side, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        expected = model.eval()(images_NCHW)
    assert expected.std() > 1e-3
    torch.testing.assert_close(outputs(ticket, images_NCHW), expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


WRITERS: dict[str, Callable[..., nn.Module]] = {
    "torch-prune": foreign_files.write_torch_prune,
    "wrapped": foreign_files.write_wrapped,
    "str-threshold": foreign_files.write_str,
    "turboprune": foreign_files.write_turboprune,
    "parametrize": foreign_files.write_parametrize,
}


@pytest.mark.parametrize("format", WRITERS)
@pytest.mark.parametrize("zipped", [True, False])
def test_the_ticket_computes_what_the_foreign_network_computes(format: str, zipped: bool, tmp_path: Path) -> None:
    file = tmp_path / "model.pth"
    model = WRITERS[format](file, _use_new_zipfile_serialization=zipped)
    ticket = imported(file)
    assert ticket.header["origin"]["importer"] == format
    assert 0.25 < ticket.density < 0.35
    same_function(ticket, model)


def test_masks_are_those_of_the_layers(tmp_path: Path) -> None:
    model = foreign_files.write_wrapped(tmp_path / "model.pth")
    ticket = imported(tmp_path / "model.pth")
    masks = {
        f"{name}.weight": module._weight_mask.bool()
        for name, module in model.named_modules()
        if isinstance(module, WrappedLayer) and name != "fc"
    }
    assert dict(ticket.mask.kept_per_tensor) == {name: int(mask.sum()) for name, mask in masks.items()}
    assert all(torch.equal(ticket.mask[name], mask) for name, mask in masks.items())
    assert "conv1.weight" in ticket.mask  # AC/DC prunes the stem
    head = ticket.rewind_point().head["weight"]
    assert torch.equal(head != 0, model.fc._weight_mask.bool())  # and the classifier, whose mask is applied


def test_str_keeps_what_exceeds_the_threshold(tmp_path: Path) -> None:
    model = foreign_files.write_str(tmp_path / "model.pth")
    ticket = imported(tmp_path / "model.pth")
    layer: Any = model.get_submodule("layer2.0.conv1")
    expected = layer.weight.abs() > torch.sigmoid(layer.sparseThreshold)
    assert torch.equal(ticket.mask["layer2.0.conv1.weight"], expected)
    weight = ticket.rewind_point().backbone["layer2.0.conv1.weight"]
    for place in ((0, 0, 0, 0), (3, 2, 1, 1), (20, 7, 2, 0)):
        value, threshold = layer.weight[place].item(), 1 / (1 + float(np.exp(-layer.sparseThreshold.item())))
        by_hand = 0.0 if abs(value) <= threshold else value - threshold * (1 if value > 0 else -1)
        assert weight[place].item() == pytest.approx(by_hand, abs=1e-7)
    assert ticket.rewind_point().head["weight"].shape == (5, 64)


@pytest.mark.parametrize("trained", [True, False])
def test_open_lth(trained: bool, tmp_path: Path) -> None:
    model = foreign_files.write_open_lth(tmp_path / "mask.pth", trained=trained)
    ticket = imported(tmp_path / "mask.pth", "resnet20", weights=tmp_path / "model.pth")
    assert ticket.header["origin"]["importer"] == "open_lth"
    same_function(ticket, model)
    stored = ticket.rewind_point().backbone["layer3.2.conv2.weight"]
    pruned = ~ticket.mask["layer3.2.conv2.weight"]
    assert bool((stored[pruned] != 0).any()) is not trained  # weights of the start stay as they were
    alone = imported(tmp_path / "mask.pth", "resnet20", input="unit", format="open_lth")
    assert alone.mask == ticket.mask
    with pytest.raises(InputError, match="mask without weights"):
        alone.rewind_point()


@pytest.mark.parametrize("variables", [True, False])
def test_rigl(variables: bool, tmp_path: Path) -> None:
    """A small network of RigL's blocks, which timm's ResNet can be too; by name there are only large ones."""
    from timm.models.resnet import Bottleneck, ResNet

    model = foreign_files.write_rigl(tmp_path / "rigl.npz", variables=variables)
    source = read_source(tmp_path / "rigl.npz")
    named = canonical(find_importer(source, "auto").read(source), "rigl.npz")
    assert named.weights is not None
    backbone: Any = ResNet(Bottleneck, (2, 1, 1, 1), num_classes=5, channels=(4, 8, 16, 32))
    make_variant_(backbone, "this ResNet", "tf_same")
    missing, unexpected = backbone.load_state_dict(named.weights.state, strict=False)
    assert not unexpected
    assert all(name.endswith("num_batches_tracked") for name in missing)
    images_NCHW = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        torch.testing.assert_close(backbone.eval()(images_NCHW), model(images_NCHW), rtol=1e-4, atol=1e-5)
    for name, mask in named.masks.items():
        assert torch.equal(named.weights.state[name] != 0, mask == 1), name
    assert set(named.masks) == {n for n in named.weights.state if n.endswith("weight") and named.weights.state[n].ndim > 1}


def test_rigl_converted_for_pytorch() -> None:
    """RigL's block names in the files of Iofinova et al. 2022: their layout says the variant, whatever the masks' format is."""
    model = TensorflowBottlenecks((2, 1), 4)
    layout = find_layout(model.state_dict(), "auto", "rigl_erk5x_90.pth")
    assert (layout.name, layout.variant, layout.input.interpolation) == ("rigl", "tf_same", "bicubic")  # type: ignore[union-attr]
    state = layout.read(model.state_dict(), "rigl_erk5x_90.pth").state
    assert torch.equal(state["layer1.0.downsample.0.weight"], model.get_parameter("layer1.block.0.shortcut.conv.weight"))
    assert torch.equal(state["layer2.0.bn3.running_var"], model.get_buffer("layer2.block.0.conv3.bn.running_var"))


@pytest.mark.slow
def test_rigls_resnet50(tmp_path: Path) -> None:
    model = foreign_files.write_rigl(tmp_path / "rigl.npz", depths=(3, 4, 6, 3), width=64)
    ticket = imported(tmp_path / "rigl.npz", "resnet50", input=None, expect_density=0.3)
    assert ticket.header["origin"]["importer"] == "rigl"
    assert ticket.header["arch"] == {"name": "resnet50", "stem": "7x7", "in_chans": 3, "variant": "tf_same"}
    assert ticket.header["input"]["interpolation"] == "bicubic"
    assert ticket.header["input"]["mean"] == [0.485, 0.456, 0.406]
    same_function(ticket, model, 64)
    with pytest.raises(InputError, match=r"\(variant tf_same\), the model is resnet50 \(variant None\)"):
        ticket.apply_to(rebuild_backbone({**ticket.header["arch"], "variant": None}, seed=0, stream="t", size=None))


@pytest.mark.parametrize("kind", ["wrapped", "str-threshold"])
def test_mobilenet_v1(kind: str, tmp_path: Path) -> None:
    if kind == "wrapped":
        model: nn.Module = MobileNet(
            lambda *args, **settings: WrappedLayer(nn.Conv2d(*args, **settings)),
            head=lambda *args: WrappedLayer(nn.Linear(*args)),
        )
        for seed, module in enumerate(m for m in model.modules() if isinstance(m, WrappedLayer)):
            module._weight_mask.copy_(random_mask(module._weight_mask.shape, seed))
            module._layer.weight.data.mul_(module._weight_mask)
    else:
        model = MobileNet(ThresholdConv, head=PointConv)
        for threshold in (m for m in model.modules() if isinstance(m, ThresholdConv)):
            threshold.sparseThreshold.data.fill_(
                float(torch.logit(threshold.weight.detach().abs().flatten()[:9999].quantile(0.5)))
            )
    randomised(model)
    torch.save({"state_dict": {f"module.{name}": tensor for name, tensor in model.state_dict().items()}}, tmp_path / "m.pth")
    ticket = imported(tmp_path / "m.pth", "mobilenetv1_100", input=None)
    assert ticket.header["origin"]["importer"] == kind
    assert ticket.header["arch"]["variant"] == "relu"
    assert len(ticket.mask) == 27
    same_function(ticket, model, 64)


def _damaged(path: Path, change: Callable[[dict[str, Any]], object], writer: Callable[..., nn.Module]) -> Path:
    """Write a file and change its state dict."""
    writer(path)
    content = torch.load(path, weights_only=True)
    state = next((content[key] for key in ("state_dict", "model_state_dict") if key in content), content)
    change(state)
    torch.save(content, path)
    return path


def _first(state: dict[str, Any], ending: str) -> str:
    return next(name for name in state if name.endswith(ending) and "layer1" in name)


@pytest.mark.parametrize(
    ("format", "change", "message"),
    [
        ("wrapped", lambda s: s.pop(_first(s, "_weight_mask")), "without a mask|without their mask"),
        ("wrapped", lambda s: s.pop(_first(s, "_layer.weight")), "a mask of .* without its values"),
        ("wrapped", lambda s: s[_first(s, "_weight_mask")].view(-1)[:1].fill_(0.5), "neither 0 nor 1"),
        ("wrapped", lambda s: s[_first(s, "_weight_mask")].zero_(), "is not 0 at"),
        ("wrapped", lambda s: [m.fill_(1) for n, m in s.items() if n.endswith("_mask")], "mask was lost"),
        ("wrapped", lambda s: s.update({_first(s, "_layer.weight").replace("._layer", ""): torch.ones(1)}), "two tensors for"),
        ("wrapped", lambda s: s.pop("module.layer3.0.bn1.running_var"), "1 tensors are missing"),
        ("wrapped", lambda s: s["module.layer3.0.bn1.bias"].fill_(float("nan")), "not finite"),
        ("str-threshold", lambda s: s[_first(s, "sparseThreshold")].fill_(float("nan")), "one finite number"),
        ("str-threshold", lambda s: s.update({_first(s, "sparseThreshold"): torch.zeros(2)}), "one finite number"),
        ("str-threshold", lambda s: s.pop(_first(s, "conv1.weight")), "without its values"),
        ("turboprune", lambda s: s.update({_first(s, ".mask"): torch.ones(2)}), "the mask of .* has shape"),
        ("turboprune", lambda s: s.update({_first(s, ".mask"): torch.zeros(16, 16, 3, 3)}), None),
        ("turboprune", lambda s: s.update({"extra.weight": torch.ones(2, 2)}), "most names begin with 'model.'"),
        ("parametrize", lambda s: s.update({"fc.parametrizations.weight.1.mask": torch.ones(5, 64)}), "another parametrization"),
        ("parametrize", lambda s: s.update({"fc.parametrizations.weight.original0": torch.ones(5, 64)}), "another parametriz"),
        ("parametrize", lambda s: s[_first(s, "0.mask")].view(-1)[:1].fill_(-1), "neither 0 nor 1"),
    ],
)
def test_damage_is_said(format: str, change: Callable[[dict[str, Any]], object], message: str | None, tmp_path: Path) -> None:
    file = _damaged(tmp_path / "model.pth", change, WRITERS[format])
    if message is None:
        assert imported(file).mask.kept_per_tensor["layer1.0.conv1.weight"] == 0
        return
    with pytest.raises(InputError, match=message) as error:
        imported(file)
    assert "\n" not in str(error.value)
    assert not file.with_suffix(".safetensors").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"resnet_model/initial_conv/extra": np.zeros(3)}, "no variable of RigL's"),
        ({"resnet_model/batch_normalization_99/gamma": np.zeros(3)}, "no variable of RigL's"),
        ({"resnet_model/initial_conv/kernel": np.zeros(3)}, "two variables for 'conv1.weight'"),
        ({"resnet_model/initial_conv/objects": np.array([None])}, "pickles and could run code"),
        ({"resnet_model/initial_conv/mask": np.zeros((7, 7, 3, 4), object)}, "pickles and could run code"),
        ({"resnet_model/initial_conv/text": np.array(["a"])}, "expected little-endian numbers"),
        ({"resnet_model/initial_conv/weights": np.zeros((7, 7, 3, 4), ">f4")}, "expected little-endian numbers"),
    ],
)
def test_rigls_damage_is_said(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    foreign_files.write_rigl(tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz") as content:
        arrays = dict(content)
    np.savez(tmp_path / "b.npz", **{**arrays, **change})
    with pytest.raises(InputError, match=message):
        imported(tmp_path / "b.npz", "resnet26", input=None)


def test_open_lths_mask_of_another_run(tmp_path: Path) -> None:
    foreign_files.write_open_lth(tmp_path / "mask.pth")
    torch.save(randomised(SmallNet()).state_dict(), tmp_path / "other.pth")
    with pytest.raises(InputError, match=r"has a mask of 'blocks\.0\.conv1\.weight'.*are they of one run"):
        imported(tmp_path / "mask.pth", "resnet20", weights=tmp_path / "other.pth")


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    foreign_files.write_wrapped(tmp_path / "acdc.pth")
    words = ["import", str(tmp_path / "acdc.pth"), "--arch", "resnet_digits", "-o", str(tmp_path / "t.safetensors")]
    assert main([*words, "--expect-density", "0.5"]) == 2
    assert "expected 0.5 within" in capsys.readouterr().err
    assert main(words) == 0
    assert "wrapped" in capsys.readouterr().out
    assert load_ticket(tmp_path / "t.safetensors").header["input"]["mean"] == [0.485, 0.456, 0.406]
