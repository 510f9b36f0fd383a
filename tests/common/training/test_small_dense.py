"""The narrower network of control small_dense, against counts by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from common.config import ModelConfig
from common.data.inputs import InputSpec
from common.errors import InputError
from common.models.backbones import build_backbone
from common.tickets import load_ticket
from common.tickets.scope import find_scope
from common.training.small_dense import narrower, positions

INPUT = InputSpec(16, 3, (0.0, 1.0), (0.5, 0.5, 0.5), (0.2, 0.2, 0.2), None)
MODEL = ModelConfig("resnet_digits", "3x3")
BASE = (16, 24, 40, 64)


def widths(multiple: float) -> list[int]:
    return [max(1, round(channels * multiple)) for channels in BASE]


def weights_by_hand(multiple: float) -> int:
    """Prunable weights of four stages of one basic block: two 3x3 each, and a 1x1 shortcut from the second stage on."""
    a, b, c, d = widths(multiple)
    return 9 * (2 * a * a + a * b + b * b + b * c + c * c + c * d + d * d) + a * b + b * c + c * d


def macs_by_hand(multiple: float) -> int:
    """The same at sides 16, 8, 4 and 2."""
    a, b, c, d = widths(multiple)
    stages = [18 * a * a, 9 * (a * b + b * b) + a * b, 9 * (b * c + c * c) + b * c, 9 * (c * d + d * d) + c * d]
    return sum(weights * side * side for weights, side in zip(stages, (16, 8, 4, 2), strict=True))


@pytest.mark.parametrize("round_", [1, 2, 3])
def test_it_is_the_widest_with_no_more_weights(small_search: Path, round_: int) -> None:
    ticket = load_ticket(small_search / f"round_{round_:02d}/ticket.safetensors")
    found = narrower(ticket, MODEL, INPUT, "parameters")
    fitting = [step for step in range(1, 10_001) if weights_by_hand(step / 10_000) <= ticket.mask.kept]
    assert found.width == fitting[-1] / 10_000
    assert (found.cost, found.limit) == (weights_by_hand(found.width), ticket.mask.kept)
    assert found.density == weights_by_hand(found.width) / weights_by_hand(1)
    scope = find_scope(build_backbone("resnet_digits", width=found.width))
    assert sum(p.numel() for p in scope.parameters(build_backbone("resnet_digits", width=found.width)).values()) == found.cost


def test_it_is_the_widest_with_no_more_macs(small_search: Path) -> None:
    ticket = load_ticket(small_search / "round_02/ticket.safetensors")
    found = narrower(ticket, MODEL, INPUT, "macs")
    sides = {"layer1": 16, "layer2": 8, "layer3": 4, "layer4": 2}
    kept = sum(int(mask.sum()) * sides[name.partition(".")[0]] ** 2 for name, mask in ticket.mask.items())
    fitting = [step for step in range(1, 10_001) if macs_by_hand(step / 10_000) <= kept]
    assert (found.width, found.cost, found.limit) == (fitting[-1] / 10_000, macs_by_hand(fitting[-1] / 10_000), kept)


def test_a_ticket_that_keeps_everything_gives_the_whole_network(small_search: Path) -> None:
    found = narrower(load_ticket(small_search / "round_00/ticket.safetensors"), MODEL, INPUT, "parameters")
    assert (found.width, found.density) == (1.0, 1.0)


def test_positions_of_a_strided_network() -> None:
    """Against torch's own convolution: an input of ones through a weight of ones counts its uses, but for the padding."""
    with torch.device("meta"):
        network = build_backbone("resnet18", stem="7x7")
    found = positions(network, replace(INPUT, size=64))
    side = functional.conv2d(torch.ones(1, 1, 64, 64), torch.ones(1, 1, 7, 7), stride=2, padding=3).shape[-1]
    assert found["conv1.weight"] == side**2 == 32**2
    assert found["layer1.0.conv1.weight"] == 16**2
    assert found["layer4.1.conv2.weight"] == 2**2


def test_what_cannot_be_made(small_search: Path) -> None:
    ticket = load_ticket(small_search / "round_02/ticket.safetensors")
    with pytest.raises(InputError, match="ticket of resnet_digits, the model is resnet20"):
        narrower(ticket, ModelConfig("resnet20"), INPUT, "parameters")
    with pytest.raises(InputError, match=r"ticket\.equal macs: the target's images have several sizes"):
        narrower(ticket, MODEL, replace(INPUT, size=None), "macs")
    with pytest.raises(InputError, match="the narrowest network costs"):
        narrower(replace(ticket, mask=_one_weight(ticket.mask)), MODEL, INPUT, "parameters")


def _one_weight(mask):  # type: ignore[no-untyped-def]
    flat = torch.zeros(mask.size, dtype=torch.bool)
    flat[0] = True
    return type(mask).from_flat(flat, mask.shapes)
