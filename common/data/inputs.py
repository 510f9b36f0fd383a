"""The input specification: what a network expects of its pixels. It travels with weights and tickets."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from common.errors import InputError

if TYPE_CHECKING:
    import torch

NORMALISATIONS = {
    "unit": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "half": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "cifar100_pixels": ((0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)),
}
"""Mean and standard deviation, per channel, that published weights and protocols expect of pixels in [0, 1].

The last is over all pixels of CIFAR-100 (the sparse-transfer study); the catalogue's deviations are means of each image's own.
"""

_COMPARED = ("channels", "range", "mean", "std")
_TOLERANCE = 1e-6


@dataclass(frozen=True)
class InputSpec:
    """Channel count, value range and normalisation of a network's input.

    Attributes:
        size: side in pixels, or None where any size will do; recorded, never compared.
        channels: number of channels, in the order red, green, blue where there are three.
        range: values that black and white have before mean and std are applied, such as (0, 1) or (0, 255).
        mean: subtracted per channel, in units of `range`.
        std: divided by per channel, > 0.
        interpolation: how images were resized, such as "bilinear"; recorded, never compared.
    """

    size: int | None
    channels: int
    range: tuple[float, float]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str | None

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in dataclasses.asdict(self).items()}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> InputSpec:
        """Read what `to_json` wrote.

        Raises:
            InputError: a field is missing, unknown, of the wrong type or out of its range.
        """
        names = {item.name for item in dataclasses.fields(cls)}
        if not isinstance(value, Mapping) or set(value) != names:
            raise InputError(f"input specification: got {value!r}, expected the fields {', '.join(sorted(names))}")
        size, channels, interpolation = value["size"], value["channels"], value["interpolation"]
        _check(size is None or (_is_integer(size) and size >= 1), "size", size, "pixels >= 1, or null")
        _check(_is_integer(channels) and channels >= 1, "channels", channels, "an integer >= 1")
        _check(interpolation is None or isinstance(interpolation, str), "interpolation", interpolation, "text or null")
        low, high = _numbers("range", value["range"], 2)
        _check(low < high, "range", value["range"], "[low, high] with low < high")
        mean, std = _numbers("mean", value["mean"], channels), _numbers("std", value["std"], channels)
        _check(min(std) > 0, "std", value["std"], "numbers > 0")
        return cls(size, channels, (low, high), mean, std, interpolation)

    def mismatch(self, other: InputSpec) -> str | None:
        """Return one line that names the fields in which `other` differs, or None; size and interpolation do not count."""
        differing = [
            f"{name} {_text(getattr(self, name))} against {_text(getattr(other, name))}"
            for name in _COMPARED
            if not _close(getattr(self, name), getattr(other, name))
        ]
        return "; ".join(differing) or None

    def normalise(self, images_NCHW: torch.Tensor) -> torch.Tensor:
        """Turn pixels into network input, in batch, on their own device.

        Args:
            images_NCHW: uint8 in [0, 255], or floating point in [0, 1] (what augmentation returns).

        Returns:
            float32 (N, C, H, W): (pixels scaled into `range` - mean) / std.

        Raises:
            InputError: another number of channels than the specification's.
        """
        import torch

        scale_C11, shift_C11 = self._affine_for(images_NCHW)
        return torch.addcmul(shift_C11, images_NCHW.to(torch.float32), scale_C11)

    def normalise_(self, images_NCHW: torch.Tensor) -> torch.Tensor:
        """Turn pixels in [0, 1], float32, into network input in their own memory, and return them; errors as `normalise`."""
        import torch

        scale_C11, shift_C11 = self._affine_for(images_NCHW)
        return torch.addcmul(shift_C11, images_NCHW, scale_C11, out=images_NCHW)

    def _affine_for(self, images_NCHW: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return what pixels are multiplied by, and what is then added."""
        import torch

        if images_NCHW.ndim != 4 or images_NCHW.shape[1] != self.channels:
            raise InputError(f"images of shape {tuple(images_NCHW.shape)}, expected (N, {self.channels}, H, W)")
        white = 255.0 if images_NCHW.dtype == torch.uint8 else 1.0
        return _affine(self, white, images_NCHW.device)


def rgb(size: int | None, mean: tuple[float, ...], std: tuple[float, ...], interpolation: str | None = None) -> InputSpec:
    """Return the specification of RGB images in [0, 1]."""
    return InputSpec(size, 3, (0.0, 1.0), mean, std, interpolation)


IMAGENET_INPUT = InputSpec(224, 3, (0.0, 1.0), *NORMALISATIONS["imagenet"], "bilinear")
UNIT_INPUT = InputSpec(224, 3, (0.0, 1.0), *NORMALISATIONS["unit"], None)


def accept_input(what: str, expects: Mapping[str, Any] | None, given: InputSpec, *, accept_mismatch: bool) -> tuple[str, ...]:
    """Compare the input that weights expect with the one that data give.

    Args:
        what: the weights' file, for the message.
        expects: their recorded specification; None where the file records none, which is taken on trust.
        given: the data's.
        accept_mismatch: go on although they differ.

    Returns:
        Flags for the result: ("input_mismatch",) where they differ and that is accepted, else ().

    Raises:
        InputError: they differ (size and interpolation aside), or the recorded one is not valid.
    """
    difference = InputSpec.from_json(expects).mismatch(given) if expects is not None else None
    if difference is None:
        return ()
    if not accept_mismatch:
        raise InputError(
            f"{what} expects another input than the data give: {difference}; "
            f"set data.input to what the weights expect, or data.accept_input_mismatch true, which flags the result"
        )
    return ("input_mismatch",)


@functools.lru_cache(maxsize=64)
def _affine(spec: InputSpec, white: float, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Return scale and shift per channel; kept, because making them on a GPU at every step would wait for the GPU."""
    import torch

    low, high = spec.range
    with torch.inference_mode(False):
        std_C = torch.tensor(spec.std, dtype=torch.float64)
        scale_C = (high - low) / white / std_C
        shift_C = (low - torch.tensor(spec.mean, dtype=torch.float64)) / std_C
        return tuple(x_C.to(device, torch.float32).view(-1, 1, 1) for x_C in (scale_C, shift_C))  # type: ignore[return-value]


def _check(holds: bool, field: str, got: object, expected: str) -> None:
    if not holds:
        raise InputError(f"input specification: {field} is {got!r}, expected {expected}")


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _numbers(field: str, value: object, count: int) -> tuple[float, ...]:
    """Return `value` as `count` finite floats."""
    valid = isinstance(value, (list, tuple)) and len(value) == count
    valid = valid and all(isinstance(x, (int, float)) and not isinstance(x, bool) and math.isfinite(x) for x in value)  # type: ignore[attr-defined]
    _check(valid, field, value, f"{count} finite numbers")
    return tuple(float(x) for x in value)  # type: ignore[attr-defined]


def _close(first: Any, second: Any) -> bool:
    if isinstance(first, tuple):
        return len(first) == len(second) and all(map(_close, first, second))
    return math.isclose(first, second, rel_tol=0, abs_tol=_TOLERANCE)


def _text(value: Any) -> str:
    return f"({', '.join(f'{x:g}' for x in value)})" if isinstance(value, tuple) else str(value)
