"""Backbones by name: names, stems, seeds, and torch's generators left alone."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from torch import nn

from common.errors import InputError
from common.models.backbones import OWN, Pixels, build_backbone, rebuild_backbone
from common.models.heads import Network, linear_head, projection_head
from common.models.resnet_skeleton import resnet_skeleton
from common.tickets.scope import find_scope

pytest.importorskip("timm")


def _equal(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


@pytest.mark.parametrize("name", [*(n for n in OWN if n != "pixels"), "resnet18"])
def test_features_and_arch(name: str) -> None:
    model = build_backbone(name, in_chans=2, seed=1)
    assert model(torch.randn(2, 2, 32, 32)).shape == (2, model.num_features)
    assert model.arch == {"name": name, "stem": "7x7" if name == "resnet18" else "3x3", "in_chans": 2, "variant": None}


@pytest.mark.parametrize(
    ("name", "stem"), [("resnet_digits", "native"), ("resnet20_a", "3x3"), ("resnet18", "7x7"), ("resnet18", "3x3")]
)
def test_seeds_reproduce_and_no_global_state_moves(name: str, stem: str) -> None:
    before = torch.random.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()  # type: ignore[index]
    one = build_backbone(name, stem=stem, seed=4)
    torch.randn(3)
    two, other = build_backbone(name, stem=stem, seed=4), build_backbone(name, stem=stem, seed=5)
    assert _equal(one, two)
    for n, p in one.named_parameters():
        if p.dim() > 1:
            assert not torch.equal(p, other.get_parameter(n)), n
    torch.random.set_rng_state(before[0])
    build_backbone(name, stem=stem, seed=4)
    linear_head(4, 2, seed=1)
    projection_head(4, [3], seed=1)
    assert torch.equal(before[0], torch.random.get_rng_state())
    assert before[1:] == (np.random.get_state()[1].tolist(), random.getstate())  # type: ignore[index]


def test_streams_are_independent() -> None:
    assert not _equal(build_backbone("resnet_digits", seed=4), build_backbone("resnet_digits", seed=4, stream="other"))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
def test_seeding_leaves_the_gpus_generator_alone() -> None:
    before = torch.cuda.get_rng_state()
    build_backbone("resnet_digits", seed=4)
    assert torch.equal(before, torch.cuda.get_rng_state())


def test_stems_of_timms_resnets() -> None:
    torchvision = pytest.importorskip("torchvision")
    native, small = build_backbone("resnet18"), build_backbone("resnet18", stem="3x3", in_chans=1)
    expected = {n: t.shape for n, t in torchvision.models.resnet18().state_dict().items() if not n.startswith("fc.")}
    assert {n: t.shape for n, t in native.state_dict().items()} == expected
    assert {n: t.shape for n, t in small.state_dict().items()} == {**expected, "conv1.weight": torch.Size([64, 1, 3, 3])}
    sides: list[int] = []
    small.get_submodule("layer1").register_forward_hook(lambda _m, _i, out: sides.append(out.shape[-1]))
    small(torch.randn(1, 1, 32, 32))
    assert sides == [32]  # stride 1 and no max-pool


def test_weights_of_torchvision_give_torchvisions_features() -> None:
    torchvision = pytest.importorskip("torchvision")
    theirs = torchvision.models.resnet18().eval()
    ours = build_backbone("resnet18").eval()
    ours.load_state_dict({n: t for n, t in theirs.state_dict().items() if not n.startswith("fc.")})
    theirs.fc = nn.Identity()
    x_NCHW = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(ours(x_NCHW), theirs(x_NCHW), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("resnet2O", {}, "unknown backbone 'resnet2O'.*did you mean.*resnet20"),
        ("", {}, "unknown backbone ''"),
        ("resnet20_c", {}, "unknown backbone"),
        ("resnet20", {"stem": "7x7"}, "made for small images"),
        ("resnet18", {"stem": "5x5"}, "'5x5'.*3x3 or '7x7'"),
        ("vit_tiny_patch16_224", {"stem": "3x3", "size": 32}, "'3x3', expected 'native'"),
        ("vit_tiny_patch16_224", {}, "needs images of one size; give data.size"),
        ("vit_tiny_patch16_224", {"size": 30}, "cannot take images of 30 px: expected a multiple of the patches' 16 px"),
        ("vit_tiny_patch16_224", {"size": 8}, "cannot take images of 8 px.*set model.patch"),
        ("mixer_s16_224", {"size": 40}, "cannot take images of 40 px"),
        ("resnet18", {"patch": 4}, "model.patch: got 4, expected null: resnet18 has no patches"),
        ("resnet_digits", {"patch": 4}, "model.patch: got 4, expected null"),
        ("resnet_digits", {"seed": -1}, "seed"),
        ("pixels", {}, "one size"),
    ],
)
def test_errors(name: str, settings: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        build_backbone(name, **settings)  # type: ignore[arg-type]
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("settings", "tokens"), [({"size": 32}, 4), ({"size": 16, "patch": 4}, 16)])
def test_a_vit_for_small_images(settings: dict[str, int], tokens: int) -> None:
    model = build_backbone("vit_tiny_patch16_224", in_chans=2, seed=1, **settings)
    size, patch = settings["size"], settings.get("patch")
    variant = f"patch{patch}" if patch else None
    assert model.arch == {"name": "vit_tiny_patch16_224", "stem": "native", "in_chans": 2, "variant": variant}
    assert model.num_features == 192
    assert model.get_parameter("patch_embed.proj.weight").shape == (192, 2, patch or 16, patch or 16)
    assert model.get_parameter("pos_embed").shape == (1, tokens + 1, 192)
    assert model(torch.randn(2, 2, size, size)).shape == (2, 192)
    assert _equal(model, build_backbone("vit_tiny_patch16_224", in_chans=2, seed=1, **settings))
    other = rebuild_backbone(model.arch, seed=1, stream="init", size=size)  # type: ignore[arg-type]
    assert _equal(model, other)
    assert model.arch == other.arch


def test_what_of_a_vit_is_prunable() -> None:
    """ViT-Ti (Touvron et al. 2021, table 1): width 192, depth 12; a block's matrices are 3, 1, 4 and 4 times width squared."""
    model = build_backbone("vit_tiny_patch16_224", size=32)
    scope = find_scope(model, ["Linear:*"], ["@stem"])
    parts = {"attn.qkv": 3, "attn.proj": 1, "mlp.fc1": 4, "mlp.fc2": 4}
    assert scope.names == tuple(sorted(f"blocks.{i}.{part}.weight" for i in range(12) for part in parts))
    for name, parameter in scope.parameters(model).items():
        assert parameter.numel() == parts[name.split(".", 2)[2].removesuffix(".weight")] * 192**2
    assert find_scope(model, ["Conv2d:*"], ["blocks.*"]).names == ("patch_embed.proj.weight",)
    with pytest.raises(InputError, match="the scope is empty"):  # the only convolution is the stem
        find_scope(model)


