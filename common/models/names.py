"""Names that need no torch: the backbones of our own, and the libraries that publish weights."""

from __future__ import annotations

CIFAR_DEPTHS = (20, 32, 44, 56)
OWN = {
    "resnet_digits": "3x3 stem and four stages of one block, 16-24-40-64 channels, for images of 8 to 32 px",
    "pixels": "no network at all: the normalised pixels, a floor for every comparison",
    **{f"resnet{depth}": f"CIFAR ResNet-{depth} (He et al. 2016), 1x1 shortcuts (option B)" for depth in CIFAR_DEPTHS},
    **{f"resnet{depth}_a": f"CIFAR ResNet-{depth}, padded shortcuts (option A)" for depth in CIFAR_DEPTHS},
}

LIBRARIES = ("timm", "torchvision")


def published_library(weights: str) -> str | None:
    """Return the library that `start.weights` names, such as "timm" or "torchvision:IMAGENET1K_V1"; None for a file."""
    library, colon, name = weights.partition(":")
    return library if library in LIBRARIES and (not colon or (library == "torchvision" and bool(name))) else None
