"""JPEGs decoded and cropped on the device (`data.decode: cuda`): torchvision's nvJPEG decoder, and its resize in float.

Not measured yet, and never run on a GPU; what is around the decoder is tested on the CPU. Its pixels may differ from the CPU's by
a few gray levels, since inverse transforms and upsampling are rounded otherwise. V views of n images, S their side in pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from common.data.file_images import FileImages, decode, is_jpeg, unreadable
from common.data.file_readers import Cut, Encoded, crops
from common.data.framing import resize
from common.data.loaders import ViewDraws


def cut_on(device: torch.device, piece: Encoded, draws: ViewDraws, files: FileImages) -> Cut:
    """Decode the images of a piece on a device and cut their views out there.

    Args:
        device: where.
        piece: contents of n files, and the numbers that their views are drawn from.
        draws: how a view is made.
        files: the split, for its side, its interpolation and its files' names.

    Returns:
        As `FileReaders.views` gives it, the pixels on the device.

    Raises:
        InputError: an image cannot be decoded.
    """
    images, size = decode_on(device, piece.contents, [files.path(i) for i in piece.indices]), files.size
    boxes_VN4 = crops(draws, piece.uniform.transpose(0, 1), images, size).transpose(0, 1)
    pixels = torch.empty(*boxes_VN4.shape[:2], 3, size, size, dtype=torch.uint8, device=device)
    for view, boxes_N4 in enumerate(boxes_VN4.tolist()):
        for place, (top, left, height, width) in enumerate(boxes_N4):
            box = images[place][:, top : top + height, left : left + width]
            pixels[view, place] = resize(box, size, size, files.framing.interpolation)
    return Cut(pixels, piece.uniform, boxes_VN4)


def decode_on(device: torch.device, contents: Sequence[torch.Tensor], paths: Sequence[Path]) -> list[torch.Tensor]:
    """Decode images to RGB on a device, uint8 (3, H, W) each.

    nvJPEG has no CMYK: those JPEGs, and files that are no JPEGs, are decoded on the CPU and copied.

    Raises:
        InputError: an image cannot be decoded.
    """
    here = [place for place, content in enumerate(contents) if is_jpeg(content) and jpeg_components(content) in (1, 3)]
    images: dict[int, torch.Tensor] = dict(
        zip(here, _decode_jpegs(device, [contents[i] for i in here], [paths[i] for i in here]))
    )
    return [
        images[place] if place in images else decode(content, paths[place]).to(device) for place, content in enumerate(contents)
    ]


def _decode_jpegs(device: torch.device, contents: list[torch.Tensor], paths: list[Path]) -> list[torch.Tensor]:
    from torchvision.io import ImageReadMode, decode_jpeg

    if not contents:
        return []
    try:
        return decode_jpeg(contents, mode=ImageReadMode.RGB, device=device)
    except RuntimeError as error:
        if len(contents) == 1:
            raise unreadable(paths[0], str(error).splitlines()[0].rpartition(", ")[2]) from error
    # The decoder does not say which one it was.
    return [image for pair in zip(contents, paths, strict=True) for image in _decode_jpegs(device, [pair[0]], [pair[1]])]


def jpeg_components(content: torch.Tensor) -> int:
    """Return how many colour components a JPEG says it has (1 gray, 3 colour, 4 CMYK); 0 where its header is damaged."""
    data = bytes(content.numpy())
    place = 2
    while place + 9 < len(data) and data[place] == 0xFF:
        marker, length = data[place + 1], int.from_bytes(data[place + 2 : place + 4], "big")
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return data[place + 9]
        place += 2 + length
    return 0
