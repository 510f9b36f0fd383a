"""Resampling as matrix products: crop, resize, flip and blur are separable, so each is one matrix per image and axis.

N views, C channels, H x W source pixels, S x S view pixels, K taps of a blur.
"""

from __future__ import annotations

import torch

from common.data.transfer import to_device


def resample(images_NCHW: torch.Tensor, rows_NSH: torch.Tensor, columns_NSW: torch.Tensor) -> torch.Tensor:
    """Apply a matrix per image to its columns and one to its rows; float32 (N, C, S, S)."""
    count, channels, height, width = images_NCHW.shape
    side = columns_NSW.shape[1]
    wide_NCHS = torch.bmm(images_NCHW.reshape(count, channels * height, width), columns_NSW.mT).view(
        count, channels, height, side
    )
    return torch.matmul(rows_NSH.unsqueeze(1), wide_NCHS)


def crop_weights(
    box_N4: torch.Tensor, flip_N: torch.Tensor, height: int, width: int, size: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the matrices that cut boxes out, resize them to `size` and flip them, on the boxes' own device.

    Args:
        box_N4: int64, top, left, height, width; parts outside the image count as black.
        flip_N: bool, mirror left and right.
        height: of the source, pixels.
        width: of the source, pixels.
        size: of the views, pixels.

    Returns:
        float32 (N, S, H) for rows and (N, S, W) for columns.
    """
    box = box_N4.to(torch.float32)
    upright_1S = torch.arange(size, device=box.device, dtype=torch.float32).unsqueeze(0)
    mirrored_NS = torch.where(flip_N.unsqueeze(1), size - 1 - upright_1S, upright_1S)
    return _axis(box[:, 0], box[:, 2], upright_1S, height), _axis(box[:, 1], box[:, 3], mirrored_NS, width)


def _axis(start_N: torch.Tensor, length_N: torch.Tensor, place_NS: torch.Tensor, source: int) -> torch.Tensor:
    """Return (N, S, source) bilinear weights: half-pixel centres, a wider triangle to shrink, nothing from beyond the box."""
    start_N1, length_N1 = start_N[:, None], length_N[:, None]
    scale_N1 = length_N1 / place_NS.shape[1]
    centre_NS = torch.addcmul(start_N1, scale_N1, place_NS + 0.5)
    # At the box's border a triangle that loses a side is renormalised; for enlarging that equals clamping its centre.
    centre_NS = torch.where(scale_N1 <= 1, centre_NS.clamp(start_N1 + 0.5, start_N1 + length_N1 - 0.5), centre_NS)
    pixel_W = torch.arange(source, device=start_N.device, dtype=torch.float32) + 0.5
    return _triangle(centre_NS, pixel_W, scale_N1, start_N1, length_N1)


def _triangle(
    centre_NS: torch.Tensor, pixel_W: torch.Tensor, scale_N1: torch.Tensor, start_N1: torch.Tensor, length_N1: torch.Tensor
) -> torch.Tensor:
    """Return (N, S, W) triangle weights around each centre, zero beyond the box; a row beyond the image stays zero."""
    weights_NSW = (pixel_W - centre_NS.unsqueeze(2)).abs_()
    weights_NSW.div_(-scale_N1.clamp_min(1).unsqueeze(2)).add_(1).clamp_min_(0)
    inside_NW = (pixel_W >= start_N1) & (pixel_W < start_N1 + length_N1)
    weights_NSW.mul_(inside_NW.unsqueeze(1))
    return weights_NSW.div_(weights_NSW.sum(dim=2, keepdim=True).clamp_min_(1e-6))


def blur(images_NCSS: torch.Tensor, sigma_N: torch.Tensor, kernel: int) -> torch.Tensor:
    """Blur with a Gaussian of its own per image, borders reflected.

    Args:
        images_NCSS: float32.
        sigma_N: float32 on the CPU, pixels, > 0.
        kernel: side in pixels, odd, kernel // 2 < S.

    Returns:
        float32 (N, C, S, S).
    """
    side, reach = images_NCSS.shape[-1], kernel // 2
    offset_K = torch.arange(-reach, reach + 1, dtype=torch.float32)
    taps_NK = torch.softmax(-0.5 * (offset_K / sigma_N.unsqueeze(1)) ** 2, dim=1)
    reflected_KS = (torch.arange(side) + torch.arange(-reach, reach + 1).unsqueeze(1)).abs()
    reflected_KS = torch.where(reflected_KS >= side, 2 * (side - 1) - reflected_KS, reflected_KS)
    device = images_NCSS.device
    place_KSS = (to_device(reflected_KS, device).unsqueeze(2) == torch.arange(side, device=device)).float()
    band_NSS = (to_device(taps_NK, device) @ place_KSS.view(kernel, side * side)).view(-1, side, side)
    return resample(images_NCSS, band_NSS, band_NSS)
