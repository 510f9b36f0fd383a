"""Decoders of segmentation-models-pytorch that take a list of maps, given those that each can use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from common.errors import InputError
from Segmentation.config import DecoderConfig
from Segmentation.decoders import Decoder, DeepLabV3Plus
from Segmentation.stages import Stage


@dataclass(frozen=True)
class _Kind:
    """One decoder of the library.

    Attributes:
        build: (channels of every entry of its list, settings) -> module.
        channels: (width, number of maps) -> channels of what it returns.
        maps: stages -> which of them it is given, in order.
        before: entries of its list before them, which it only takes the size of.
        first: side of such an entry over that of the first map.
        doubles: it doubles the side from map to map, so every map must have half the side of the one before.
        ends: side of what it returns over that of the first map.
        least: the fewest maps that it can be built of.
    """

    build: Callable[[list[int], DecoderConfig], nn.Module]
    channels: Callable[[int, int], int]
    maps: Callable[[Sequence[Stage]], list[int]]
    before: int = 0
    first: int = 1
    doubles: bool = False
    ends: int = 1
    least: int = 1


class ListDecoder(Decoder):
    """A decoder of the library that takes a list of maps.

    Args:
        stages: of the backbone.
        settings: which, and how wide.

    Raises:
        InputError: the backbone has not the maps that it needs, or it cannot be built at this width.
    """

    def __init__(self, stages: Sequence[Stage], settings: DecoderConfig) -> None:
        super().__init__()
        self._kind = kind = _KINDS[settings.name]
        self._chosen = kind.maps(stages)
        if len(self._chosen) < kind.least:
            needs = f"needs maps of {kind.least} strides or more{' below the image' if kind.ends == 2 else ''}"
            raise InputError(f"decoder.name: {settings.name} {needs}, and the backbone has {len(self._chosen)}")
        self._strides = [stages[number].stride for number in self._chosen]
        if kind.doubles and [2 * stride for stride in self._strides[:-1]] != self._strides[1:]:
            raise InputError(f"decoder.name: {settings.name} needs strides that double, and the backbone's are {self._strides}")
        self.channels = kind.channels(settings.width, len(self._chosen))
        own = [stages[number].channels for number in self._chosen]
        try:
            self.decoder = kind.build([0] * kind.before + own, settings)
        except (ValueError, IndexError, RuntimeError) as error:  # the library's constructors check in many ways, or fail
            why = " ".join(str(error).split())
            raise InputError(
                f"decoder.name: {settings.name} cannot be built of {len(own)} maps of strides {self._strides} at width "
                f"{settings.width}: {why}; choose a greater decoder.width or deeplabv3plus"
            ) from error

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Return (B, channels, H, W), of the size that its kind ends at."""
        kind, chosen = self._kind, [maps[number] for number in self._chosen]
        height, width = chosen[0].shape[-2:]
        if kind.doubles:
            chosen = _padded(chosen)
        top, left = (side * kind.first for side in chosen[0].shape[-2:])
        sized = [chosen[0].new_zeros(()).expand(1, 1, top, left)] * kind.before
        out_BCHW = self.decoder([*sized, *chosen])
        return out_BCHW[..., : height * kind.ends, : width * kind.ends]


