"""Decoding and cropping on the device, run on the CPU with the same functions: what is cut, which decoder gets what, errors."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from common.data.augment_config import AugmentConfig
from common.data.datasets import load_data
from common.data.device_decode import cut_on, decode_on, jpeg_components
from common.data.file_images import FileImages, decode, read_bytes
from common.data.file_readers import FileReaders
from common.data.inputs import InputSpec
from common.data.loaders import ViewDraws
from common.data.reading import Reading
from common.errors import InputError

CPU = torch.device("cpu")
PIXELS = InputSpec(None, 3, (0.0, 1.0), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), None)
DRAWS = ViewDraws(AugmentConfig(), PIXELS, 2, seed=0, stream="views", indices=(0, 0))


def files_of(root: Path, workers: int = 0) -> FileImages:
    data = load_data("folder", root=str(root), size=24, storage="files", reading=Reading(workers))
    assert isinstance(data.train, FileImages)
    return data.train


@pytest.mark.parametrize("workers", [0, 2])
def test_what_is_cut_on_a_device_is_what_processes_cut(workers: int, photos: Path) -> None:
    files = files_of(photos, workers)
    batches = [list(range(20)), list(range(20, 65))]
    expected = (
        (cut.pixels.clone(), cut.uniform, cut.boxes)
        for cut in FileReaders(files, views=2, finish=False, keep=False).views(batches, DRAWS)
    )
    seen: list[int] = []
    for piece, (pixels, uniform, boxes) in zip(
        FileReaders(files, views=2, finish=False, keep=False).encoded(batches, DRAWS), expected, strict=True
    ):
        cut = cut_on(CPU, piece, DRAWS, files)
        assert torch.equal(cut.uniform, uniform)
        assert torch.equal(cut.boxes, boxes)
        assert (cut.pixels.int() - pixels.int()).abs().max() <= 1
        seen += piece.indices
    assert seen == list(range(65))


def test_every_kind_of_file_is_decoded(photos: Path) -> None:
    paths = sorted((photos / "train").rglob("*.jpg"))
    contents = [read_bytes(path) for path in paths]
    kinds = {jpeg_components(content) for content in contents}
    assert {0, 1, 3, 4} <= kinds, "a PNG, gray, colour and CMYK"
    for image, content, path in zip(decode_on(CPU, contents, paths), contents, paths, strict=True):
        assert torch.equal(image, decode(content, path))
    assert decode_on(CPU, [], []) == []


def test_the_file_that_a_decoder_refuses_is_named(photos: Path) -> None:
    paths = sorted((photos / "train/ant").glob("*.jpg"))[:8]
    contents = [read_bytes(path) for path in paths]
    contents[5] = contents[5][: len(contents[5]) // 2]
    with pytest.raises(InputError, match=rf"cannot read the image {paths[5]}: [^\n]+$"):
        decode_on(CPU, contents, paths)


@pytest.mark.parametrize("content", [b"", b"\xff\xd8\xff", b"\xff\xd8\xff\xe0\xff\xff", b"\xff\xd8\xff\xc0\x00\x0b\x08\x00"])
def test_a_damaged_header_has_no_components(content: bytes) -> None:
    assert jpeg_components(torch.frombuffer(bytearray(content or b"\0"), dtype=torch.uint8)) == 0
