"""Variants of backbones: other networks under the same names of weights, so that published weights keep their function.

    tf_same   ResNets whose max-pool pads as TensorFlow's SAME does where sides are even: nothing before, one row and one column
              of zeros behind (what is pooled has passed a ReLU, so zeros change no maximum). torchvision's pads both sides.
              RigL's ResNet-50 (Evci et al. 2020, arXiv:1911.11134) as Iofinova et al. 2022 (arXiv:2111.13445) converted it.
    relu      MobileNetV1 with ReLU, as in Distiller's and STR's files; timm's has ReLU6, as Howard et al. 2017's code.

A ticket of one variant is refused by a model of another: their weights have equal names and shapes, and other functions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

from common.errors import InputError


@dataclass(frozen=True)
class Variant:
    """A change of a network that its weights' names do not show.

    Attributes:
        about: which backbones it is for, for messages.
        change_: changes a fresh model in place; returns False, and changes nothing, where the model has no such part.
    """

    about: str
    change_: Callable[[Any], bool]


def make_variant_(model: nn.Module, name: str, variant: str) -> None:
    """Change a fresh backbone into one of its variants, in place.

    Args:
        model: the backbone; no weight of it changes.
        name: its name, for messages.
        variant: a name of `VARIANTS`.

    Raises:
        InputError: unknown variant, or a backbone that has none of this kind.
    """
    if variant not in VARIANTS:
        known = ", ".join(f"{key} ({value.about})" for key, value in VARIANTS.items())
        raise InputError(f"model.variant: got {variant!r}, expected null or one of {known}")
    if not VARIANTS[variant].change_(model):
        raise InputError(f"model.variant: got {variant}, expected null: {name} is none of {VARIANTS[variant].about}")


def _pool_as_tensorflow_(model: Any) -> bool:
    pool = getattr(model, "maxpool", None)
    if not isinstance(pool, nn.MaxPool2d) or (pool.kernel_size, pool.stride, pool.padding) != (3, 2, 1):
        return False
    model.maxpool = nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), nn.MaxPool2d(3, 2))
    return True


def _rectify_without_bound_(model: Any) -> bool:
    bounded = [
        (module, name) for module in model.modules() for name, child in module.named_children() if isinstance(child, nn.ReLU6)
    ]
    if not bounded or not hasattr(model, "conv_stem"):
        return False
    for module, name in bounded:
        setattr(module, name, nn.ReLU(inplace=True))
    return True


VARIANTS = {
    "tf_same": Variant("ResNets with a 7x7 stem and a max-pool", _pool_as_tensorflow_),
    "relu": Variant("MobileNets with ReLU6", _rectify_without_bound_),
}