def test_weights_of_timm_give_timms_features() -> None:
    import timm

    theirs = timm.create_model("vit_tiny_patch16_224", img_size=32, num_classes=7).eval()
    ours = build_backbone("vit_tiny_patch16_224", size=32).eval()
    ours.load_state_dict({n: t for n, t in theirs.state_dict().items() if not n.startswith("head.")})
    x_NCHW = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(theirs.head(ours(x_NCHW)), theirs(x_NCHW))


def test_a_variant_that_a_name_does_not_tell_is_refused() -> None:
    arch = {"name": "resnet20", "stem": "3x3", "in_chans": 3, "variant": "compact"}
    with pytest.raises(InputError, match=r"resnet20 \(variant compact\) cannot be built anew"):
        rebuild_backbone(arch, seed=0, stream="init", size=32)


def test_pixels() -> None:
    model = build_backbone("pixels", in_chans=3, size=4)
    assert isinstance(model, Pixels)
    x_NCHW = torch.randn(2, 3, 4, 4)
    assert torch.equal(model(x_NCHW), x_NCHW.reshape(2, 48))
    assert model.num_features == 48
    assert not list(model.parameters())


def test_linear_head_and_network() -> None:
    head = linear_head(64, 7, seed=3)
    assert (head.in_features, head.out_features) == (64, 7)
    assert _equal(head, linear_head(64, 7, seed=3))
    assert not _equal(head, linear_head(64, 7, seed=4))
    bound = 1 / 8  # torch's default: uniform in +-1/sqrt(fan in)
    assert head.weight.abs().max().item() <= bound
    assert head.weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.1)
    network = Network(build_backbone("resnet_digits", seed=1), head).eval()
    x_NCHW = torch.randn(2, 3, 8, 8)
    assert torch.equal(network(x_NCHW), head(network.backbone(x_NCHW)))
    assert {name.partition(".")[0] for name in network.state_dict()} == {"backbone", "head"}


def test_projection_head_by_hand() -> None:
    head = projection_head(6, [5, 4, 3], seed=2)
    weights = [(p.weight.detach().numpy(), p.bias.detach().numpy()) for p in head if isinstance(p, nn.Linear)]
    assert [w.shape for w, _ in weights] == [(5, 6), (4, 5), (3, 4)]
    x_ND = torch.randn(7, 6)
    y = x_ND.numpy()
    for i, (w, b) in enumerate(weights):
        y = y @ w.T + b
        y = np.maximum(y, 0) if i < 2 else y
    np.testing.assert_allclose(head(x_ND).detach().numpy(), y, rtol=1e-4, atol=1e-5)
    assert [type(m).__name__ for m in projection_head(6, [3], seed=2)] == ["Linear"]


@pytest.mark.parametrize("stem", ["native", "3x3"])
@pytest.mark.parametrize("name", ["resnet18", "resnet34", "resnet50", "resnet101", "resnet152"])
def test_skeletons_are_the_layers_of_the_library(name: str, stem: str) -> None:
    skeleton = resnet_skeleton(name, stem=stem, in_chans=3)
    assert skeleton is not None
    with torch.device("meta"):
        backbone = build_backbone(name, stem=stem)
    shapes = [{key: (tensor.shape, tensor.dtype) for key, tensor in net.state_dict().items()} for net in (skeleton, backbone)]
    assert shapes[0] == shapes[1]
    assert find_scope(skeleton) == find_scope(backbone)
    assert (skeleton.arch, skeleton.num_features) == (backbone.arch, backbone.num_features)
    assert resnet_skeleton("resnet20", stem=stem, in_chans=3) is resnet_skeleton("resnet50", stem="5x5", in_chans=3) is None
