from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from common.errors import InputError
from common.models.backbones import build_backbone
from common.models.features import evaluating
from common.randomness import generator
from common.tickets.hold import hold
from common.tickets.mask import Mask
from common.tickets.scope import find_scope
from Segmentation.config import DECODERS, DecoderConfig
from Segmentation.dilation import dilate_
from Segmentation.head import SegmentationHead, SegmentationNetwork
from Segmentation.stages import Stage, stage_maps, stages_of

SMALL = DecoderConfig(width=64)


def network(
    name: str, stem: str = "native", output_stride: int | None = None, settings: DecoderConfig = SMALL, classes: int = 5
) -> SegmentationNetwork:
    backbone = build_backbone(name, stem=stem, seed=1)
    stages = dilate_(backbone, output_stride)
    return SegmentationNetwork(backbone, SegmentationHead(stages, classes, settings, seed=2))


def images(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=generator(0, "test"))


@pytest.mark.parametrize("output_stride", [8, 16])
def test_dilation_is_torchvisions(output_stride: int) -> None:
    import torchvision

    dilated = {16: [False, False, True], 8: [False, True, True]}[output_stride]
    theirs = torchvision.models.resnet50(replace_stride_with_dilation=dilated)
    ours = build_backbone("resnet50", stem="7x7")
    names = list(ours.state_dict())
    dilate_(ours, output_stride)
    assert list(ours.state_dict()) == names
    ours.load_state_dict({key: value for key, value in theirs.state_dict().items() if not key.startswith("fc.")})
    x = images(1, 3, 33, 49)
    with evaluating(ours), evaluating(theirs):
        found = stage_maps(ours, x)[-1]
        wanted = theirs.maxpool(theirs.relu(theirs.bn1(theirs.conv1(x))))
        for layer in (theirs.layer1, theirs.layer2, theirs.layer3, theirs.layer4):
            wanted = layer(wanted)
    assert found.shape == wanted.shape
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("output_stride", [8, 16])
def test_dilation_of_basic_blocks_is_timms(output_stride: int) -> None:
    import timm

    theirs = timm.create_model("resnet18", num_classes=0, output_stride=output_stride)
    ours = build_backbone("resnet18", stem="7x7")
    dilate_(ours, output_stride)
    ours.load_state_dict(theirs.state_dict())
    x = images(1, 3, 64, 48)
    with evaluating(ours), evaluating(theirs):
        torch.testing.assert_close(stage_maps(ours, x)[-1], theirs.forward_features(x))


@pytest.mark.parametrize(
    ("name", "stem", "output_stride", "strides"),
    [
        ("resnet18", "7x7", None, [2, 4, 8, 16, 32]),
        ("resnet18", "7x7", 8, [2, 4, 8, 8, 8]),
        ("resnet18", "3x3", 8, [1, 1, 2, 4, 8]),
        ("resnet18", "3x3", 4, [1, 1, 2, 4, 4]),
        ("resnet_digits", "3x3", 8, [1, 1, 2, 4, 8]),
        ("resnet_digits", "3x3", 4, [1, 1, 2, 4, 4]),
        ("resnet_digits", "3x3", 2, [1, 1, 2, 2, 2]),
        ("resnet20_a", "3x3", 2, [1, 1, 2, 2]),
        ("mobilenetv3_small_050", "native", None, [2, 4, 8, 16, 32]),
    ],
)
def test_stages_have_the_strides_that_were_asked_for(name: str, stem: str, output_stride: int | None, strides: list[int]) -> None:
    backbone = build_backbone(name, stem=stem)
    stages = dilate_(backbone, output_stride)
    assert [stage.stride for stage in stages] == strides
    assert [stage.channels for stage in stages] == [each.shape[1] for each in stage_maps(backbone, images(2, 3, 64, 64))]


