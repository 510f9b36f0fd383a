"""Resizing and cutting: how an image becomes the square that a network sees (`Framing`). S is the square's side in pixels.

Images are uint8, (C, H, W) or a batch (N, C, H, W) of one size.
"""

from __future__ import annotations

import torch
from torch.nn import functional

from common.data.reading import Framing, Interpolation


def resize(pixels: torch.Tensor, height: int, width: int, interpolation: Interpolation = "bilinear") -> torch.Tensor:
    """Return uint8 of (height, width), antialiased, as torchvision resizes uint8 tensors; on a GPU by way of float32."""
    if pixels.device.type != "cpu":
        return resize_in_float(pixels, height, width, interpolation)
    return _interpolate(pixels, height, width, interpolation)


def resize_in_float(pixels: torch.Tensor, height: int, width: int, interpolation: Interpolation) -> torch.Tensor:
    """Return what `resize` does, for devices that interpolate no integers.

    Within a gray level of it, but where bicubic overshoots black or white: integers are clipped between the two axes as well.
    """
    return _interpolate(pixels.float(), height, width, interpolation).round_().clamp_(0, 255).to(torch.uint8)


def _interpolate(pixels: torch.Tensor, height: int, width: int, interpolation: Interpolation) -> torch.Tensor:
    batch_NCHW = pixels if pixels.ndim == 4 else pixels.unsqueeze(0)
    out_NCHW = functional.interpolate(batch_NCHW, size=(height, width), mode=interpolation, antialias=True)
    return out_NCHW if pixels.ndim == 4 else out_NCHW[0]


def central(pixels: torch.Tensor, size: int, shorter: int, interpolation: Interpolation = "bilinear") -> torch.Tensor:
    """Resize the shorter side and cut the centre out, as torchvision's Resize(shorter) and CenterCrop(size).

    Args:
        pixels: uint8.
        size: S.
        shorter: length of the shorter side after resizing, >= S.
        interpolation: how.

    Returns:
        uint8 of (S, S).
    """
    height, width = pixels.shape[-2:]
    least = min(height, width)
    resized = resize(pixels, shorter * height // least, shorter * width // least, interpolation)
    top, left = (round((side - size) / 2) for side in resized.shape[-2:])
    return resized[..., top : top + size, left : left + size]


def evaluation_side(size: int) -> int:
    """Return the shorter side to which an image is resized before its centre is cut out: 256 for 224, and in proportion."""
    return round(size * 256 / 224)


def framed(pixels: torch.Tensor, size: int, framing: Framing) -> torch.Tensor:
    """Return what a network is evaluated on, uint8 of (S, S).

    Args:
        pixels: uint8.
        size: S.
        framing: how; its crop is chosen, not auto.
    """
    if framing.crop == "square":
        return resize(pixels, size, size, framing.interpolation)
    return central(pixels, size, size if framing.crop == "fit" else evaluation_side(size), framing.interpolation)
