"""What was exported comes back through the importers as the same mask and the same kept weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from common.exchange.__main__ import main
from common.tickets.mask import Mask
from common.tickets.ticket import Ticket, load_ticket


def _imported(file: Path, arch: str, *words: str) -> Ticket:
    output = file.with_name("back.safetensors")
    assert main(["import", str(file), "--arch", arch, "--input", "unit", "-o", str(output), *words]) == 0
    return load_ticket(output)


def _check(made: Any, back: Ticket, *, zeros: bool) -> None:
    """Compare; where zeros are the mask, a kept weight that is exactly 0 (one in 10 million of fresh ones) cannot come back."""
    dense = made.ticket.rewind_point().backbone
    masks = {name: kept & (dense[name] != 0) if zeros else kept for name, kept in made.ticket.mask.items()}
    assert back.mask.digest() == Mask(masks).digest()
    stored, masked = back.rewind_point().backbone, made.masked()
    for name, tensor in stored.items():
        kept = made.ticket.mask.get(name, True)
        assert torch.equal(tensor * kept, masked[name]), name


@pytest.mark.parametrize(
    ("to", "suffix"), [("torch-prune", ".pth"), ("torch-prune", ".safetensors"), ("plain", ".pt"), ("plain", ".safetensors")]
)
def test_a_small_network_with_its_classifier(to: str, suffix: str, digits: Any, export: Callable[..., Path]) -> None:
    back = _imported(export(digits, to, "--head", file=f"out{suffix}"), "resnet_digits")
    _check(digits, back, zeros=to == "plain")
    head = back.rewind_point().head
    assert {name: tensor.tolist() for name, tensor in head.items()} == {
        n: t.tolist() for n, t in digits.head.state_dict().items()
    }


def test_masks_beside_dense_weights(digits: Any, export: Callable[..., Path]) -> None:
    assert _imported(export(digits, "masks"), "resnet_digits").mask == digits.ticket.mask


@pytest.mark.slow
@pytest.mark.parametrize("to", ["torchvision", "detectron2", "torchvision-detection"])
def test_a_resnet_under_other_names(to: str, resnet18: Any, export: Callable[..., Path]) -> None:
    _check(resnet18, _imported(export(resnet18, to), "resnet18"), zeros=True)