def test_a_dilated_small_resnet_sees_what_the_strided_one_does() -> None:
    """Every eighth pixel of the dilated maps is the strided map: dilation computes the skipped positions too."""
    strided, dilated = (build_backbone("resnet_digits", seed=3) for _ in range(2))
    dilate_(dilated, 1)
    x = images(1, 3, 32, 32)
    with evaluating(strided), evaluating(dilated):
        torch.testing.assert_close(stage_maps(dilated, x)[-1][..., ::8, ::8], stage_maps(strided, x)[-1])


LEAST = {"fpn": 4, "unetplusplus": 3}
"""Maps of different strides that a decoder needs, that of the image's own size included."""


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize(("stem", "output_stride"), [("7x7", 32), ("7x7", 16), ("7x7", 8), ("3x3", 8), ("3x3", 4), ("3x3", 2)])
def test_output_is_as_large_as_the_input(stem: str, output_stride: int, decoder: str) -> None:
    backbone = build_backbone("resnet18", stem="7x7", width=0.125) if stem == "7x7" else build_backbone("resnet_digits")
    stages = dilate_(backbone, output_stride)
    settings = DecoderConfig(decoder, width=64)
    if len({stage.stride for stage in stages}) < LEAST.get(decoder, 0):
        with pytest.raises(InputError, match="needs maps of"):
            SegmentationHead(stages, 5, settings, seed=2)
        return
    net = SegmentationNetwork(backbone, SegmentationHead(stages, 5, settings, seed=2))
    with evaluating(net):
        for size in [(64, 64), (65, 47)]:
            assert net(images(1, 3, *size)).shape == (1, 5, *size)


@pytest.mark.parametrize("decoder", DECODERS)
def test_a_batch_of_one_trains_every_weight_of_the_head(decoder: str) -> None:
    net = network("resnet_digits", output_stride=8, settings=DecoderConfig(decoder, width=64, dropout=0.0))
    before = {name: value.clone() for name, value in net.head.state_dict().items()}
    net(images(1, 3, 33, 40)).square().sum().backward()
    assert all(p.grad is not None and bool(torch.isfinite(p.grad).all()) for p in net.parameters())
    assert any(not torch.equal(before[name], value) for name, value in net.head.state_dict().items()) or decoder == "fpn"


STAGES = tuple(Stage(channels, 2 ** min(4, n + 1)) for n, channels in enumerate((64, 64, 128, 256, 512)))


