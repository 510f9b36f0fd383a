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
    """Draw the parameters of `count` views.

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
    if config.blur_probability > 0 and config.blur_kernel // 2 >= size:
        raise InputError(
            f"augment.blur_kernel: {config.blur_kernel} does not fit views of {size} px, expected at most {2 * size - 1}"
        )
    total = sum(_COLUMNS.values())
    columns = torch.rand(count, total, generator=generator, dtype=torch.float64).split(list(_COLUMNS.values()), dim=1)
    u = dict(zip(_COLUMNS, columns, strict=True))
    if config.pad is None:
        box_N4 = _resized_crop(config, u["area"], u["ratio"], u["place"], height, width)
    else:
        box_N4 = _padded_crop(config.pad, u["place"], height, width, size)
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


def _resized_crop(
    config: AugmentConfig, area_NA: torch.Tensor, ratio_NA: torch.Tensor, place_N2: torch.Tensor, height: int, width: int
) -> torch.Tensor:
    """Return boxes as torchvision's RandomResizedCrop: ten attempts at an area and a ratio, else the central crop."""
    (small, large), (narrow, wide) = config.crop_scale, config.crop_ratio
    target_NA = height * width * (small + (large - small) * area_NA)
    aspect_NA = torch.exp(math.log(narrow) + (math.log(wide) - math.log(narrow)) * ratio_NA)
    width_NA, height_NA = torch.sqrt(target_NA * aspect_NA).round(), torch.sqrt(target_NA / aspect_NA).round()
    fits_NA = (width_NA > 0) & (width_NA <= width) & (height_NA > 0) & (height_NA <= height)
    first_N1 = (fits_NA * torch.arange(_ATTEMPTS, 0, -1)).argmax(dim=1, keepdim=True)
    size_N2 = torch.cat([height_NA.gather(1, first_N1), width_NA.gather(1, first_N1)], dim=1).long()
    room_N2 = torch.tensor([height, width]) - size_N2
    corner_N2 = (place_N2 * (room_N2 + 1)).long()
    box_N4 = torch.cat([corner_N2, size_N2], dim=1)
    return torch.where(fits_NA.any(dim=1, keepdim=True), box_N4, _central_box(config, height, width))


def _central_box(config: AugmentConfig, height: int, width: int) -> torch.Tensor:
    """Return the largest central box whose ratio is allowed, (4,)."""
    narrow, wide = config.crop_ratio
    box_height, box_width = height, width
    if width / height < narrow:
        box_height = round(width / narrow)
    elif width / height > wide:
        box_width = round(height * wide)
    return torch.tensor([(height - box_height) // 2, (width - box_width) // 2, box_height, box_width])


def _padded_crop(pad: int, place_N2: torch.Tensor, height: int, width: int, size: int) -> torch.Tensor:
    """Return boxes of side `size` anywhere on the zero-padded image, in coordinates of the unpadded one."""
    if size > min(height, width) + 2 * pad:
        raise InputError(f"augment.pad: {pad} is too little to cut views of {size} px from images of {height} x {width} px")
    room_2 = torch.tensor([height, width]) + 2 * pad - size
    corner_N2 = (place_N2 * (room_2 + 1)).long() - pad
    return torch.cat([corner_N2, torch.full_like(corner_N2, size)], dim=1)


def _factors(strengths: tuple[float, float, float, float], uniform_N4: torch.Tensor) -> torch.Tensor:
    """Return float32 (N, 4): brightness, contrast and saturation around 1 and not below 0, hue around 0."""
    low_4 = torch.tensor([max(0.0, 1 - strength) for strength in strengths[:3]] + [-strengths[HUE]], dtype=torch.float64)
    high_4 = torch.tensor([1 + strength for strength in strengths[:3]] + [strengths[HUE]], dtype=torch.float64)
    return (low_4 + (high_4 - low_4) * uniform_N4).float()
