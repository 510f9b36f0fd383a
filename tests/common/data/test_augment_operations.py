"""Every operation of the batched augmentation against torchvision's with the same parameters, within 2/255."""

from __future__ import annotations

import dataclasses
import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.transforms.v2 import functional as oracle

from common.data.augment import AugmentConfig, Parameters, apply, draw
from common.data.augment_draw import BRIGHTNESS, CONTRAST, HUE, SATURATION
from common.errors import InputError

_TOLERANCE = 2 / 255
_FUNCTIONS = {
    BRIGHTNESS: oracle.adjust_brightness,
    CONTRAST: oracle.adjust_contrast,
    SATURATION: oracle.adjust_saturation,
    HUE: oracle.adjust_hue,
}


def _images(count: int, height: int, width: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 256, (count, 3, height, width), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def _identity(count: int, height: int, width: int, size: int) -> Parameters:
    """Parameters that only resize the whole image."""
    return Parameters(
        size=size,
        box=torch.tensor([[0, 0, height, width]]).repeat(count, 1),
        flip=torch.zeros(count, dtype=torch.bool),
        jitter=torch.zeros(count, dtype=torch.bool),
        order=torch.arange(4).repeat(count, 1),
        factor=torch.tensor([1.0, 1.0, 1.0, 0.0]).repeat(count, 1),
        gray=torch.zeros(count, dtype=torch.bool),
        blur=torch.zeros(count, dtype=torch.bool),
        sigma=torch.ones(count),
        blur_kernel=3,
    )


def _torchvision(images: torch.Tensor, p: Parameters, i: int) -> torch.Tensor:
    """The chain of torchvision's functions on one image, in the order of the SimCLR reference."""
    view = images[i].float() / 255
    view = oracle.resized_crop(view, *p.box[i].tolist(), [p.size, p.size], antialias=True)
    if p.flip[i]:
        view = oracle.horizontal_flip(view)
    if p.jitter[i]:
        for operation in p.order[i].tolist():
            view = _FUNCTIONS[operation](view, p.factor[i, operation].item())
    if p.gray[i]:
        view = oracle.rgb_to_grayscale(view, num_output_channels=3)
    if p.blur[i]:
        view = oracle.gaussian_blur(view, [p.blur_kernel] * 2, [p.sigma[i].item()] * 2)
    return view


def _assert_as_torchvision(images: torch.Tensor, parameters: Parameters, tolerance: float = _TOLERANCE) -> None:
    expected = torch.stack([_torchvision(images, parameters, i) for i in range(len(images))])
    torch.testing.assert_close(apply(images, parameters), expected, atol=tolerance, rtol=0)


@pytest.mark.parametrize(("height", "width", "size"), [(32, 32, 32), (16, 16, 33), (40, 25, 16), (64, 48, 24), (9, 31, 20)])
def test_crop_resize_and_flip(height: int, width: int, size: int) -> None:
    images = _images(40, height, width)
    drawn = draw(
        AugmentConfig(jitter_probability=0, gray_probability=0), 40, height, width, size, torch.Generator().manual_seed(1)
    )
    _assert_as_torchvision(images, drawn, tolerance=1e-3)


@given(box=st.tuples(*[st.integers(0, 30)] * 2, *[st.integers(1, 30)] * 2), size=st.integers(1, 40), flip=st.booleans())
@settings(max_examples=60, deadline=None)
def test_any_box_inside_the_image(box: tuple[int, int, int, int], size: int, flip: bool) -> None:
    top, left, height, width = box
    images = _images(1, top + height + 2, left + width + 1)
    base = _identity(1, 1, 1, size)
    _assert_as_torchvision(images, dataclasses.replace(base, box=torch.tensor([box]), flip=torch.tensor([flip])), tolerance=1e-3)


@pytest.mark.parametrize("operation", [BRIGHTNESS, CONTRAST, SATURATION, HUE])
def test_each_colour_operation(operation: int) -> None:
    images = _images(21, 8, 8)
    images[0] = 77
    images[1, 1:] = images[1, :1]
    images[2, :, :4] = 0
    images[3] = torch.tensor([255, 255, 0]).view(3, 1, 1)
    factors = torch.linspace(-0.5, 0.5, 21) if operation == HUE else torch.linspace(0, 2, 21)
    base = _identity(21, 8, 8, 8)
    factor_N4 = base.factor.clone()
    factor_N4[:, operation] = factors
    order_NK = torch.full((21, 1), operation)
    parameters = dataclasses.replace(base, jitter=~base.jitter, order=order_NK, factor=factor_N4)
    _assert_as_torchvision(images, parameters, tolerance=1e-4)


def test_hue_keeps_the_largest_and_the_smallest_value() -> None:
    images = _images(16, 8, 8)
    base = _identity(16, 8, 8, 8)
    factor_N4 = base.factor.clone()
    factor_N4[:, HUE] = torch.linspace(-0.5, 0.5, 16)
    turned = apply(images, dataclasses.replace(base, jitter=~base.jitter, order=torch.full((16, 1), HUE), factor=factor_N4))
    torch.testing.assert_close(turned.amax(1), images.amax(1) / 255)
    torch.testing.assert_close(turned.amin(1), images.amin(1) / 255)


def test_every_order_of_the_colour_operations() -> None:
    orders = torch.tensor(list(itertools.permutations(range(4))))
    images = _images(24, 8, 8)
    base = _identity(24, 8, 8, 8)
    factor_N4 = torch.tensor([1.4, 0.6, 1.3, 0.1]).repeat(24, 1)
    _assert_as_torchvision(images, dataclasses.replace(base, jitter=~base.jitter, order=orders, factor=factor_N4))


def test_grayscale_of_some_images() -> None:
    base = _identity(10, 8, 8, 8)
    _assert_as_torchvision(_images(10, 8, 8), dataclasses.replace(base, gray=torch.arange(10) % 3 == 0), tolerance=1e-4)


@pytest.mark.parametrize(("size", "kernel"), [(16, 1), (16, 3), (16, 23), (12, 23), (32, 9)])
def test_blur(size: int, kernel: int) -> None:
    base = _identity(9, size, size, size)
    blurred = dataclasses.replace(base, blur=torch.arange(9) != 4, sigma=torch.linspace(0.1, 3, 9), blur_kernel=kernel)
    _assert_as_torchvision(_images(9, size, size), blurred, tolerance=1e-4)


@pytest.mark.parametrize(("side", "size"), [(32, 32), (48, 24), (16, 32)])
def test_the_whole_chain(side: int, size: int) -> None:
    config = AugmentConfig(brightness=0.8, contrast=0.8, saturation=0.8, hue=0.2, blur_probability=0.5, blur_kernel=7)
    drawn = draw(config, 150, side, side, size, torch.Generator().manual_seed(5))
    assert drawn.jitter.any()
    assert drawn.gray.any()
    assert drawn.blur.any()
    assert drawn.flip.any()
    _assert_as_torchvision(_images(150, side, side), drawn)


def test_padded_crop_and_flip() -> None:
    images = _images(50, 20, 20)
    config = AugmentConfig(pad=4, jitter_probability=0, gray_probability=0)
    drawn = draw(config, 50, 20, 20, 20, torch.Generator().manual_seed(2))
    padded = oracle.pad(images, [4, 4, 4, 4], fill=0).float() / 255
    for i, view in enumerate(apply(images, drawn)):
        top, left = (drawn.box[i, :2] + 4).tolist()
        expected = oracle.crop(padded[i], top, left, 20, 20)
        torch.testing.assert_close(view, oracle.horizontal_flip(expected) if drawn.flip[i] else expected, atol=1e-6, rtol=0)


def test_float_images_give_the_views_of_uint8_ones() -> None:
    images = _images(20, 16, 16)
    drawn = draw(AugmentConfig(), 20, 16, 16, 16, torch.Generator().manual_seed(2))
    torch.testing.assert_close(apply(images.float() / 255, drawn), apply(images, drawn), atol=1e-5, rtol=0)


def test_an_image_that_drew_nothing_is_untouched() -> None:
    images = _images(6, 16, 16)
    base = _identity(6, 16, 16, 16)
    drawn = dataclasses.replace(base, jitter=torch.arange(6) == 2, factor=torch.full((6, 4), 0.3), gray=torch.arange(6) == 3)
    views = apply(images, drawn)
    torch.testing.assert_close(views[[0, 1, 4, 5]], images[[0, 1, 4, 5]] / 255)
    assert not torch.allclose(views[2:4], images[2:4] / 255, atol=1e-2)


def test_images_of_one_channel_have_no_colour() -> None:
    images = _images(4, 8, 8)[:, :1]
    assert apply(images, _identity(4, 8, 8, 8)).shape == (4, 1, 8, 8)
    with pytest.raises(InputError, match=r"3 channels"):
        apply(images, dataclasses.replace(_identity(4, 8, 8, 8), gray=torch.ones(4, dtype=torch.bool)))
    with pytest.raises(InputError, match=r"as many"):
        apply(images, _identity(3, 8, 8, 8))
