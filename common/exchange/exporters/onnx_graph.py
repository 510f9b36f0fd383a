"""ONNX graphs: the masked network as one file, checked in onnxruntime against torch before it is written."""

from __future__ import annotations

import importlib
from typing import Any

import torch
from torch import Tensor, nn

from common.errors import InputError, RunError
from common.exchange.exporters.exporter import Export, Exporter, Options, SparseNetwork, sparse_network
from common.files import canonical_json
from common.models.backbones import rebuild_backbone
from common.randomness import generator
from common.tickets.ticket import Ticket

_NEEDED = ("onnx", "onnxscript", "onnxruntime")
_BATCHES = (1, 3)
TOLERANCE = 1e-4
"""Largest difference between onnxruntime and torch, as a fraction of the largest output (at least of 1)."""


def write_onnx(ticket: Ticket, options: Options) -> Export:
    """Write the masked network as an ONNX graph: "images" (N, C, H, W), normalised, to "features" (N, D) or "logits" (N, K).

    The batch is of any size, the images of one. The graph carries what its pixels must be normalised by, and the ticket's digest.

    Raises:
        InputError: a package is missing, no size is known, or the ticket has no such weights or no classifier.
        RunError: torch cannot trace the network, or onnxruntime computes something else.
    """
    for package in _NEEDED:
        _require(package)
    size = options.size or ticket.header["input"]["size"]
    if size is None:
        raise InputError(f"--to onnx needs the images' size, which {ticket.path} does not record; give --size PIXELS")
    network = sparse_network(ticket, options)
    module = _module(network, size)
    output = "logits" if network.head else "features"
    images = (ticket.header["arch"]["in_chans"], size, size)
    content = _with_metadata(_traced(module, images, output), ticket, options)
    worst = _largest_difference(content, module, images)
    return Export(
        content,
        (
            f"images (N, {', '.join(map(str, images))}), normalised, to {output}, N of any size",
            f"onnxruntime differs from torch by {worst:.1e} of the largest output, over batches of "
            f"{' and '.join(map(str, _BATCHES))} random images",
        ),
    )


def _require(package: str) -> Any:
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise InputError(f"--to onnx needs the package {package}: pip install {' '.join(_NEEDED)} (the extra onnx)") from error


def _module(network: SparseNetwork, size: int) -> nn.Module:
    backbone = rebuild_backbone(network.ticket.header["arch"], seed=0, stream="init", size=size)
    backbone.load_state_dict(network.masked(), strict=False)  # older files lack counters; sparse_network has checked the rest
    if not network.head:
        return backbone.eval()
    weight = network.head["weight"]
    head = nn.Linear(weight.shape[1], weight.shape[0], bias="bias" in network.head)
    head.load_state_dict(dict(network.head))
    return nn.Sequential(backbone, head).eval()


def _traced(module: nn.Module, images: tuple[int, int, int], output: str) -> Any:
    """Trace in eval mode; return the onnx model."""
    example = (torch.zeros(2, *images),)
    batch = ({0: torch.export.Dim("batch")},)
    try:
        with torch.no_grad():
            program = torch.onnx.export(
                module, example, input_names=["images"], output_names=[output], dynamic_shapes=batch, dynamo=True, verbose=False
            )
    except torch.onnx.errors.OnnxExporterError as error:
        raise RunError(f"--to onnx: torch cannot trace the network: {str(error).strip().splitlines()[0]}") from error
    assert program is not None  # it is None for the older exporter only
    return program.model_proto


def _with_metadata(model: Any, ticket: Ticket, options: Options) -> bytes:
    import onnx

    said = {
        "ticket": ticket.digest,
        "weights": options.weights,
        "density": repr(ticket.density),
        "input": canonical_json(ticket.header["input"]),
    }
    onnx.helper.set_model_props(model, said)
    onnx.checker.check_model(model)
    return model.SerializeToString(deterministic=True)


def _largest_difference(content: bytes, module: nn.Module, images: tuple[int, int, int]) -> float:
    """Run the graph beside the module on random images.

    Returns:
        The largest difference, as a fraction of the largest output (at least of 1).

    Raises:
        RunError: it is above the tolerance, or not a number.
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    worst = 0.0
    for count in _BATCHES:
        x_NCHW = torch.randn(count, *images, generator=generator(0, "onnx_check", count))
        with torch.no_grad():
            expected_ND: Tensor = module(x_NCHW)
        got_ND = torch.from_numpy(session.run(None, {"images": x_NCHW.numpy()})[0])
        off = float((got_ND - expected_ND).abs().max() / expected_ND.abs().max().clamp(min=1))
        if got_ND.shape != expected_ND.shape or not off <= TOLERANCE:
            raise RunError(
                f"--to onnx: onnxruntime gives {tuple(got_ND.shape)} for {count} images, {off:.1e} of the largest output away "
                f"from torch's {tuple(expected_ND.shape)}, more than {TOLERANCE:g}; nothing was written"
            )
        worst = max(worst, off)
    return worst


EXPORTER = Exporter("onnx", "an ONNX graph, checked in onnxruntime", (".onnx",), ("weights", "head", "size"), write_onnx)
