"""What computes a frozen backbone: torch, ONNX Runtime, or torch without the channels that a mask has emptied."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from common.errors import InputError
from common.models.features import evaluating


def frozen_module(engine: str, backbone: nn.Module, example_NCHW: Tensor) -> nn.Module:
    """Return a module that maps images to the backbone's features in eval mode, as the backbone is now.

    Args:
        engine: "torch": the backbone itself; "onnxruntime": exported in memory and run by ONNX Runtime on the CPU; "compacted":
            a smaller network of the same function, see `common.exchange`.
        backbone: filled, masked, its norm statistics final.
        example_NCHW: normalised images of the size that will come, on the backbone's device.

    Raises:
        InputError: the engine's packages are missing, or it cannot run there.
    """
    if engine == "onnxruntime":
        return _OnnxBackbone(backbone, example_NCHW)
    if engine == "compacted":
        from common.exchange.compaction.compact import compacted

        return compacted(backbone, example_NCHW)
    return backbone


class _OnnxBackbone(nn.Module):
    """A backbone that ONNX Runtime computes, on the CPU, with as many threads as torch has."""

    def __init__(self, backbone: nn.Module, example_NCHW: Tensor) -> None:
        super().__init__()
        if example_NCHW.device.type != "cpu":
            raise InputError(
                "features.engine: onnxruntime computes on the CPU, got a device of type "
                f"{example_NCHW.device.type}; set train.device cpu, or features.engine torch"
            )
        self._session = _session(backbone, tuple(example_NCHW.shape[1:]))
        self._input = self._session.get_inputs()[0].name

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """Return features (N, D), float32, of float images (N, C, H, W)."""
        (features_ND,) = self._session.run(None, {self._input: x_NCHW.numpy()})
        return torch.from_numpy(features_ND)


def _session(backbone: nn.Module, images: tuple[int, ...]) -> Any:
    """Return an ONNX Runtime session of a backbone in eval mode, for images of a shape (C, H, W).

    Raises:
        InputError: the extra onnx is not installed.
    """
    try:
        import onnxruntime

        from common.exchange.exporters.onnx_graph import trace_onnx

        with evaluating(backbone):
            model = trace_onnx(backbone, images, "features")
    except ImportError as error:
        raise InputError(
            f"features.engine onnxruntime needs the extra onnx ({error.name} is missing): "
            "pip install 'pretraining-tickets[onnx]', or set features.engine torch"
        ) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
