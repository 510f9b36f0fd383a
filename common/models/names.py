"""The backbones of our own by name, without torch, so that they can be listed quickly."""

from __future__ import annotations

CIFAR_DEPTHS = (20, 32, 44, 56)
OWN = {
    "resnet_digits": "3x3 stem and four stages of one block, 16-24-40-64 channels, for images of 8 to 32 px",
    "pixels": "no network at all: the normalised pixels, a floor for every comparison",
    **{f"resnet{depth}": f"CIFAR ResNet-{depth} (He et al. 2016), 1x1 shortcuts (option B)" for depth in CIFAR_DEPTHS},
    **{f"resnet{depth}_a": f"CIFAR ResNet-{depth}, padded shortcuts (option A)" for depth in CIFAR_DEPTHS},
}