def _padded(maps: Sequence[Tensor]) -> list[Tensor]:
    """Pad maps, the greatest first, so that each has exactly twice the side of the next."""
    last = len(maps) - 1
    sides = [max(-(-each.shape[axis] // 2 ** (last - n)) for n, each in enumerate(maps)) for axis in (-2, -1)]
    padded = []
    for number, each in enumerate(maps):
        more = [side * 2 ** (last - number) - each.shape[axis] for side, axis in zip(sides, (-2, -1), strict=True)]
        padded.append(functional.pad(each, (0, more[1], 0, more[0]), mode="replicate") if any(more) else each)
    return padded


def _deepest(stages: Sequence[Stage]) -> list[int]:
    """Return, of every stride, the last stage that has it."""
    return sorted({stage.stride: number for number, stage in enumerate(stages)}.values())


def _below_the_image(stages: Sequence[Stage]) -> list[int]:
    """Return the same without a map of the image's own size, which these decoders end at."""
    return [number for number in _deepest(stages) if stages[number].stride > 1]


def _last_four(stages: Sequence[Stage]) -> list[int]:
    return _deepest(stages)[-4:]


def _last(stages: Sequence[Stage]) -> list[int]:
    return [len(stages) - 1]


def _without_stem(stages: Sequence[Stage]) -> list[int]:
    return list(range(1, len(stages)))


def _library(module: str) -> Any:
    import importlib

    return importlib.import_module(f"segmentation_models_pytorch.decoders.{module}.decoder")


def _widths(width: int, blocks: int) -> list[int]:
    """Return U-Net's widths: 256, 128, 64, 32, 16 at a width of 256."""
    return [max(8, width >> number) for number in range(blocks)]


def _unet(channels: list[int], settings: DecoderConfig) -> nn.Module:
    blocks = len(channels) - 1
    return _library("unet").UnetDecoder(channels, _widths(settings.width, blocks), n_blocks=blocks)


def _unetplusplus(channels: list[int], settings: DecoderConfig) -> nn.Module:
    blocks = len(channels) - 1
    return _library("unetplusplus").UnetPlusPlusDecoder(channels, _widths(settings.width, blocks), n_blocks=blocks)


def _manet(channels: list[int], settings: DecoderConfig) -> nn.Module:
    blocks = len(channels) - 1
    return _library("manet").MAnetDecoder(channels, _widths(settings.width, blocks), n_blocks=blocks)


def _linknet(channels: list[int], settings: DecoderConfig) -> nn.Module:
    final = _linknet_channels(settings.width, len(channels) - 1)
    return _library("linknet").LinknetDecoder(channels, prefinal_channels=final, n_blocks=len(channels) - 1)


def _fpn(channels: list[int], settings: DecoderConfig) -> nn.Module:
    return _library("fpn").FPNDecoder(
        channels, pyramid_channels=settings.width, segmentation_channels=settings.width // 2, dropout=settings.dropout
    )


def _pspnet(channels: list[int], settings: DecoderConfig) -> nn.Module:
    return _library("pspnet").PSPDecoder(channels, out_channels=settings.width, dropout=settings.dropout)


def _upernet(channels: list[int], settings: DecoderConfig) -> nn.Module:
    return _library("upernet").UPerNetDecoder(channels, encoder_depth=5, decoder_channels=settings.width)


def _segformer(channels: list[int], settings: DecoderConfig) -> nn.Module:
    return _library("segformer").SegformerDecoder(channels, segmentation_channels=settings.width)


def _deeplabv3(channels: list[int], settings: DecoderConfig) -> nn.Module:
    library = _library("deeplabv3")
    return library.DeepLabV3Decoder(channels[-1], settings.width, settings.rates, settings.separable, settings.dropout)


def _width(width: int, maps: int) -> int:
    return width


def _half_width(width: int, maps: int) -> int:
    return width // 2


def _unet_channels(width: int, maps: int) -> int:
    return _widths(width, maps)[-1]


def _linknet_channels(width: int, maps: int) -> int:
    return max(8, width // 8)


_KINDS = {
    "deeplabv3": _Kind(_deeplabv3, _width, _last),
    "unet": _Kind(_unet, _unet_channels, _below_the_image, before=1, first=2, doubles=True, ends=2),
    "unetplusplus": _Kind(_unetplusplus, _unet_channels, _below_the_image, before=1, first=2, doubles=True, ends=2, least=2),
    "manet": _Kind(_manet, _unet_channels, _below_the_image, before=1, first=2, doubles=True, ends=2),
    "linknet": _Kind(_linknet, _linknet_channels, _below_the_image, before=1, first=2, doubles=True, ends=2),
    "fpn": _Kind(_fpn, _half_width, _last_four, doubles=True, least=4),
    "pspnet": _Kind(_pspnet, _width, _last),
    "upernet": _Kind(_upernet, _width, _without_stem, before=2),
    "segformer": _Kind(_segformer, _width, _without_stem, before=1, first=4),
}


def build_decoder(stages: Sequence[Stage], settings: DecoderConfig) -> Decoder:
    """Build a decoder for a backbone's stages, initialised by the library's rule from torch's global generator.

    Raises:
        InputError: the backbone has not the maps that the decoder needs, or it cannot be built at this width.
    """
    from segmentation_models_pytorch.base.initialization import initialize_decoder

    made = (DeepLabV3Plus if settings.name == "deeplabv3plus" else ListDecoder)(stages, settings)
    initialize_decoder(made)
    return made
