"""Names of what can be exported to; needs no torch. Every one is in the table of `common/exchange/exporters`."""

from __future__ import annotations

TARGETS = (
    "torchvision",
    "timm",
    "plain",
    "torchvision-detection",
    "smp",
    "smp-tu",
    "detectron2",
    "torch-prune",
    "masks",
    "onnx",
    "ticket",
)
