"""The table of exporters."""

from __future__ import annotations

from common.exchange.exporters import detectron2, onnx_graph, own_ticket, state_dict, torch_prune
from common.exchange.exporters.exporter import Exporter

EXPORTERS: dict[str, Exporter] = {
    exporter.name: exporter
    for exporter in (
        *state_dict.EXPORTERS,
        detectron2.EXPORTER,
        *torch_prune.EXPORTERS,
        onnx_graph.EXPORTER,
        own_ticket.EXPORTER,
    )
}
