"""The random half of augmentation: parameters per image and view, drawn on the CPU so that every device sees the same."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import torch

from common.data.augment_config import AugmentConfig
from common.errors import InputError

BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)
_ATTEMPTS = 10
# Uniform numbers that a view consumes, whatever is switched on: switching one operation does not move another's draws.
_COLUMNS = {
    "area": _ATTEMPTS,
    "ratio": _ATTEMPTS,
    "place": 2,
    "flip": 1,
    "jitter": 1,
    "order": 4,
    "factor": 4,
    "gray": 1,
    "blur": 1,
    "sigma": 1,
}


@dataclass(frozen=True)
class Parameters:
    """What is done to each of N views; all tensors are on the CPU.

    Attributes:
        size: side of the views in pixels.
        box: int64 (N, 4), top, left, height and width of the crop in source pixels; parts outside the image are black.
        flip: bool (N,).
        jitter: bool (N,), whether colours are jittered.
        order: int64 (N, K), the active colour operations (BRIGHTNESS, CONTRAST, SATURATION, HUE) in order of application, K <= 4.
        factor: float32 (N, 4), factors by operation; HUE is in turns.
        gray: bool (N,).
        blur: bool (N,).
        sigma: float32 (N,), in pixels.
        blur_kernel: side of the blur's kernel in pixels.
    """

    size: int
    box: torch.Tensor
    flip: torch.Tensor
    jitter: torch.Tensor
    order: torch.Tensor
    factor: torch.Tensor
    gray: torch.Tensor
    blur: torch.Tensor
    sigma: torch.Tensor
    blur_kernel: int

    def __len__(self) -> int:
        return len(self.box)

    def part(self, start: int, stop: int) -> Parameters:
        """Return the parameters of the views start .. stop-1."""
        values = ((item.name, getattr(self, item.name)) for item in dataclasses.fields(self))
        cut: dict[str, Any] = {name: value[start:stop] for name, value in values if isinstance(value, torch.Tensor)}
        return dataclasses.replace(self, **cut)


def draw(config: AugmentConfig, count: int, height: int, width: int, size: int, generator: torch.Generator) -> Parameters:
    """Draw the parameters of `count` views of images of one size.

    Args:
        config: what to draw.
        count: number of views.
        height: of the source images, pixels.
        width: of the source images, pixels.
        size: side of the views, pixels.
        generator: on the CPU, such as `common.randomness.generator(seed, "views", round, step)`.

    Raises:
        InputError: the views do not fit the padded image, or the blur's kernel does not fit the views.
    """
    uniform_NU = draw_uniform(count, generator)
    heights_N, widths_N = torch.full((count,), height), torch.full((count,), width)
    return parameters(config, uniform_NU, draw_boxes(config, uniform_NU, heights_N, widths_N, size), size)


def draw_uniform(count: int, generator: torch.Generator) -> torch.Tensor:
    """Draw all the randomness of `count` views: float64 (count, U), uniform in [0, 1)."""
    return torch.rand(count, sum(_COLUMNS.values()), generator=generator, dtype=torch.float64)


def draw_boxes(
    config: AugmentConfig, uniform_NU: torch.Tensor, height_N: torch.Tensor, width_N: torch.Tensor, size: int
) -> torch.Tensor:
    """Turn uniform numbers into crops of images that may differ in size.

    Args:
        config: what to draw.
        uniform_NU: from `draw_uniform`.
        height_N: int64, of the source images, pixels.
        width_N: int64.
        size: side of the views, pixels.

    Returns:
        int64 (N, 4): top, left, height, width.

    Raises:
        InputError: the views do not fit the padded image.
    """
    u = _columns(uniform_NU)
    if config.pad is None:
        return _resized_crop(config, u["area"], u["ratio"], u["place"], torch.stack([height_N, width_N], dim=1))
    return _padded_crop(config.pad, u["place"], torch.stack([height_N, width_N], dim=1), size)


def parameters(config: AugmentConfig, uniform_NU: torch.Tensor, box_N4: torch.Tensor, size: int) -> Parameters:
    """Turn uniform numbers into what is done to each view after its crop.

    Args:
        config: what to draw.
        uniform_NU: from `draw_uniform`.
        box_N4: the crops, from `draw_boxes`.
        size: side of the views, pixels.

    Raises:
        InputError: the blur's kernel does not fit the views.
    """
    if config.blur_probability > 0 and config.blur_kernel // 2 >= size:
        raise InputError(
            f"augment.blur_kernel: {config.blur_kernel} does not fit views of {size} px, expected at most {2 * size - 1}"
        )
    u = _columns(uniform_NU)
    strengths = (config.brightness, config.contrast, config.saturation, config.hue)
    active = torch.tensor([operation for operation, strength in enumerate(strengths) if strength > 0], dtype=torch.int64)
    low, high = config.blur_sigma
    return Parameters(
        size=size,
        box=box_N4,
        flip=u["flip"][:, 0] < config.flip,
        jitter=u["jitter"][:, 0] < (config.jitter_probability if len(active) else 0.0),
        order=active[u["order"][:, : len(active)].argsort(dim=1)],
        factor=_factors(strengths, u["factor"]),
        gray=u["gray"][:, 0] < config.gray_probability,
        blur=u["blur"][:, 0] < config.blur_probability,
        sigma=(low + (high - low) * u["sigma"][:, 0]).float(),
        blur_kernel=config.blur_kernel,
    )


def _columns(uniform_NU: torch.Tensor) -> dict[str, torch.Tensor]:
    return dict(zip(_COLUMNS, uniform_NU.split(list(_COLUMNS.values()), dim=1), strict=True))


def _resized_crop(
    config: AugmentConfig, area_NA: torch.Tensor, ratio_NA: torch.Tensor, place_N2: torch.Tensor, image_N2: torch.Tensor
) -> torch.Tensor:
    """Return boxes as torchvision's RandomResizedCrop: ten attempts at an area and a ratio, else the central crop."""
    (small, large), (narrow, wide) = config.crop_scale, config.crop_ratio
    height_N1, width_N1 = image_N2.split(1, dim=1)
    target_NA = height_N1 * width_N1 * (small + (large - small) * area_NA)
    aspect_NA = torch.exp(math.log(narrow) + (math.log(wide) - math.log(narrow)) * ratio_NA)
    width_NA, height_NA = torch.sqrt(target_NA * aspect_NA).round(), torch.sqrt(target_NA / aspect_NA).round()
    fits_NA = (width_NA > 0) & (width_NA <= width_N1) & (height_NA > 0) & (height_NA <= height_N1)
    first_N1 = (fits_NA * torch.arange(_ATTEMPTS, 0, -1)).argmax(dim=1, keepdim=True)
    size_N2 = torch.cat([height_NA.gather(1, first_N1), width_NA.gather(1, first_N1)], dim=1).long()
    corner_N2 = (place_N2 * (image_N2 - size_N2 + 1)).long()
    box_N4 = torch.cat([corner_N2, size_N2], dim=1)
    return torch.where(fits_NA.any(dim=1, keepdim=True), box_N4, _central_box(config, image_N2))


