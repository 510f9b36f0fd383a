"""What is drawn: ranges, probabilities, independence of images and views, the same numbers for the same seed."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from common.data.augment import AugmentConfig, Parameters, apply, draw, two_views
from common.errors import InputError
from common.randomness import generator

_MANY = 20_000


def _draw(config: AugmentConfig, side: int = 100, count: int = _MANY, seed: int = 0) -> Parameters:
    return draw(config, count, side, side, side, generator(seed, "views"))


def test_boxes_have_areas_and_ratios_in_range_and_lie_inside() -> None:
    config = AugmentConfig(crop_scale=(0.2, 0.6))
    top, left, height, width = _draw(config).box.double().T
    assert (top >= 0).all()
    assert (left >= 0).all()
    assert (top + height <= 100).all()
    assert (left + width <= 100).all()
    area, ratio = height * width / 1e4, width / height
    assert 0.19 < area.min() < 0.21
    assert 0.59 < area.max() < 0.61
    assert abs(area.mean() - 0.4) < 0.005
    assert 0.73 < ratio.min() < 0.77
    assert 1.31 < ratio.max() < 1.36
    assert abs(ratio.log().mean()) < 0.005
    room = 100 - width
    assert abs((left / room.clamp_min(1))[room > 20].mean() - 0.5) < 0.01


def test_a_ratio_that_never_fits_falls_back_to_the_central_crop() -> None:
    config = AugmentConfig(crop_scale=(0.9, 1.0), crop_ratio=(2.0, 3.0))
    wide = draw(config, 5, 30, 30, 8, generator(0, "views"))
    assert wide.box.tolist() == [[7, 0, 15, 30]] * 5
    tall = draw(dataclasses.replace(config, crop_ratio=(0.2, 0.25)), 5, 40, 40, 8, generator(0, "views"))
    assert tall.box.tolist() == [[0, 15, 40, 10]] * 5
    inside = draw(AugmentConfig(crop_scale=(1.0, 1.0), crop_ratio=(0.5, 2.0)), 300, 10, 10, 8, generator(0, "views"))
    assert [0, 0, 10, 10] in inside.box.tolist()


def test_probabilities_and_factors() -> None:
    drawn = _draw(AugmentConfig(brightness=0.4, contrast=1.5, saturation=0.2, hue=0.1, blur_probability=0.5, flip=0.3))
    shares = [drawn.flip, drawn.jitter, drawn.gray, drawn.blur]
    assert [share.double().mean().item() for share in shares] == pytest.approx([0.3, 0.8, 0.2, 0.5], abs=0.015)
    low, high = drawn.factor.min(0).values, drawn.factor.max(0).values
    torch.testing.assert_close(low, torch.tensor([0.6, 0.0, 0.8, -0.1]), atol=2e-3, rtol=0)
    torch.testing.assert_close(high, torch.tensor([1.4, 2.5, 1.2, 0.1]), atol=2e-3, rtol=0)
    assert 0.1 <= drawn.sigma.min() < 0.11
    assert 1.99 < drawn.sigma.max() <= 2.0
    orders, counts = drawn.order.unique(dim=0, return_counts=True)
    assert len(orders) == 24
    assert counts.min() > 0.85 * _MANY / 24


def test_operations_of_no_strength_are_left_out() -> None:
    drawn = _draw(AugmentConfig(brightness=0, saturation=0), count=200)
    assert drawn.order.sort(dim=1).values.unique(dim=0).tolist() == [[1, 3]]
    nothing = AugmentConfig(brightness=0, contrast=0, saturation=0, hue=0, gray_probability=0, flip=0)
    drawn = _draw(nothing, count=200)
    assert not (drawn.jitter.any())
    assert not (drawn.gray.any())
    assert not (drawn.blur.any())
    assert not (drawn.flip.any())


def test_switching_one_operation_moves_no_other_draw() -> None:
    plain, blurred = _draw(AugmentConfig(), count=50), _draw(AugmentConfig(blur_probability=1.0), count=50)
    assert torch.equal(plain.box, blurred.box)
    assert torch.equal(plain.factor, blurred.factor)


def test_padded_boxes_reach_every_place() -> None:
    drawn = draw(AugmentConfig(pad=2), 2000, 8, 8, 8, generator(0, "views"))
    assert sorted(drawn.box[:, :2].unique().tolist()) == [-2, -1, 0, 1, 2]
    assert drawn.box[:, 2:].unique().tolist() == [8]
    with pytest.raises(InputError, match=r"augment.pad: 2"):
        draw(AugmentConfig(pad=2), 1, 8, 8, 13, generator(0, "views"))


def test_views_differ_by_image_and_view_and_repeat_by_seed() -> None:
    images = torch.randint(0, 256, (1, 3, 16, 16), dtype=torch.uint8).expand(10, -1, -1, -1)
    first, second = two_views(images, AugmentConfig(), 16, generator(4, "views", 0, 7))
    assert len(torch.cat([first, second]).flatten(1).unique(dim=0)) == 20
    again = two_views(images, AugmentConfig(), 16, generator(4, "views", 0, 7))
    assert torch.equal(first, again[0])
    assert torch.equal(second, again[1])
    assert not torch.equal(first, two_views(images, AugmentConfig(), 16, generator(4, "views", 0, 8))[0])
    assert first.dtype == torch.float32
    assert first.min() >= 0
    assert first.max() <= 1


def test_portions_equal_the_whole() -> None:
    """More images than one cached portion give what each gives alone."""
    images = torch.randint(0, 256, (150, 3, 32, 32), dtype=torch.uint8)
    drawn = draw(AugmentConfig(), 150, 32, 32, 32, generator(1, "views"))
    alone = torch.cat([apply(images[i : i + 1], drawn.part(i, i + 1)) for i in range(150)])
    torch.testing.assert_close(apply(images, drawn), alone, atol=1e-6, rtol=0)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_makes_the_same_views_without_waiting() -> None:
    images = torch.randint(0, 256, (64, 3, 32, 32), dtype=torch.uint8)
    drawn = draw(AugmentConfig(blur_probability=0.5, blur_kernel=3), 64, 32, 32, 32, generator(1, "views"))
    resident = images.cuda()
    apply(resident, drawn)
    torch.cuda.set_sync_debug_mode("error")
    try:
        views = apply(resident, drawn)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    torch.testing.assert_close(views.cpu(), apply(images, drawn), atol=2 / 255, rtol=0)


def test_autocast_does_not_coarsen_views() -> None:
    images = torch.randint(0, 256, (16, 3, 32, 32), dtype=torch.uint8)
    drawn = draw(AugmentConfig(), 16, 32, 32, 32, generator(1, "views"))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(apply(images, drawn), apply(images, drawn))
        assert apply(images, drawn).dtype == torch.float32
        inside = apply(images, drawn)
    assert torch.equal(inside, apply(images, drawn))


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("crop_scale", (0.0, 1.0)),
        ("crop_scale", (0.5, 1.1)),
        ("crop_ratio", (2.0, 1.0)),
        ("flip", 1.1),
        ("hue", 0.6),
        ("blur_kernel", 4),
        ("pad", -1),
        ("brightness", -0.1),
        ("blur_sigma", (0.0, 1.0)),
        ("gray_probability", -0.1),
    ],
)
def test_options_out_of_range_are_refused(option: str, value: object) -> None:
    with pytest.raises(InputError, match=rf"augment.{option}"):
        dataclasses.replace(AugmentConfig(), **{option: value})  # type: ignore[arg-type]


def test_a_kernel_larger_than_the_view_is_refused() -> None:
    with pytest.raises(InputError, match=r"blur_kernel: 23 .* at most 15"):
        _draw(AugmentConfig(blur_probability=0.5), side=8, count=1)
