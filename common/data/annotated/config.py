"""The configuration groups of annotated data: which images, and how they are varied jointly with what is annotated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from common.option import option, require


@dataclass(frozen=True)
class AnnotatedDataConfig:
    """Which annotated images."""

    name: str = option("digit_scenes:6-9", "data set (see --list), with an optional class subset where it takes one")
    root: str | None = option(None, "folder that holds the data set", identity=False)
    download: bool = option(False, "fetch a torchvision data set that is not in data.root", identity=False)
    classes: tuple[str, ...] = option((), "sets of your own: the names of the classes, in order; none: all that are annotated")
    size: tuple[int, ...] = option((), "height and width in pixels that a network sees, or one side; none: the set's own")
    workers: int | None = option(
        None,
        "processes that read and vary images for each training process; 0: none; null: its share of the cores, at most 16",
        identity=False,
    )
    memory: bool = option(False, "keep decoded images in memory, at the size of the files", identity=False)
    skip_unreadable: bool = option(
        False, "leave images out that cannot be read, and record them; false: they are an error", identity=False
    )
    input: Literal["own", "unit", "imagenet", "half"] = option(
        "own",
        "how pixels in [0, 1] are normalised, to match given weights: own: the data set's mean and std; unit: not at all; "
        "imagenet: ImageNet's mean and std; half: (x - .5) / .5",
    )
    accept_input_mismatch: bool = option(False, "use a ticket whose input specification differs; the result is flagged")

    def __post_init__(self) -> None:
        require(bool(self.name), "data.name", self.name, "the name of a data set (see --list)")
        is_size = len(self.size) <= 2 and all(side >= 1 for side in self.size)
        require(is_size, "data.size", list(self.size), "[height, width] or [side] in pixels, >= 1, or nothing")
        require(self.workers is None or self.workers >= 0, "data.workers", self.workers, "a number of processes >= 0, or null")
        require(len(set(self.classes)) == len(self.classes), "data.classes", list(self.classes), "different names")


@dataclass(frozen=True)
class JointAugmentConfig:
    """How training images are varied, with boxes, masks, keypoints and label maps.

    A mosaic comes first, the mixing of two images, each varied by itself, last; all others in this order: crop, translate, scale
    with letter-box or window, flip, colour, blur.
    """

    mosaic: float = option(0.0, "probability of a mosaic of four images (Bochkovskiy et al. 2020), in [0, 1]")
    mixup: float = option(0.0, "probability of mixing with another image, weights Beta(1.5, 1.5) (Zhang et al. 2018), in [0, 1]")
    scale: tuple[float, float] = option(
        (1.0, 1.0), "range of a random scale, 0 < low <= high: of the image letter-boxed, or as it is with augment.window"
    )
    crop: float = option(0.0, "probability of a random crop that cuts no box, in [0, 1]")
    translate: float = option(0.0, "probability of a random shift that cuts no box, in [0, 1]")
    window: bool = option(False, "a random window of the network's size, padded where the image is smaller; else letter-boxed")
    flip: float = option(0.0, "probability of a horizontal flip, in [0, 1]")
    colour: float = option(0.0, "probability of a colour jitter, in [0, 1]")
    brightness: float = option(0.4, "colour jitter: largest change of brightness, >= 0")
    contrast: float = option(0.4, "colour jitter: largest change of contrast, >= 0")
    saturation: float = option(0.4, "colour jitter: largest change of saturation, >= 0")
    hue: float = option(0.1, "colour jitter: largest change of hue, in [0, 0.5]")
    blur: float = option(0.0, "probability of a Gaussian blur, in [0, 1]")
    sizes: tuple[int, ...] = option((), "multi-scale training: sides in pixels, one is drawn for every batch; none: data.size")

    def __post_init__(self) -> None:
        for name in ("mosaic", "mixup", "crop", "translate", "flip", "colour", "blur"):
            require(0 <= getattr(self, name) <= 1, f"augment.{name}", getattr(self, name), "a probability in [0, 1]")
        low, high = self.scale
        require(0 < low <= high, "augment.scale", list(self.scale), "[low, high] with 0 < low <= high")
        for name in ("brightness", "contrast", "saturation"):
            require(getattr(self, name) >= 0, f"augment.{name}", getattr(self, name), "a number >= 0")
        require(0 <= self.hue <= 0.5, "augment.hue", self.hue, "a number in [0, 0.5]")
        require(all(side >= 1 for side in self.sizes), "augment.sizes", list(self.sizes), "sides in pixels, >= 1")

    @property
    def jitters(self) -> bool:
        """Whether colours change at all."""
        return self.colour > 0 and any((self.brightness, self.contrast, self.saturation, self.hue))
