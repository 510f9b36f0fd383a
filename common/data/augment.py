"""Batched augmentation on the device: drawn on the CPU, applied to whole batches of uint8 images.

Random resized crop and flip are one separable resampling; colour jitter, grayscale and blur touch only the images that drew
them. Every operation computes what torchvision's computes with the same parameters.
"""

from __future__ import annotations

import torch

from common.data.augment_colour import gray_, jitter_
from common.data.augment_config import AugmentConfig
from common.data.augment_draw import Parameters, draw
from common.data.augment_geometry import blur, crop_weights, resample
from common.data.transfer import to_device
from common.errors import InputError

__all__ = ["AugmentConfig", "Parameters", "apply", "draw", "two_views"]

# On a CPU the views are made in portions of this many pixels, which stay in its cache: a third faster than whole batches.
_CACHED_PIXELS = 65_536


@torch.no_grad()
def apply(
    images_NCHW: torch.Tensor, parameters: Parameters, *, cropped: bool = False, out: torch.Tensor | None = None
) -> torch.Tensor:
    """Make one view of every image, on the images' device and without waiting for it.

    Args:
        images_NCHW: uint8 in [0, 255], or float32 in [0, 1].
        parameters: of N views, from `draw`.
        cropped: the images are the views' crops already, (N, C, S, S): do what follows the crop, from the flip on.
        out: float32 (N, C, S, S) on the images' device, to write into; None: new memory.

    Returns:
        float32 (N, C, S, S) in [0, 1].

    Raises:
        InputError: another number of images than parameters, or colour operations on images that have not 3 channels.
    """
    count, channels = images_NCHW.shape[:2]
    if count != len(parameters):
        raise InputError(f"augmentation: {count} images and parameters of {len(parameters)} views, expected as many")
    if channels != 3 and bool(parameters.jitter.any() | parameters.gray.any()):
        raise InputError(
            f"augmentation: colour needs 3 channels, got {channels}; set jitter_probability and gray_probability to 0"
        )
    side = parameters.size
    portion = max(1, _CACHED_PIXELS // side**2) if images_NCHW.device.type == "cpu" else count
    # Half precision would cost visible gray levels: a caller's autocast ends here.
    with torch.autocast(images_NCHW.device.type, enabled=False):
        views_NCSS = torch.empty(count, channels, side, side, device=images_NCHW.device) if out is None else out
        for start in range(0, count, portion or 1):
            part = slice(start, start + portion)
            _augment_(views_NCSS[part], images_NCHW[part], parameters.part(start, start + portion), cropped)
    return views_NCSS


def two_views(
    images_NCHW: torch.Tensor, config: AugmentConfig, size: int, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Make two independent views of every image.

    Args:
        images_NCHW: uint8 in [0, 255], or float32 in [0, 1].
        config: what to draw.
        size: side of the views, pixels.
        generator: on the CPU, such as `common.randomness.generator(seed, "views", round, step)`.

    Returns:
        Two float32 (N, C, S, S) in [0, 1]; row i of both shows image i.

    Raises:
        InputError: as `draw` and `apply`.
    """
    count, _, height, width = images_NCHW.shape
    parameters = draw(config, 2 * count, height, width, size, generator)
    first, second = apply(torch.cat([images_NCHW, images_NCHW]), parameters).chunk(2)
    return first, second


def _augment_(views_NCSS: torch.Tensor, images_NCHW: torch.Tensor, parameters: Parameters, cropped: bool) -> None:
    """Make the views of one portion, in place; indices are found on the CPU, from the drawn parameters."""
    drawn = (parameters.jitter, parameters.gray, parameters.blur)
    jittered_n, grayed_n, blurred_n = (drawn_N.nonzero().flatten() for drawn_N in drawn)
    if cropped:
        _flip_(views_NCSS, images_NCHW, parameters.flip)
    else:
        _crop_(views_NCSS, images_NCHW, parameters)
    if len(jittered_n):
        jitter_(views_NCSS, jittered_n, parameters.order[jittered_n], parameters.factor[jittered_n])
    if len(grayed_n):
        gray_(views_NCSS, grayed_n)
    if len(blurred_n):
        index_n = to_device(blurred_n, views_NCSS.device)
        sharp_nCSS = views_NCSS.index_select(0, index_n)
        views_NCSS.index_copy_(0, index_n, blur(sharp_nCSS, parameters.sigma[blurred_n], parameters.blur_kernel))


def _flip_(views_NCSS: torch.Tensor, images_NCSS: torch.Tensor, flip_N: torch.Tensor) -> None:
    """Copy images into the views, some of them mirrored."""
    views_NCSS.copy_(images_NCSS)
    flipped_n = to_device(flip_N.nonzero().flatten(), images_NCSS.device)
    if len(flipped_n):
        views_NCSS.index_copy_(0, flipped_n, images_NCSS.index_select(0, flipped_n).flip(-1).float())
    if images_NCSS.dtype == torch.uint8:
        views_NCSS.mul_(1 / 255)


def _crop_(views_NCSS: torch.Tensor, images_NCHW: torch.Tensor, parameters: Parameters) -> None:
    height, width = images_NCHW.shape[2:]
    device = images_NCHW.device
    box_N4, flip_N = to_device(parameters.box, device), to_device(parameters.flip, device)
    rows_NSH, columns_NSW = crop_weights(box_N4, flip_N, height, width, parameters.size)
    if images_NCHW.dtype == torch.uint8:
        columns_NSW.mul_(1 / 255)
    views_NCSS.copy_(resample(images_NCHW.float(), rows_NSH, columns_NSW)).clamp_(0, 1)
