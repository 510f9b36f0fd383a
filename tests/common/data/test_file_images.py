"""Reading one file: as PIL reads it, whatever kind it is; resizing as torchvision's; errors that name the file."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms import functional as pil_functional
from torchvision.transforms.v2 import functional

from common.data.file_images import FileImages, decode, read_bytes
from common.data.framing import central, evaluation_side, resize
from common.data.reading import Reading
from common.errors import InputError


def smooth(height: int, width: int, seed: int = 0) -> Image.Image:
    small = np.random.default_rng(seed).integers(0, 256, (6, 7, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def encoded(image: Image.Image, kind: str = "JPEG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def with_orientation(value: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = value
    return encoded(smooth(40, 60), exif=exif)


KINDS = {
    "jpeg": encoded(smooth(61, 75), quality=85),
    "444": encoded(smooth(33, 47), subsampling=0, quality=95),
    "progressive": encoded(smooth(50, 50), progressive=True),
    "gray": encoded(smooth(40, 30).convert("L")),
    "cmyk": encoded(smooth(40, 30).convert("CMYK"), quality=95),
    "orientation": with_orientation(6),
    "png": encoded(smooth(20, 31), "PNG"),
    "gray_png": encoded(smooth(20, 31).convert("L"), "PNG"),
    "palette_png": encoded(smooth(20, 31).convert("P"), "PNG"),
    "transparent_png": encoded(smooth(20, 31).convert("RGBA"), "PNG"),
    "webp": encoded(smooth(20, 31), "WEBP", lossless=True),
    "bmp": encoded(smooth(20, 31), "BMP"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_file_becomes_the_rgb_that_imagefolder_gives(kind: str, tmp_path: Path) -> None:
    file = tmp_path / "image"
    file.write_bytes(KINDS[kind])
    pixels = decode(read_bytes(file), file)
    expected = np.asarray(Image.open(io.BytesIO(KINDS[kind])).convert("RGB"))
    assert pixels.dtype == torch.uint8
    assert torch.equal(pixels, torch.from_numpy(expected.copy()).permute(2, 0, 1))


@pytest.mark.parametrize(("kind", "dtype"), [("PNG", np.uint16), ("TIFF", np.float32), ("TIFF", np.int32)])
def test_more_than_8_bits_are_refused_and_not_clipped_to_white(kind: str, dtype: type, tmp_path: Path) -> None:
    file = tmp_path / "image"
    Image.fromarray(np.linspace(0, 65535, 600).reshape(20, 30).astype(dtype)).save(file, kind)
    with pytest.raises(InputError, match="more than 8 bits a channel") as caught:
        decode(read_bytes(file), file)
    assert str(file) in str(caught.value)


def test_an_orientation_in_exif_is_not_applied(tmp_path: Path) -> None:
    file = tmp_path / "image.jpg"
    file.write_bytes(KINDS["orientation"])
    assert decode(read_bytes(file), file).shape == (3, 40, 60)


@pytest.mark.parametrize("kind", ["jpeg", "progressive", "png"])
@pytest.mark.parametrize("kept", [0.0, 0.01, 0.5, 0.9])
def test_a_file_that_is_cut_off_is_named_in_one_line(kind: str, kept: float, tmp_path: Path) -> None:
    file = tmp_path / "image.jpg"
    file.write_bytes(KINDS[kind][: int(kept * len(KINDS[kind]))])
    with pytest.raises(InputError, match=r"cannot read the image .*/image.jpg: \S") as error:
        decode(read_bytes(file), file)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [b"this is no image", b"\xff\xd8\xff and no more", b"\x89PNG\r\n\x1a\n" + bytes(40)])
def test_what_is_no_image_is_named(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "image.jpg").write_bytes(content)
    with pytest.raises(InputError, match=r"cannot read the image .*/image.jpg: \S"):
        decode(read_bytes(tmp_path / "image.jpg"), tmp_path / "image.jpg")


def test_what_is_no_image_is_told_in_words(tmp_path: Path) -> None:
    """The same words every time: PIL's own hold an address in memory."""
    (tmp_path / "image.png").write_bytes(b"this is no image")
    with pytest.raises(InputError, match=r"cannot read the image .*/image.png: it is no image of a known kind$"):
        decode(read_bytes(tmp_path / "image.png"), tmp_path / "image.png")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot read the image .*/gone.jpg: No such file"):
        read_bytes(tmp_path / "gone.jpg")


@given(
    box=st.tuples(st.integers(0, 40), st.integers(0, 50), st.integers(1, 60), st.integers(1, 70)),
    size=st.sampled_from([1, 7, 24, 64]),
)
@settings(max_examples=60, deadline=None)
def test_crops_are_torchvisions_random_resized_crop(box: tuple[int, int, int, int], size: int) -> None:
    """torchvision's transform cuts a box and resizes it: exactly so on tensors, and within a gray level on PIL images."""
    top, left, height, width = box
    image = smooth(100, 120)
    pixels = torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1)
    got = resize(pixels[:, top : top + height, left : left + width], size, size)
    on_tensors = functional.resized_crop(pixels, top, left, height, width, [size, size], antialias=True)
    assert torch.equal(got, on_tensors)
    on_pil = pil_functional.resized_crop(image, top, left, height, width, [size, size], InterpolationMode.BILINEAR)
    expected = pil_functional.pil_to_tensor(on_pil)
    assert (got.int() - expected.int()).abs().max() <= 2


@pytest.mark.parametrize(("height", "width"), [(60, 60), (43, 61), (61, 43), (100, 31)])
@pytest.mark.parametrize(("size", "shorter"), [(28, 32), (24, 24), (56, 64)])
def test_the_centre_is_torchvisions(height: int, width: int, size: int, shorter: int) -> None:
    image = smooth(height, width)
    pixels = pil_functional.pil_to_tensor(image)
    got = central(pixels, size, shorter)
    assert torch.equal(got, v2.Compose([v2.Resize(shorter, antialias=True), v2.CenterCrop(size)])(pixels))
    on_pil = v2.Compose([v2.Resize(shorter), v2.CenterCrop(size), v2.PILToTensor()])(image)
    assert (got.int() - on_pil.int()).abs().max() <= 2


def test_evaluation_resizes_as_imagenet_is_evaluated() -> None:
    assert [evaluation_side(size) for size in (224, 112, 28, 1)] == [256, 128, 32, 1]


def test_names_labels_and_subsets(tmp_path: Path) -> None:
    odd = os.fsdecode(b"train/\xff\xe9 \xc3\xa9.jpg")  # a name that is no UTF-8
    names = np.array([b"train/a.jpg", b"train/bb/c.jpg", os.fsencode(odd)], dtype=bytes)
    files = FileImages(tmp_path, names, torch.tensor([2, 0, 1]), 24, Reading(0))
    assert len(files) == 3
    assert files.path(2) == tmp_path / odd
    part = files.subset(torch.tensor([2, 0]))
    assert part.labels.tolist() == [1, 2]
    assert [part.path(i).name for i in (0, 1)] == [Path(odd).name, "a.jpg"]
    assert files.subset(slice(1, 2)).path(0) == tmp_path / "train/bb/c.jpg"
    with pytest.raises(InputError, match=r"3 files and 2 labels"):
        FileImages(tmp_path, names, torch.zeros(2, dtype=torch.int64), 24, Reading(0))
