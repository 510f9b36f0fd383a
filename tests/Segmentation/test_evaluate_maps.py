from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from common.data.inputs import NORMALISATIONS, rgb
from common.randomness import generator, seeded
from Segmentation.evaluate_maps import Predictor, View, judged_part, window_starts

INPUT = rgb(None, *NORMALISATIONS["imagenet"])
CPU = torch.device("cpu")


@pytest.fixture
def network() -> nn.Module:
    """Logits that depend on a pixel's surroundings and on where the image's border is."""
    with seeded(0, "test"):
        return nn.Conv2d(3, 4, 5, padding=2)


def image(height: int, width: int, seed: int = 0) -> np.ndarray:
    return torch.randint(256, (height, width, 3), generator=generator(seed, "image"), dtype=torch.uint8).numpy()


def logits(network: nn.Module, pixels: np.ndarray) -> Tensor:
    with torch.no_grad():
        return network(INPUT.normalise(torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None]))[0]


@pytest.mark.parametrize("kind", ["fit", "whole", "slide", "centre"])
def test_an_image_of_the_networks_size_is_shown_as_it_is(kind: str, network: nn.Module) -> None:
    pixels = image(12, 18)
    view = View(kind, (12, 18))  # type: ignore[arg-type]
    (found,) = Predictor(network, INPUT, view, CPU).predict([pixels])
    assert found.dtype == np.uint8
    assert np.array_equal(found, logits(network, pixels).argmax(dim=0).numpy())


def test_whole_images_of_several_sizes(network: nn.Module) -> None:
    images = [image(9, 14, 1), image(20, 7, 2), image(9, 14, 3)]
    found = Predictor(network, INPUT, View("whole", (8, 8)), CPU).predict(images)
    for pixels, labels in zip(images, found, strict=True):
        assert np.array_equal(labels, logits(network, pixels).argmax(dim=0).numpy())


def test_fit_undoes_the_letter_box(network: nn.Module) -> None:
    import torchvision.transforms.v2.functional as tv

    large = image(12, 20)  # shown at half its size, between two gray rows above and below
    small = tv.resize(torch.from_numpy(large).permute(2, 0, 1), [6, 10], antialias=True).permute(1, 2, 0).numpy()
    (found,) = Predictor(_per_pixel(network), INPUT, View("fit", (10, 10)), CPU).predict([large])
    assert found.shape == (12, 20)
    wanted = torch.nn.functional.interpolate(
        logits(_per_pixel(network), small)[None], size=(12, 20), mode="bilinear", align_corners=False
    )
    assert np.array_equal(found, wanted[0].argmax(dim=0).numpy())


def _per_pixel(network: nn.Module) -> nn.Module:
    made = nn.Conv2d(3, 4, 1)
    assert isinstance(network, nn.Conv2d)
    with torch.no_grad():
        made.weight.copy_(network.weight[:, :, 2:3, 2:3])
        made.bias.copy_(network.bias)  # type: ignore[union-attr, arg-type]
    return made


def test_windows_are_averaged_where_they_overlap(network: nn.Module) -> None:
    pixels = image(13, 21)
    (found,) = Predictor(network, INPUT, View("slide", (8, 10), overlap=0.5), CPU).predict([pixels])
    total, seen = torch.zeros(4, 13, 21), torch.zeros(13, 21)
    for top in (0, 2, 5):  # steps of at most 4: 5 / 2 rounded to even
        for left in (0, 4, 7, 11):
            total[:, top : top + 8, left : left + 10] += logits(network, pixels[top : top + 8, left : left + 10])
            seen[top : top + 8, left : left + 10] += 1
    assert bool((seen > 0).all())
    assert np.array_equal(found, (total / seen).argmax(dim=0).numpy())


def test_a_window_larger_than_the_image_is_padded_with_gray(network: nn.Module) -> None:
    pixels = image(5, 9)
    (found,) = Predictor(network, INPUT, View("slide", (8, 12)), CPU).predict([pixels])
    padded = np.full((8, 12, 3), 128, dtype=np.uint8)
    padded[:5, :9] = pixels
    assert np.array_equal(found, logits(network, padded).argmax(dim=0)[:5, :9].numpy())


def test_scales_and_mirrored_images_are_averaged_as_probabilities(network: nn.Module) -> None:
    import torchvision.transforms.v2.functional as tv

    pixels = image(8, 12)
    view = View("whole", (8, 8), scales=(1.0, 0.5), flip=True)
    (found,) = Predictor(network, INPUT, view, CPU).predict([pixels])
    total = torch.zeros(4, 8, 12)
    for height, width in ((8, 12), (4, 6)):
        shown = tv.resize(torch.from_numpy(pixels).permute(2, 0, 1), [height, width], antialias=True).permute(1, 2, 0).numpy()
        for mirrored in (False, True):
            one = logits(network, shown[:, ::-1] if mirrored else shown)
            one = one.flip(-1) if mirrored else one
            total += torch.nn.functional.interpolate(one[None], size=(8, 12), mode="bilinear")[0].softmax(dim=0)
    assert np.array_equal(found, total.argmax(dim=0).numpy())


def test_the_predecessors_centre_is_torchvisions_resize_and_centre_crop() -> None:
    import torchvision.transforms.v2.functional as tv

    pixels = image(40, 60)
    wanted = tv.center_crop(tv.resize(torch.from_numpy(pixels).permute(2, 0, 1), [20], antialias=True), [20]).permute(1, 2, 0)
    assert np.array_equal(judged_part(pixels, View("centre", (20, 20))), wanted.numpy())
    labels = judged_part(np.arange(2400).reshape(40, 60), View("centre", (20, 20)))
    assert labels.shape == (20, 20)
    assert labels[0, 0] == 60 * 1 + 11  # the middle of two rows and columns, of which the later is nearest


@settings(max_examples=50, deadline=None)
@given(window=st.integers(1, 40), more=st.integers(0, 100), overlap=st.floats(0, 0.95))
def test_windows_cover_the_side_and_overlap_as_asked(window: int, more: int, overlap: float) -> None:
    side = window + more
    starts = window_starts(side, window, overlap)
    assert (starts[0], starts[-1] + window) == (0, side)
    steps = [after - before for before, after in pairwise(starts)]
    assert all(0 < step <= max(1, int(window * (1 - overlap))) for step in steps)
