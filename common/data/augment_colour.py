"""Colour operations on batches of RGB images in [0, 1], each with a factor per image.

They compute what torchvision's functions of the same names compute. n images; r, g, b are planes (n, H, W).
"""

from __future__ import annotations

import torch

from common.data.augment_draw import BRIGHTNESS, CONTRAST, HUE, SATURATION
from common.data.transfer import to_device

_LUMA = (0.2989, 0.587, 0.114)


def jitter_(images_NCHW: torch.Tensor, chosen_n: torch.Tensor, order_nK: torch.Tensor, factor_n4: torch.Tensor) -> None:
    """Jitter some images of a batch in place, each in its own order of operations.

    In every turn the chosen images are sorted by their operation, which then runs on one contiguous slice. All indices come
    from the drawn parameters, on the CPU: a GPU is never waited for.

    Args:
        images_NCHW: float32 in [0, 1], C = 3.
        chosen_n: int64 on the CPU, which images.
        order_nK: int64 on the CPU, operations of the chosen images in order of application.
        factor_n4: float32 on the CPU, factors of the chosen images by operation.
    """
    if len(chosen_n) == 1:
        _jitter_one_(images_NCHW[int(chosen_n)].unsqueeze(0), order_nK[0].tolist(), factor_n4[0].tolist())
        return
    device = images_NCHW.device
    sorted_operation_Kn, by_turn_Kn = order_nK.T.contiguous().sort(dim=1, stable=True)
    factor_Kn = factor_n4[by_turn_Kn, sorted_operation_Kn]
    moves_Kn = by_turn_Kn.clone()
    moves_Kn[1:] = by_turn_Kn[:-1].argsort(dim=1).gather(1, by_turn_Kn[1:])
    moves_Kn[0] = chosen_n[by_turn_Kn[0]]
    back_n = chosen_n[by_turn_Kn[-1]]
    indices = to_device(torch.cat([moves_Kn, back_n.unsqueeze(0)]), device)
    factors = to_device(factor_Kn, device)
    images = images_NCHW
    for turn, operations_n in enumerate(sorted_operation_Kn):
        images = images.index_select(0, indices[turn])
        start = 0
        for operation, count in enumerate(operations_n.bincount(minlength=len(_OPERATIONS)).tolist()):
            if count:
                piece = slice(start, start + count)
                _OPERATIONS[operation](images[piece], factors[turn, piece].view(-1, 1, 1, 1))
            start += count
    images_NCHW.index_copy_(0, indices[-1], images)


def _jitter_one_(image_1CHW: torch.Tensor, order: list[int], factors: list[float]) -> None:
    """Jitter one image in its own memory: large images come one at a time, and copying them costs as much as colouring them."""
    for operation in order:
        _OPERATIONS[operation](image_1CHW, image_1CHW.new_full((1, 1, 1, 1), factors[operation]))


def gray_(images_NCHW: torch.Tensor, chosen_n: torch.Tensor) -> None:
    """Take the colour from some images of a batch in place; `chosen_n` is int64 on the CPU."""
    if len(chosen_n) == 1:
        image_1CHW = images_NCHW[int(chosen_n)].unsqueeze(0)
        image_1CHW.copy_(_luma(image_1CHW))
        return
    index_n = to_device(chosen_n, images_NCHW.device)
    luma_n1HW = _luma(images_NCHW.index_select(0, index_n))
    images_NCHW.index_copy_(0, index_n, luma_n1HW.expand(-1, 3, -1, -1))


def brightness_(images_nCHW: torch.Tensor, factor_n111: torch.Tensor) -> None:
    """Multiply by a factor >= 0, in place."""
    images_nCHW.mul_(factor_n111).clamp_(0, 1)


def contrast_(images_nCHW: torch.Tensor, factor_n111: torch.Tensor) -> None:
    """Move away from, or to, the mean gray value by a factor >= 0, in place."""
    mean_n111 = _luma(images_nCHW.mean(dim=(2, 3), keepdim=True))
    images_nCHW.mul_(factor_n111).add_((1 - factor_n111) * mean_n111).clamp_(0, 1)


def saturation_(images_nCHW: torch.Tensor, factor_n111: torch.Tensor) -> None:
    """Move away from, or to, each pixel's gray value by a factor >= 0, in place."""
    gray_n1HW = _luma(images_nCHW).mul_(1 - factor_n111)
    images_nCHW.mul_(factor_n111).add_(gray_n1HW).clamp_(0, 1)


def hue_(images_nCHW: torch.Tensor, turn_n111: torch.Tensor) -> None:
    """Turn the hue by a fraction of a full turn in [-0.5, 0.5], in place, keeping each pixel's largest and smallest value.

    This is the way through HSV and back without its six cases: value and saturation are the largest and smallest value, and a
    channel is a trapezoid of the hue between them. `torch.where` costs some thirty times a maximum on a CPU; there is none here.
    """
    r, g, b = images_nCHW.unbind(1)
    upper, lower = torch.maximum(g, b), torch.minimum(g, b)
    largest, middle = torch.maximum(r, upper), torch.minimum(r, upper)
    smallest = torch.minimum(middle, lower)
    spread = largest.sub_(smallest)
    blue_over_green, red_below = (g < b).float(), (r < upper).float()
    sector = (blue_over_green * 12).sub_(2).mul_(red_below).sub_(blue_over_green, alpha=6)
    sixths = (middle - lower).div_(spread.clamp_min(1e-12)).add_(sector).abs_()
    turns = sixths.div_(6).add_(turn_n111.squeeze(1))
    hue = turns.sub_(turns.floor()).mul_(6)
    _trapezoid(r, (hue - 3).abs_().sub_(1), spread, smallest)
    _trapezoid(g, (hue - 2).abs_().neg_().add_(2), spread, smallest)
    _trapezoid(b, hue.sub_(4).abs_().neg_().add_(2), spread, smallest)


def _trapezoid(plane: torch.Tensor, height: torch.Tensor, spread: torch.Tensor, smallest: torch.Tensor) -> None:
    torch.addcmul(smallest, height.clamp_(0, 1), spread, out=plane)


def _luma(images_nCHW: torch.Tensor) -> torch.Tensor:
    """Return the gray value of each pixel, (n, 1, H, W)."""
    r, g, b = images_nCHW.split(1, dim=1)
    return (r * _LUMA[0]).add_(g, alpha=_LUMA[1]).add_(b, alpha=_LUMA[2])


_OPERATIONS = {BRIGHTNESS: brightness_, CONTRAST: contrast_, SATURATION: saturation_, HUE: hue_}
