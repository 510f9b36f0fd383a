"""Variants of backbones: equal names and weights, another function; the oracles are written out here."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from common.errors import InputError
from common.models.backbones import build_backbone, rebuild_backbone
from common.models.start import load_start_weights_, read_start_weights
from common.tickets.mask import Mask
from common.tickets.ticket import Description, load_ticket, save_ticket
from common.tickets.weights_file import NetworkState

pytest.importorskip("timm")
INPUT = {"size": 32, "channels": 3, "range": [0.0, 1.0], "mean": [0.0] * 3, "std": [1.0] * 3, "interpolation": None}
ORIGIN = dict.fromkeys(("folder", "objective", "data", "split", "recipe", "config", "seed", "round", "run", "importer"))


def _norm(x_NCHW: Tensor, state: dict[str, Tensor], name: str) -> Tensor:
    keys = ("running_mean", "running_var", "weight", "bias")
    return functional.batch_norm(x_NCHW, *(state[f"{name}.{key}"] for key in keys), eps=1e-5)


def _same_pool(x_NCHW: Tensor) -> Tensor:
    """TensorFlow's SAME max-pool of side 3 and stride 2, written out for even sides: windows begin at 0, 2, 4 ..."""
    side = x_NCHW.shape[-1]
    rows = [
        torch.stack(
            [x_NCHW[:, :, i : i + 3, j : j + 3].amax((2, 3)) for j in range(0, side, 2)],
            dim=-1,
        )
        for i in range(0, side, 2)
    ]
    return torch.stack(rows, dim=-2)


def test_the_pool_of_tensorflow() -> None:
    own, variant = build_backbone("resnet18", seed=1).eval(), build_backbone("resnet18", seed=1, variant="tf_same").eval()
    assert variant.arch == {"name": "resnet18", "stem": "7x7", "in_chans": 3, "variant": "tf_same"}
    state = variant.state_dict()
    assert list(state) == list(own.state_dict())
    assert all(torch.equal(tensor, own.state_dict()[name]) for name, tensor in state.items())
    x_NCHW = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    stem = functional.relu(_norm(functional.conv2d(x_NCHW, state["conv1.weight"], stride=2, padding=3), state, "bn1"))
    pooled = _same_pool(stem)
    assert torch.equal(variant.maxpool(stem), pooled)  # type: ignore[operator]
    assert pooled.shape == own.maxpool(stem).shape  # type: ignore[operator]
    assert not torch.equal(pooled, own.maxpool(stem))  # type: ignore[operator]
    for name in ("layer1", "layer2", "layer3", "layer4"):
        pooled = own.get_submodule(name)(pooled)
    torch.testing.assert_close(variant(x_NCHW), pooled.mean((2, 3)))


def test_mobilenet_without_a_bound() -> None:
    name = "mobilenetv1_100"
    own, variant = build_backbone(name, seed=1).eval(), build_backbone(name, seed=1, variant="relu").eval()
    kinds = [type(module) for module in variant.modules()]
    assert nn.ReLU6 not in kinds
    assert kinds.count(nn.ReLU) == 27  # the stem, and two in each of 13 blocks (Howard et al. 2017, table 1)
    assert list(variant.state_dict()) == list(own.state_dict())
    x_NCHW = 40 * torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    stem, bounded = (model.bn1(model.conv_stem(x_NCHW)) for model in (variant, own))  # type: ignore[operator]
    assert stem.max() > 6
    assert torch.equal(stem.clamp(max=6), bounded)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("resnet18", {"variant": "caffe"}, "model.variant: got 'caffe', expected null or one of tf_same .*, relu"),
        ("resnet18", {"variant": "relu"}, "got relu, expected null: resnet18 is none of MobileNets"),
        ("resnet18", {"variant": "tf_same", "stem": "3x3"}, "got tf_same, expected null: resnet18 is none of ResNets"),
        ("mobilenetv1_100", {"variant": "tf_same"}, "got tf_same, expected null"),
        ("resnet20", {"variant": "tf_same"}, "got tf_same, expected null: resnet20"),
    ],
)
def test_variants_that_a_backbone_has_not(name: str, settings: dict[str, str], message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        build_backbone(name, **settings)  # type: ignore[arg-type]
    assert "\n" not in str(error.value)


def test_weights_of_a_variant_start_no_other(tmp_path) -> None:  # type: ignore[no-untyped-def]
    """A file in Distiller's layout of MobileNetV1: names of its blocks in one row, for a network with ReLU."""
    variant = build_backbone("mobilenetv1_100", seed=1, variant="relu")
    places = [f"blocks.{stage}.{block}" for stage, blocks in enumerate((1, 2, 2, 6, 2)) for block in range(blocks)]
    parts = {"conv_dw": "0", "bn1": "1", "conv_pw": "3", "bn2": "4"}
    state = {"model.0.0.weight": variant.get_parameter("conv_stem.weight")}
    state |= {f"model.0.1.{key}": tensor for key, tensor in variant.get_submodule("bn1").state_dict().items()}
    for number, place in enumerate(places, start=1):
        for part, index in parts.items():
            for key, tensor in variant.get_submodule(f"{place}.{part}").state_dict().items():
                state[f"model.{number}.{index}.{key}"] = tensor
    torch.save(state, tmp_path / "m.pth")
    start = read_start_weights(tmp_path / "m.pth")
    fresh = build_backbone("mobilenetv1_100", seed=2, variant="relu")
    load_start_weights_(fresh, start, "m.pth")
    assert all(torch.equal(tensor, variant.state_dict()[name]) for name, tensor in fresh.state_dict().items())
    with pytest.raises(InputError, match=r"weights of the variant relu.*the model's variant is None.*set model.variant relu"):
        load_start_weights_(build_backbone("mobilenetv1_100"), start, "m.pth")


def test_a_ticket_keeps_its_variant(tmp_path) -> None:  # type: ignore[no-untyped-def]
    model = build_backbone("resnet18", seed=1, variant="tf_same")
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    mask = Mask({"layer4.1.conv2.weight": torch.rand(512, 512, 3, 3) < 0.1})
    scope = {"include": ["Conv2d:*"], "exclude": ["@stem"]}
    description = Description(model.arch, scope, ORIGIN, {"to": "init", "at": None}, INPUT)  # type: ignore[arg-type]
    path = tmp_path / "ticket.safetensors"
    save_ticket(path, mask, description, weights=NetworkState(state, {}))
    ticket = load_ticket(path)
    with pytest.raises(InputError, match=r"a ticket of resnet18 \(variant tf_same\), the model is resnet18 \(variant None\)"):
        ticket.apply_to(build_backbone("resnet18"))
    same = rebuild_backbone(ticket.header["arch"], seed=2, stream="init", size=None)
    assert same.arch == model.arch
    assert isinstance(same.maxpool, nn.Sequential)
    ticket.apply_to(same)
    assert torch.equal(same.get_parameter("conv1.weight"), state["conv1.weight"])
