"""What is evaluated of an image, and how crops are resized: torchvision's chains, for files and for small images shown larger."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import ImageFolder
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms.v2 import functional

from common.data.augment_config import AugmentConfig
from common.data.augment_draw import draw
from common.data.datasets import Images, load_data
from common.data.framing import framed, resize, resize_in_float
from common.data.inputs import UNIT_INPUT
from common.data.loaders import ViewDraws, loader_of
from common.data.reading import Framing, Reading
from common.errors import InputError
from common.randomness import generator

MODES = {"bilinear": InterpolationMode.BILINEAR, "bicubic": InterpolationMode.BICUBIC}
FRAMINGS = [Framing(crop, how) for crop in ("margin", "fit", "square") for how in MODES]  # type: ignore[arg-type]


def chain(framing: Framing, size: int) -> v2.Compose:
    """What the published protocols do: Resize(256) and CenterCrop(224), Resize(224) and CenterCrop(224), Resize((224, 224))."""
    how = MODES[framing.interpolation]
    if framing.crop == "square":
        return v2.Compose([v2.PILToTensor(), v2.Resize((size, size), how, antialias=True)])
    shorter = size if framing.crop == "fit" else round(size * 256 / 224)
    return v2.Compose([v2.PILToTensor(), v2.Resize(shorter, how, antialias=True), v2.CenterCrop(size)])


@pytest.mark.parametrize("framing", FRAMINGS, ids=lambda one: f"{one.crop}-{one.interpolation}")
@pytest.mark.parametrize("storage", ["memory", "files"])
def test_files_are_evaluated_as_torchvision_frames_them(framing: Framing, storage: str, photos: Path) -> None:
    data = load_data("folder", root=str(photos), size=28, storage=storage, framing=framing, reading=Reading(0))  # type: ignore[arg-type]
    pixels = torch.cat([batch for batch, _ in loader_of(data.test, "cpu").evaluation_batches(4)])
    expected = torch.stack([image for image, _ in ImageFolder(str(photos / "test"), chain(framing, 28))])
    assert torch.equal(pixels, expected)
    assert data.input.interpolation == framing.interpolation


def test_auto_is_fit_in_memory_and_margin_in_files(photos: Path) -> None:
    for storage, crop in (("memory", "fit"), ("files", "margin")):
        auto, named = (
            load_data("folder", root=str(photos), size=20, storage=storage, framing=how, reading=Reading(0))  # type: ignore[arg-type]
            for how in (Framing(), Framing(crop))  # type: ignore[arg-type]
        )
        (pixels, _), *_ = loader_of(auto.test, "cpu").evaluation_batches(10)
        assert torch.equal(pixels, next(iter(loader_of(named.test, "cpu").evaluation_batches(10)))[0])


@pytest.mark.parametrize("how", MODES)
def test_crops_of_files_are_resized_as_asked(how: str, photos: Path) -> None:
    framing = Framing("margin", how)  # type: ignore[arg-type]
    data = load_data("folder", root=str(photos), size=24, storage="files", framing=framing, reading=Reading(0))
    augment = AugmentConfig(jitter_probability=0, gray_probability=0, flip=0)
    loader = loader_of(data.test, "cpu")
    ((views,), _), *_ = loader.view_batches([torch.arange(10)], ViewDraws(augment, UNIT_INPUT, 1, 3, "views"))
    for row, (name, _) in enumerate(ImageFolder(str(photos / "test")).samples):
        image = functional.pil_to_tensor(Image.open(name).convert("RGB"))
        (box,) = draw(augment, 1, *image.shape[1:], 24, generator(3, "views", row)).box.tolist()
        cut = functional.resized_crop(image, *box, [24, 24], MODES[how], antialias=True)
        assert torch.equal((views[row] * 255).round().to(torch.uint8), cut)


@pytest.mark.parametrize("how", MODES)
def test_what_a_gpu_does_in_float_is_within_a_gray_level(how: str) -> None:
    coarse = torch.from_numpy(np.random.default_rng(0).integers(40, 216, (4, 3, 5, 7), dtype=np.uint8))
    pixels = resize(coarse, 30, 41)
    for side in (16, 50):
        exact, float_ = resize(pixels, side, side + 3, how), resize_in_float(pixels, side, side + 3, how)  # type: ignore[arg-type]
        assert float_.dtype == torch.uint8
        assert (exact.int() - float_.int()).abs().max() <= 1
        alone = torch.stack([resize(image, side, side + 3, how) for image in pixels])  # type: ignore[arg-type]
        assert torch.equal(alone, exact)


@pytest.fixture(scope="module")
def small() -> Images:
    pixels = np.random.default_rng(1).integers(0, 256, (9, 3, 4, 4), dtype=np.uint8)
    images = torch.nn.functional.interpolate(torch.from_numpy(pixels), size=(16, 16), mode="bilinear")
    return Images(images, torch.arange(9) % 3)


@pytest.mark.parametrize("framing", FRAMINGS, ids=lambda one: f"{one.crop}-{one.interpolation}")
def test_small_images_are_shown_larger_as_torchvision_enlarges_them(framing: Framing, small: Images) -> None:
    loader = loader_of(Images(small.images, small.labels, 56, framing), "cpu")
    assert loader.size == 56
    pixels = torch.cat([batch for batch, _ in loader.evaluation_batches(4)])
    transform = v2.Compose(chain(framing, 56).transforms[1:])
    assert torch.equal(pixels, torch.stack([transform(image) for image in small.images]))
    assert torch.equal(framed(small.images[0], 56, framing), pixels[0])
    part = loader.subset(torch.tensor([7, 2]))
    assert torch.equal(next(iter(part.evaluation_batches(2)))[0], pixels[[7, 2]])


@pytest.mark.parametrize(("how", "most"), [("bilinear", 1.001), ("bicubic", 0.001)])
def test_training_crops_of_small_images_are_enlarged_as_torchvision_does(how: str, most: float, small: Images) -> None:
    augment = AugmentConfig(jitter_probability=0, gray_probability=0, flip=0.5)
    loader = loader_of(Images(small.images, small.labels, 48, Framing("margin", how)), "cpu")  # type: ignore[arg-type]
    draws = ViewDraws(augment, UNIT_INPUT, 1, 5, "views")
    ((views,), labels), *_ = loader.view_batches([torch.arange(9)], draws)
    assert views.shape == (9, 3, 48, 48)
    drawn = draw(augment, 9, 16, 16, 48, generator(5, "views", 0))
    for row, (image, box) in enumerate(zip(small.images, drawn.box.tolist(), strict=True)):
        cut = functional.resized_crop(image, *box, [48, 48], MODES[how], antialias=True)
        cut = functional.horizontal_flip(cut) if drawn.flip[row] else cut
        assert (views[row] * 255 - cut).abs().max() <= most
    assert labels.tolist() == small.labels.tolist()


def test_digits_have_one_size() -> None:
    with pytest.raises(InputError, match=r"data.size: digits has images of 16 px, got 32; leave data.size out"):
        load_data("digits", size=32)
    assert load_data("digits", size=16).train.size == 16