def _central_box(config: AugmentConfig, image_N2: torch.Tensor) -> torch.Tensor:
    """Return the largest central boxes whose ratio is allowed, (N, 4)."""
    narrow, wide = config.crop_ratio
    height_N, width_N = image_N2.double().unbind(dim=1)
    ratio_N = width_N / height_N
    box_height_N = torch.where(ratio_N < narrow, (width_N / narrow).round(), height_N)
    box_width_N = torch.where(ratio_N > wide, (height_N * wide).round(), width_N)
    size_N2 = torch.stack([box_height_N, box_width_N], dim=1).long()
    return torch.cat([(image_N2 - size_N2) // 2, size_N2], dim=1)


def _padded_crop(pad: int, place_N2: torch.Tensor, image_N2: torch.Tensor, size: int) -> torch.Tensor:
    """Return boxes of side `size` anywhere on the zero-padded images, in coordinates of the unpadded ones."""
    if size > int(image_N2.min()) + 2 * pad:
        height, width = image_N2[int(image_N2.min(dim=1).values.argmin())].tolist()
        raise InputError(f"augment.pad: {pad} is too little to cut views of {size} px from images of {height} x {width} px")
    room_N2 = image_N2 + 2 * pad - size
    corner_N2 = (place_N2 * (room_N2 + 1)).long() - pad
    return torch.cat([corner_N2, torch.full_like(corner_N2, size)], dim=1)


def _factors(strengths: tuple[float, float, float, float], uniform_N4: torch.Tensor) -> torch.Tensor:
    """Return float32 (N, 4): brightness, contrast and saturation around 1 and not below 0, hue around 0."""
    low_4 = torch.tensor([max(0.0, 1 - strength) for strength in strengths[:3]] + [-strengths[HUE]], dtype=torch.float64)
    high_4 = torch.tensor([1 + strength for strength in strengths[:3]] + [strengths[HUE]], dtype=torch.float64)
    return (low_4 + (high_4 - low_4) * uniform_N4).float()
