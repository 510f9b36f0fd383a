"""How training images are varied: the options, without the code that applies them (this module imports no torch)."""

from __future__ import annotations

from dataclasses import dataclass

from common.config import option, require


@dataclass(frozen=True)
class AugmentConfig:
    """Options of the batched augmentation, applied in the order crop, flip, colour jitter, grayscale, blur.

    The defaults are those of Chen et al. 2020 (SimCLR) for CIFAR-10, appendix B.9: strength 0.5, no blur.
    """

    crop_scale: tuple[float, float] = option((0.08, 1.0), "random resized crop: range of the area, as a fraction of the image's")
    crop_ratio: tuple[float, float] = option((3 / 4, 4 / 3), "random resized crop: range of width / height")
    pad: int | None = option(None, "random crop without resizing after this zero padding, in pixels; null: random resized crop")
    flip: float = option(0.5, "probability of a horizontal flip")
    jitter_probability: float = option(0.8, "probability of colour jitter")
    brightness: float = option(0.4, "colour jitter: brightness factor in [1 - x, 1 + x], cut at 0; 0: none")
    contrast: float = option(0.4, "colour jitter: contrast factor in [1 - x, 1 + x], cut at 0; 0: none")
    saturation: float = option(0.4, "colour jitter: saturation factor in [1 - x, 1 + x], cut at 0; 0: none")
    hue: float = option(0.1, "colour jitter: hue moves by [-x, x] of a full turn, x <= 0.5; 0: none")
    gray_probability: float = option(0.2, "probability of losing colour")
    blur_probability: float = option(0.0, "probability of a Gaussian blur")
    blur_sigma: tuple[float, float] = option((0.1, 2.0), "range of the blur's standard deviation, in pixels of the view")
    blur_kernel: int = option(23, "side of the blur's kernel in pixels, odd (SimCLR: a tenth of the view's side)")

    def __post_init__(self) -> None:
        require(
            _ascending(self.crop_scale) and self.crop_scale[1] <= 1,
            "augment.crop_scale",
            self.crop_scale,
            "[low, high], 0 < low <= high <= 1",
        )
        require(_ascending(self.crop_ratio), "augment.crop_ratio", self.crop_ratio, "[low, high], 0 < low <= high")
        require(_ascending(self.blur_sigma), "augment.blur_sigma", self.blur_sigma, "[low, high], 0 < low <= high")
        require(self.pad is None or self.pad >= 0, "augment.pad", self.pad, "pixels >= 0, or null")
        for name in ("flip", "jitter_probability", "gray_probability", "blur_probability"):
            require(0 <= getattr(self, name) <= 1, f"augment.{name}", getattr(self, name), "a probability in [0, 1]")
        for name in ("brightness", "contrast", "saturation"):
            require(getattr(self, name) >= 0, f"augment.{name}", getattr(self, name), "a number >= 0")
        require(0 <= self.hue <= 0.5, "augment.hue", self.hue, "a fraction of a turn in [0, 0.5]")
        require(
            self.blur_kernel >= 1 and self.blur_kernel % 2 == 1, "augment.blur_kernel", self.blur_kernel, "an odd integer >= 1"
        )

    @property
    def jitters(self) -> bool:
        """Whether colours change at all."""
        return self.jitter_probability > 0 and any((self.brightness, self.contrast, self.saturation, self.hue))


def _ascending(bounds: tuple[float, ...]) -> bool:
    return len(bounds) == 2 and 0 < bounds[0] <= bounds[1]
