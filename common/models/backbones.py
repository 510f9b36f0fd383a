"""Backbones by name: our small ResNets, and every timm model, all under torchvision's (timm's) names of weights."""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from common.errors import InputError
from common.models.features import evaluating
from common.models.names import OWN
from common.models.resnet import SmallResNet
from common.models.variants import VARIANTS, make_variant_
from common.models.width import narrow_timm, narrowed
from common.randomness import seeded

if TYPE_CHECKING:
    from common.config import ModelConfig

DIGITS_WIDTHS = (16, 24, 40, 64)
_PATCH, _WIDTH = "patch", "width"
_VARIANT = re.compile(rf"|{_PATCH}(?P<patch>\d+)|{_WIDTH}(?P<width>\d+(\.\d+)?([eE]-\d+)?)")


class Pixels(nn.Module):
    """The backbone without weights: images as vectors."""

    def __init__(self, in_chans: int, size: int) -> None:
        super().__init__()
        self.num_features = in_chans * size * size

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """Return (N, C * H * W)."""
        return x_NCHW.flatten(1)


def build_backbone(
    name: str,
    *,
    stem: str = "native",
    in_chans: int = 3,
    seed: int = 0,
    stream: str = "init",
    size: int | None = None,
    patch: int | None = None,
    width: float = 1.0,
    variant: str | None = None,
) -> nn.Module:
    """Build a backbone with fresh random weights.

    Args:
        name: `resnet_digits`, a CIFAR ResNet (`resnet20`, `resnet20_a` ...), `pixels`, or a timm model (`resnet18` ...).
        stem: "3x3" (stride 1, no max-pool), "7x7" (ImageNet's), or "native" (the model's own; a ViT's is its patch embedding).
        in_chans: image channels.
        seed: seed of the initialisation, >= 0; torch's global generator is left as it was.
        stream: name of the stream of draws. Tasks draw fresh weights from another stream than searches do: else the control
            `reinit` with the search's seed would be the search's own initialisation.
        size: side of the images in pixels; needed by `pixels` and by timm models of one image size (ViTs, Swin, MLP-Mixers).
        patch: side of a ViT's patches in pixels; None: the model's own.
        width: channels of a ResNet's stages as a multiple of its own, in (0, 1]; see `common.models.width`.
        variant: a name of `common.models.variants`, another network under the same names of weights; None: the model's own.

    Returns:
        A module that maps float images (N, in_chans, H, W) to pooled features (N, num_features), with attributes `num_features`
        and `arch` ({"name", "stem", "in_chans", "variant"}; the variant is "patch4" where `patch` is 4, "width0.5" where `width`
        is 0.5, else `variant`).

    Raises:
        InputError: unknown name, or a stem, size, patch, width or variant that the model cannot have.
    """
    if variant is not None and width != 1:
        raise InputError(f"model.variant: got {variant}, expected null with model.width {width:g}")
    with seeded(seed, stream):
        backbone, own_stem = _build(name, stem, in_chans, size, patch, width)
    if variant is not None:
        make_variant_(backbone, name, variant)  # none is for models with patches
    elif width != 1:
        variant = f"{_WIDTH}{width:g}"
    elif patch is not None:
        variant = f"{_PATCH}{patch}"
    backbone.arch = {"name": name, "stem": own_stem, "in_chans": in_chans, "variant": variant}  # type: ignore[assignment]
    return backbone


def configured_backbone(
    model: ModelConfig,
    *,
    seed: int,
    stream: str = "init",
    in_chans: int = 3,
    size: int | None = None,
    width: float | None = None,
) -> nn.Module:
    """Build the backbone that a configuration names, of another width where one is given; see `build_backbone`."""
    return build_backbone(
        model.name,
        stem=model.stem,
        in_chans=in_chans,
        seed=seed,
        stream=stream,
        size=size,
        patch=model.patch,
        width=model.width if width is None else width,
        variant=model.variant,
    )


def rebuild_backbone(arch: Mapping[str, Any], *, seed: int = 0, stream: str = "init", size: int | None = None) -> nn.Module:
    """Build a backbone of a recorded architecture (`arch` of `build_backbone`) with fresh random weights.

    Raises:
        InputError: as `build_backbone`, or a variant that a name does not tell how to build.
    """
    variant = arch["variant"] if arch["variant"] in VARIANTS else None
    patch, width = _of_variant(arch) if variant is None else (None, 1.0)
    return build_backbone(
        arch["name"],
        stem=arch["stem"],
        in_chans=arch["in_chans"],
        seed=seed,
        stream=stream,
        size=size,
        patch=patch,
        width=width,
        variant=variant,
    )