def maps_of(stages: tuple[Stage, ...], height: int, width: int) -> list[torch.Tensor]:
    return [images(2, stage.channels, height // stage.stride, width // stage.stride) for stage in stages]


def test_deeplab_is_the_librarys_where_its_strides_divide_the_image() -> None:
    import segmentation_models_pytorch as smp

    theirs = smp.DeepLabV3Plus("resnet18", encoder_weights=None, classes=5, decoder_atrous_rates=(6, 12, 18), decoder_channels=32)
    ours = SegmentationHead(STAGES, 5, DecoderConfig(width=32), seed=0)
    classifier = {f"classifier.{name}": value for name, value in theirs.segmentation_head[0].state_dict().items()}
    ours.load_state_dict({f"decoder.{name}": value for name, value in theirs.decoder.state_dict().items()} | classifier)
    maps = maps_of(STAGES, 64, 96)
    with evaluating(ours), evaluating(theirs):
        wanted = theirs.segmentation_head(theirs.decoder([images(2, 3, 64, 96), *maps]))
        torch.testing.assert_close(ours(maps, (64, 96)), wanted)


@pytest.mark.parametrize("decoder", ["Unet", "FPN", "UPerNet", "Linknet", "MAnet", "UnetPlusPlus", "DeepLabV3", "PSPNet"])
def test_other_decoders_are_the_librarys(decoder: str) -> None:
    import segmentation_models_pytorch as smp

    more: dict[str, Any] = {"decoder_channels": [64, 32, 16, 8, 8]} if decoder in ("Unet", "MAnet", "UnetPlusPlus") else {}
    more |= {"decoder_channels": 64} if decoder in ("UPerNet", "DeepLabV3") else {}
    more |= {"decoder_pyramid_channels": 64, "decoder_segmentation_channels": 32} if decoder == "FPN" else {}
    more |= {"decoder_aspp_separable": True} if decoder == "DeepLabV3" else {}
    more |= {"encoder_depth": 5, "psp_out_channels": 64} if decoder == "PSPNet" else {}
    theirs = getattr(smp, decoder)("resnet18", encoder_weights=None, classes=5, **more).decoder
    stages = tuple(Stage(stage.channels, 2 ** (n + 1)) for n, stage in enumerate(STAGES))
    settings = DecoderConfig(decoder.lower(), width=256 if decoder == "Linknet" else 64, rates=(12, 24, 36))
    ours = SegmentationHead(stages, 5, settings, seed=0).decoder
    ours.load_state_dict({f"decoder.{name}": value for name, value in theirs.state_dict().items()})
    maps = maps_of(stages, 64, 96)
    with evaluating(ours), evaluating(theirs):
        torch.testing.assert_close(ours(maps), theirs([images(2, 3, 64, 96), *maps]))


def test_masks_hold_in_dilated_convolutions() -> None:
    net = network("resnet_digits", output_stride=2)
    assert any(m.dilation == (4, 4) for m in net.backbone.modules() if isinstance(m, nn.Conv2d))
    draws = generator(1, "mask")
    weights = find_scope(net.backbone).parameters(net.backbone)
    mask = {f"backbone.{name}": torch.rand(w.shape, generator=draws) < 0.3 for name, w in weights.items()}
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-3)
    with hold(net, optimizer, Mask(mask)):
        for _ in range(3):
            optimizer.zero_grad()
            net(images(2, 3, 24, 24)).square().mean().backward()
            optimizer.step()
    for name, kept in mask.items():
        weight = net.get_parameter(name)
        assert not bool(weight[~kept].any())
        assert bool(weight[kept].all())


def test_the_same_seed_gives_the_same_head() -> None:
    one, two = (network("resnet_digits", output_stride=4).head.state_dict() for _ in range(2))
    assert all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize(
    ("name", "stem", "output_stride", "words"),
    [
        ("resnet18", "3x3", 16, ["got 16", "1, 2, 4, 8", "resnet18 with a 3x3 stem"]),
        ("resnet50d", "native", 16, ["layer4.0.downsample.0", "AvgPool2d"]),
        ("mobilenetv3_small_050", "native", 8, ["only ResNets"]),
    ],
)
def test_an_output_stride_that_cannot_be_is_refused(name: str, stem: str, output_stride: int, words: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        dilate_(build_backbone(name, stem=stem), output_stride)
    assert all(word in str(caught.value) for word in ["model.output_stride", *words])
    assert "\n" not in str(caught.value)


def test_a_decoder_without_its_maps_is_refused() -> None:
    with pytest.raises(InputError, match="fpn needs maps of 4 strides or more, and the backbone has 2"):
        network("resnet_digits", output_stride=2, settings=DecoderConfig("fpn", width=64))
    with pytest.raises(InputError, match=r"fpn cannot be built .* choose a greater decoder.width"):
        network("resnet_digits", output_stride=8, settings=DecoderConfig("fpn", width=24))
    with pytest.raises(InputError, match="needs maps of 1 strides or more below the image, and the backbone has 0"):
        network("resnet_digits", output_stride=1, settings=DecoderConfig("unet", width=24))
    with pytest.raises(InputError, match=r"decoder\.refine"):
        network("resnet_digits", output_stride=8, settings=DecoderConfig(refine=4))


def test_a_backbone_of_one_image_size_is_refused() -> None:
    with pytest.raises(InputError, match="expected a ResNet"):
        stages_of(build_backbone("pixels", size=32))
