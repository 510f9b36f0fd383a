"""The whole head: where its numbers lie, what it starts from, gradients, held masks, and that it can learn scenes by heart."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import nn
from torch.nn import functional
from torchvision.ops import box_iou

from common.data.annotated.batch import Targets
from common.errors import InputError
from common.models.backbones import build_backbone
from common.models.dense_network import DenseNetwork
from common.models.pyramid import pyramid_of
from common.tickets.hold import Hold
from common.tickets.mask import Mask
from common.tickets.scope import find_scope
from Detection.yolo.build import build_yolo
from Detection.yolo.config import YoloConfig
from Detection.yolo.layers import LayerStyle
from Detection.yolo.spp import SpatialPyramidPooling
from Detection.yolo.yolo_head import YoloHead

ANCHORS = torch.tensor([7.0, 8, 9, 10, 12, 14, 16, 18, 20])[:, None].expand(9, 2)
SMALL = YoloConfig(channels=8, neck_convs=1)
CLASSES = 3


def build_head(config: YoloConfig = SMALL, *, seed: int = 0, channels: Sequence[int] = (6, 10, 12)) -> YoloHead:
    return build_yolo(config, (2, 4, 8), channels, CLASSES, seed, ANCHORS)


def build_network(config: YoloConfig = SMALL) -> DenseNetwork:
    backbone = build_backbone("resnet_digits")
    pyramid = pyramid_of(backbone)
    head = build_head(config, channels=pyramid.channels_at((2, 4, 8)))
    return DenseNetwork(backbone, head, head.levels, pyramid)


def scenes(count: int, side: int = 32) -> tuple[torch.Tensor, Targets]:
    """Bright rectangles, one or two in every image but the second; the class is the channel."""
    draws = torch.Generator().manual_seed(0)
    images = torch.rand(count, 3, side, side, generator=draws) * 0.2
    rows: list[list[float]] = []
    for image in range(count):
        for left in () if image == 1 else (1, 17)[: 1 + image % 2]:
            width, height = (int(value) for value in torch.randint(7, 14, (2,), generator=draws))
            top, label = (
                int(torch.randint(0, side - 14, (1,), generator=draws)),
                int(torch.randint(CLASSES, (1,), generator=draws)),
            )
            images[image, label, top : top + height, left : left + width] += 0.8
            rows.append([image, label, left, top, left + width, top + height])
    table = torch.tensor(rows, dtype=torch.float32)
    return images, Targets(table[:, 2:], table[:, 1].long(), table[:, 0].long(), torch.ones(len(table)))


def maps_for(height: int, width: int, count: int = 2) -> list[torch.Tensor]:
    return [torch.randn(count, chans, -(-height // s), -(-width // s)) for chans, s in ((6, 2), (10, 4), (12, 8))]


@pytest.mark.parametrize("size", [(32, 48), (18, 26)])
def test_every_number_lies_where_the_grid_says(size: tuple[int, int]) -> None:
    head = build_head().eval()
    outputs: list[torch.Tensor] = []
    for module in head.heads:
        module.register_forward_hook(lambda _m, _i, out: outputs.append(out))
    raw, grid = head.predict(maps_for(*size), size)
    assert raw.shape == (2, len(grid.cells), 5 + CLASSES)
    for place in range(0, len(grid.cells), 7):
        level = (2.0, 4.0, 8.0).index(float(grid.steps[place]))
        column, row = (int(value) for value in grid.cells[place])
        anchor = head.anchors[level].tolist().index(grid.sides[place].tolist())
        expected = outputs[level][:, anchor * 8 : (anchor + 1) * 8, row, column]
        assert torch.equal(raw[:, place], expected)


def test_it_starts_from_a_low_objectness() -> None:
    for prior in (0.01, 0.5):
        raw, _ = build_head(YoloConfig(channels=8, prior=prior)).predict(maps_for(32, 32), (32, 32))
        assert raw[..., 4].sigmoid().mean().item() == pytest.approx(prior, rel=0.1)
        assert raw[..., 5:].sigmoid().mean().item() == pytest.approx(0.5, rel=0.1)


def test_the_seed_alone_decides_the_weights() -> None:
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first, again, other = build_head(seed=3), build_head(seed=3), build_head(seed=4)
    assert torch.equal(torch.get_rng_state(), state)
    same = [torch.equal(a, b) for a, b in zip(first.state_dict().values(), again.state_dict().values(), strict=True)]
    assert all(same)
    name = "neck.panet.coarse.0.0.weight"
    assert not torch.equal(first.state_dict()[name], other.state_dict()[name])
    assert torch.equal(first.state_dict()["anchors"].reshape(9, 2), ANCHORS)
    normal = build_head(YoloConfig(channels=32, initialisation="normal"))
    assert normal.state_dict()[name].std().item() == pytest.approx(0.01, rel=0.05)


def test_the_neck_is_told_from_the_heads_by_name() -> None:
    names = {name.split(".")[0] for name, _ in build_head().named_parameters()}
    assert names == {"neck", "heads"}


def test_pyramid_pooling_is_three_separate_maxima() -> None:
    pooling = SpatialPyramidPooling(6, 4, LayerStyle()).eval()
    x_NCHW = torch.randn(2, 6, 15, 11)
    inner = pooling.convs(x_NCHW)
    expected = [functional.max_pool2d(inner, side, 1, side // 2) for side in (13, 9, 5)]
    assert torch.equal(pooling(x_NCHW), torch.cat([*expected, inner], 1))


def test_every_level_learns_from_every_map() -> None:
    """And the four paths between levels carry gradients to what they come from."""
    neck = build_head(YoloConfig(channels=8, neck_convs=1, norm="group")).neck
    maps = [found.requires_grad_() for found in maps_for(32, 48)]
    for output in neck(maps):
        gradients = torch.autograd.grad(output.square().sum(), maps, retain_graph=True)
        assert all(bool(gradient.abs().sum() > 0) for gradient in gradients)
    for path in (neck.panet.halve[0], neck.panet.halve[1], neck.panet.reduce[0], neck.panet.reduce[1]):
        inputs: list[torch.Tensor] = []
        handle = path.register_forward_hook(lambda _m, given, _out, inputs=inputs: inputs.append(given[0]))
        outputs = neck(maps)
        handle.remove()
        assert inputs[0].requires_grad
        (gradient,) = torch.autograd.grad(sum(output.square().sum() for output in outputs), inputs[0])
        assert bool(gradient.abs().sum() > 0)


@pytest.mark.parametrize("options", [{}, {"neck_convs": 5, "norm": "group"}])
def test_a_gradient_reaches_every_parameter(options: dict[str, object]) -> None:
    network = build_network(YoloConfig(**{"channels": 8, "neck_convs": 3} | options))  # type: ignore[arg-type]
    images, targets = scenes(4)
    parts = network(images, targets)
    assert set(parts) == {"total", "box", "objectness", "classes", "collisions"}
    parts["total"].backward()
    without = [name for name, p in network.named_parameters() if p.grad is None or not bool(p.grad.abs().sum() > 0)]
    assert without == []


def test_zeros_that_are_held_stay_zero() -> None:
    network = build_network()
    images, targets = scenes(4)
    scope = find_scope(network.backbone).parameters(network.backbone)
    draws = torch.Generator().manual_seed(0)
    mask = Mask({name: torch.rand(weight.shape, generator=draws) < 0.2 for name, weight in scope.items()})
    hold = Hold(network.backbone.named_parameters(), mask)
    hold.weights_()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-3)
    before = {name: weight.detach().clone() for name, weight in scope.items()}
    for _ in range(3):
        optimizer.zero_grad()
        network(images, targets)["total"].backward()
        hold.grads_()
        optimizer.step()
    for name, kept in mask.items():
        assert bool((scope[name][~kept] == 0).all())
        assert not torch.equal(scope[name][kept], before[name][kept])


def test_bfloat16_maps_give_a_float32_loss() -> None:
    network = build_network()
    images, targets = scenes(2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        total = network(images, targets)["total"]
    assert total.dtype == torch.float32
    total.backward()
    assert all(bool(p.grad.isfinite().all()) for p in network.parameters() if p.grad is not None)


def test_evaluation_does_not_depend_on_the_batch() -> None:
    network = build_network().eval()
    images, _ = scenes(4)
    together, alone = network(images)[2], network(images[2:3])[0]
    torch.testing.assert_close(together.scores, alone.scores, rtol=1e-4, atol=1e-5)
    assert len(together.boxes) <= 100


def test_what_a_head_cannot_be_is_refused() -> None:
    for strides, channels, classes, anchors, said in [
        ((4, 8, 32), (6, 10, 12), 3, ANCHORS, "each twice the one before"),
        ((4, 8), (6, 10), 3, ANCHORS, "expected three"),
        ((2, 4, 8), (6, 10), 3, ANCHORS, "three numbers"),
        ((2, 4, 8), (6, 10, 12), 0, ANCHORS, "at least one"),
        ((2, 4, 8), (6, 10, 12), 3, ANCHORS[:8], "9 widths and heights"),
        ((2, 4, 8), (6, 10, 12), 3, ANCHORS * 0, "9 widths and heights"),
    ]:
        with pytest.raises(InputError, match=said):
            build_yolo(SMALL, strides, channels, classes, 0, anchors)
    maps = [torch.zeros(1, 6, 16, 16), torch.zeros(1, 10, 8, 8), torch.zeros(1, 12, 3, 4)]
    with pytest.raises(InputError, match=r"got .*\(3, 4\).*expected .*\(4, 4\).*choose sides that 8 divides"):
        build_head().predict(maps, (32, 32))


def hits(network: nn.Module, images: torch.Tensor, targets: Targets) -> tuple[int, int]:
    """Return how many boxes are found, of their class and with IoU above .75, and how much else is found, above score .3."""
    found, others = 0, 0
    for image, detections in enumerate(network.eval()(images)):
        own, sure = targets.images == image, detections.scores > 0.3
        same = targets.labels[own][:, None] == detections.labels[sure][None]
        fits = (box_iou(targets.boxes[own], detections.boxes[sure]) > 0.75) & same
        found += int(fits.any(1).sum())
        others += int((~fits.any(0)).sum())
    return found, others


@pytest.mark.slow
def test_it_learns_eight_scenes_by_heart() -> None:
    network = build_network(YoloConfig(channels=16, neck_convs=1))
    images, targets = scenes(8)
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3)
    for step in range(100):
        optimizer.param_groups[0]["lr"] = 3e-3 * min(1, (step + 1) / 10) * (1 - step / 100)
        optimizer.zero_grad()
        network(images, targets)["total"].backward()
        optimizer.step()
    assert hits(network, images, targets) == (len(targets.boxes), 0)