def _of_variant(arch: Mapping[str, Any]) -> tuple[int | None, float]:
    """Return the patch and the width of a recorded architecture."""
    found = _VARIANT.fullmatch(str(arch["variant"] or ""))
    if found is None:
        known = f"no variant, {', '.join(VARIANTS)}, {_PATCH}N or {_WIDTH}X"
        raise InputError(f"{arch['name']} (variant {arch['variant']}) cannot be built anew; expected {known}")
    return (int(found["patch"]) if found["patch"] else None), float(found["width"] or 1)


def _build(name: str, stem: str, in_chans: int, size: int | None, patch: int | None, width: float) -> tuple[nn.Module, str]:
    """Return the module and the stem that it really has."""
    if name not in OWN:
        return _timm(name, stem, in_chans, size, patch, width)
    if patch is not None:
        raise InputError(f"model.patch: got {patch}, expected null: {name} has no patches")
    if name == "pixels":
        if width != 1:
            raise InputError(f"model.width: got {width:g}, expected 1: pixels have no channels to narrow")
        if size is None:
            raise InputError("backbone pixels needs images of one size; this data set has none")
        return Pixels(in_chans, size), "native"
    if stem == "7x7":
        raise InputError(f"model.stem: got '7x7', expected '3x3' or 'native' for {name}, which is made for small images")
    if name == "resnet_digits":
        return SmallResNet(narrowed(DIGITS_WIDTHS, width), 1, in_chans, "B"), "3x3"
    depth, _, option = name.removeprefix("resnet").partition("_")
    return SmallResNet(narrowed((16, 32, 64), width), (int(depth) - 2) // 6, in_chans, "A" if option else "B"), "3x3"


def _timm(name: str, stem: str, in_chans: int, size: int | None, patch: int | None, width: float) -> tuple[nn.Module, str]:
    import timm

    if not timm.is_model(name):
        raise InputError(f"unknown backbone {name!r}; known: {', '.join(OWN)}, and any timm model{_meant(name)}")
    defaults = timm.get_pretrained_cfg(name)
    if width != 1 and patch is not None:
        raise InputError(f"model.patch: got {patch}, expected null with model.width {width:g}")
    if width != 1:
        model: Any = narrow_timm(name, in_chans, width)
    elif defaults is not None and defaults.fixed_input_size:
        model = _sized(name, in_chans, size, patch)
    elif patch is not None:
        raise InputError(f"model.patch: got {patch}, expected null: {name} has no patches")
    else:
        model = timm.create_model(name, num_classes=0, in_chans=in_chans)
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


def _sized(name: str, in_chans: int, size: int | None, patch: int | None) -> nn.Module:
    """Build a timm model that is made for images of one size, and see that such images pass through it."""
    import timm

    if size is None:
        raise InputError(f"backbone {name} needs images of one size; give data.size")
    asked: dict[str, Any] = {"img_size": size} | ({} if patch is None else {"patch_size": patch})
    try:
        model = timm.create_model(name, num_classes=0, in_chans=in_chans, **asked)
        with evaluating(model):
            model(torch.zeros(1, in_chans, size, size))
        _check_patches(model, size)
    except Exception as error:  # timm's models check their sizes in many ways, or fail in their first forward pass
        patches = "" if patch is None else f" with model.patch {patch}"
        why = " ".join(str(error).split()) or type(error).__name__
        raise InputError(
            f"backbone {name}{patches} cannot take images of {size} px: {why}; set model.patch or data.size"
        ) from error
    return model


def _check_patches(model: nn.Module, size: int) -> None:
    """Refuse a size that leaves a margin over, which timm's models would cut off without a word."""
    for embedding in (module for name, module in model.named_children() if name in ("patch_embed", "stem")):
        side = getattr(embedding, "patch_size", (1, 1))[0]
        if size % side:
            raise InputError(f"expected a multiple of the patches' {side} px")


def _meant(name: str) -> str:
    import timm

    close = get_close_matches(name, [*OWN, *timm.list_models()], n=3)
    return f" (did you mean {' or '.join(close)}?)" if close else ""
