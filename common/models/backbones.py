"""Backbones by name: our small ResNets, and every timm model, all under torchvision's (timm's) names of weights."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any

from torch import Tensor, nn

from common.errors import InputError
from common.models.names import OWN
from common.models.resnet import SmallResNet
from common.randomness import seeded

DIGITS_WIDTHS = (16, 24, 40, 64)


class Pixels(nn.Module):
    """The backbone without weights: images as vectors."""

    def __init__(self, in_chans: int, size: int) -> None:
        super().__init__()
        self.num_features = in_chans * size * size

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """Return (N, C * H * W)."""
        return x_NCHW.flatten(1)


def build_backbone(
    name: str, *, stem: str = "native", in_chans: int = 3, seed: int = 0, stream: str = "init", size: int | None = None
) -> nn.Module:
    """Build a backbone with fresh random weights.

    Args:
        name: `resnet_digits`, a CIFAR ResNet (`resnet20`, `resnet20_a` ...), `pixels`, or a timm model (`resnet18` ...).
        stem: "3x3" (stride 1, no max-pool), "7x7" (ImageNet's), or "native" (the model's own).
        in_chans: image channels.
        seed: seed of the initialisation, >= 0; torch's global generator is left as it was.
        stream: name of the stream of draws. Tasks draw fresh weights from another stream than searches do: else the control
            `reinit` with the search's seed would be the search's own initialisation.
        size: side of the images in pixels; only `pixels` needs it.

    Returns:
        A module that maps float images (N, in_chans, H, W) to pooled features (N, num_features), with attributes `num_features`
        and `arch` ({"name", "stem", "in_chans", "variant"}).

    Raises:
        InputError: unknown name, or a stem that the model cannot have.
    """
    with seeded(seed, stream):
        backbone, own_stem = _build(name, stem, in_chans, size)
    backbone.arch = {"name": name, "stem": own_stem, "in_chans": in_chans, "variant": None}  # type: ignore[assignment]
    return backbone


def _build(name: str, stem: str, in_chans: int, size: int | None) -> tuple[nn.Module, str]:
    """Return the module and the stem that it really has."""
    if name not in OWN:
        return _timm(name, stem, in_chans)
    if name == "pixels":
        if size is None:
            raise InputError("backbone pixels needs images of one size; this data set has none")
        return Pixels(in_chans, size), "native"
    if stem == "7x7":
        raise InputError(f"model.stem: got '7x7', expected '3x3' or 'native' for {name}, which is made for small images")
    if name == "resnet_digits":
        return SmallResNet(DIGITS_WIDTHS, 1, in_chans, "B"), "3x3"
    depth, _, option = name.removeprefix("resnet").partition("_")
    return SmallResNet((16, 32, 64), (int(depth) - 2) // 6, in_chans, "A" if option else "B"), "3x3"


def _timm(name: str, stem: str, in_chans: int) -> tuple[nn.Module, str]:
    import timm

    if not timm.is_model(name):
        raise InputError(f"unknown backbone {name!r}; known: {', '.join(OWN)}, and any timm model{_meant(name)}")
    model: Any = timm.create_model(name, num_classes=0, in_chans=in_chans)
    conv: Any = getattr(model, "conv1", None)
    native = (
        f"{conv.kernel_size[0]}x{conv.kernel_size[1]}" if isinstance(conv, nn.Conv2d) and hasattr(model, "maxpool") else "native"
    )
    if stem in ("native", native):
        return model, native
    if stem != "3x3" or native == "native":
        raise InputError(
            f"model.stem: got {stem!r}, expected 'native'{'' if native == 'native' else f', 3x3 or {native!r}'} for {name}"
        )
    model.conv1 = nn.Conv2d(in_chans, conv.out_channels, 3, 1, 1, bias=False)
    nn.init.kaiming_normal_(model.conv1.weight, mode="fan_out", nonlinearity="relu")
    model.maxpool = nn.Identity()
    return model, "3x3"


def _meant(name: str) -> str:
    import timm

    close = get_close_matches(name, [*OWN, *timm.list_models()], n=3)
    return f" (did you mean {' or '.join(close)}?)" if close else ""
