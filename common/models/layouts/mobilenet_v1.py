"""MobileNetV1 as one Sequential, as Distiller, STR, AC/DC and M-FAC save it (Howard et al. 2017, arXiv:1704.04861, table 1).

    model.0.0.weight, model.0.1.*                              the stem: 3x3 convolution, norm
    model.N.0.weight, model.N.1.*, model.N.3.weight, .N.4.*    block N = 1 to 13: depthwise, pointwise convolution, their norms
    fc.weight, fc.bias                                         the classifier; STR's is a 1x1 convolution without bias

timm's `mobilenetv1_100` has the same blocks in stages of 1, 2, 2, 6 and 2, and ReLU6; these files' networks have ReLU (variant
`relu`).
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from common.data.inputs import IMAGENET_INPUT
from common.models.layouts.layout import Layout
from common.models.layouts.renaming import NORM, reader

STEM = "model.0.0.weight"
_STAGES = (1, 2, 2, 6, 2)
_PLACES = [f"{stage}.{block}" for stage, blocks in enumerate(_STAGES) for block in range(blocks)]
_TABLE = (
    (r"model\.0\.0\.weight", "conv_stem.weight"),
    (rf"model\.0\.1\.{NORM}", r"bn1.\1"),
    *(
        row
        for number, place in enumerate(_PLACES, start=1)
        for row in (
            (rf"model\.{number}\.0\.weight", f"blocks.{place}.conv_dw.weight"),
            (rf"model\.{number}\.1\.{NORM}", rf"blocks.{place}.bn1.\1"),
            (rf"model\.{number}\.3\.weight", f"blocks.{place}.conv_pw.weight"),
            (rf"model\.{number}\.4\.{NORM}", rf"blocks.{place}.bn2.\1"),
        )
    ),
    (r"fc\.(weight|bias)", r"fc.\1"),
)


def _recognises(tensors: Mapping[str, Tensor]) -> bool:
    return STEM in tensors or "model.1.3.weight" in tensors


MOBILENET_V1 = Layout(
    "mobilenet_v1",
    "MobileNetV1 of Distiller, STR, AC/DC and M-FAC",
    STEM,
    _recognises,
    reader("MobileNetV1's layout of Distiller", _TABLE),
    IMAGENET_INPUT,
    variant="relu",
)
