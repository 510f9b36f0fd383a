"""torch.nn.utils.prune: torch writes the file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import prune

from common.tickets import Ticket

Import, Logits, Refused = Callable[..., Ticket], Callable[[Ticket, Tensor], Tensor], Callable[..., str]
By_Hand = Callable[[Mapping[str, Tensor], Tensor, str], Tensor]


@pytest.fixture
def pruned(cifar_module: nn.Module) -> nn.Module:
    """All convolutions but the stem at a fifth of their weights, by torch, globally, as CV_LTH does."""
    layers = [
        (module, "weight") for name, module in cifar_module.named_modules() if isinstance(module, nn.Conv2d) and name != "conv1"
    ]
    prune.global_unstructured(layers, pruning_method=prune.L1Unstructured, amount=0.8)
    return cifar_module


def product(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What a file of torch.nn.utils.prune computes with: values times masks."""
    plain = {name: tensor for name, tensor in state.items() if not name.endswith(("_orig", "_mask"))}
    return plain | {name[:-5]: tensor * state[f"{name[:-5]}_mask"] for name, tensor in state.items() if name.endswith("_orig")}


def parallel(state: dict[str, Tensor]) -> dict[str, Any]:
    return {"state_dict": {f"module.{name}": tensor for name, tensor in state.items()}, "epoch": 9, "init_weight": {}}


def test_the_ticket_computes_what_the_pruned_network_computes(
    pruned: nn.Module, import_file: Import, logits_of: Logits, cifar_logits: By_Hand, images: Tensor, tmp_path: Path
) -> None:
    state = pruned.state_dict()
    torch.save(state, tmp_path / "bare.pt")
    torch.save(parallel(state), tmp_path / "parallel.pth.tar", _use_new_zipfile_serialization=False)
    ticket, other = import_file(tmp_path / "bare.pt"), import_file(tmp_path / "parallel.pth.tar", "--format=torch-prune")
    assert ticket.digest == other.digest
    assert ticket.header["origin"]["importer"] == "torch-prune"
    assert ticket.header["rewind"] == {"to": "final", "at": None}
    assert ticket.header["scope"] == {"include": ["Conv2d:*"], "exclude": ["@stem"]}
    assert set(ticket.mask) == {name.removesuffix("_mask") for name in state if name.endswith("_mask")}
    assert ticket.mask.kept == sum(int(tensor.sum()) for name, tensor in state.items() if name.endswith("_mask"))
    for name, kept in ticket.mask.items():
        assert torch.equal(kept, state[f"{name}_mask"] == 1)
        assert torch.equal(ticket.rewind_point().backbone[name], state[f"{name}_orig"])
    assert torch.allclose(logits_of(ticket, images), cifar_logits(product(state), images, "fc"), rtol=1e-4, atol=1e-4)


def test_a_moco_encoder_that_was_pruned(pruned: nn.Module, import_file: Import, tmp_path: Path) -> None:
    state = {name: tensor for name, tensor in pruned.state_dict().items() if not name.startswith("fc.")}
    head = {
        "fc.0.weight": torch.ones(32, 64),
        "fc.0.bias": torch.ones(32),
        "fc.2.weight": torch.ones(8, 32),
        "fc.2.bias": torch.ones(8),
    }
    query = {f"module.encoder_q.{name}": tensor for name, tensor in {**state, **head}.items()}
    key = {name.replace("encoder_q", "encoder_k"): torch.zeros_like(tensor) for name, tensor in query.items()}
    torch.save({"state_dict": {**query, **key, "module.queue": torch.zeros(8, 4)}}, tmp_path / "moco.pth.tar")
    ticket = import_file(tmp_path / "moco.pth.tar", input=None)
    assert ticket.header["origin"]["objective"] == "moco"
    assert ticket.header["input"]["mean"] == [0.485, 0.456, 0.406]
    assert set(ticket.rewind_point().head) == {"0.weight", "0.bias", "2.weight", "2.bias"}
    for name, kept in ticket.mask.items():
        assert torch.equal(kept, state[f"{name}_mask"] == 1)
        assert torch.equal(ticket.rewind_point().backbone[name], state[f"{name}_orig"])


def test_the_stem_and_the_classifier_may_be_pruned_too(
    pruned: nn.Module, import_file: Import, logits_of: Logits, cifar_logits: By_Hand, images: Tensor, tmp_path: Path
) -> None:
    prune.random_unstructured(pruned.conv1, "weight", amount=0.5)  # type: ignore[arg-type]
    prune.random_unstructured(pruned.fc, "weight", amount=0.25)  # type: ignore[arg-type]
    torch.save(pruned.state_dict(), tmp_path / "pruned.pt")
    ticket = import_file(tmp_path / "pruned.pt", "--expect-density=0.2")
    assert ticket.header["scope"] == {"include": sorted(ticket.mask), "exclude": []}
    assert ticket.mask.kept_per_tensor["conv1.weight"] == 432 // 2
    assert int((ticket.rewind_point().head["weight"] == 0).sum()) == 640 // 4
    expected = cifar_logits(product(pruned.state_dict()), images, "fc")
    assert torch.allclose(logits_of(ticket, images), expected, rtol=1e-4, atol=1e-4)


def test_halves_of_a_pair_are_refused(pruned: nn.Module, refused: Refused, tmp_path: Path) -> None:
    state = pruned.state_dict()
    del state["layer3.0.conv1.weight_mask"]
    torch.save(state, tmp_path / "half.pt")
    assert "'layer3.0.conv1.weight_orig' without 'layer3.0.conv1.weight_mask'" in refused(tmp_path / "half.pt")
    torch.save({**pruned.state_dict(), "layer3.0.conv1.weight": torch.ones(64, 32, 3, 3)}, tmp_path / "twice.pt")
    assert "not clear which is meant" in refused(tmp_path / "twice.pt")


def test_the_masks_alone_go_with_other_weights(
    pruned: nn.Module, cifar_state: Callable[..., dict[str, Tensor]], import_file: Import, refused: Refused, tmp_path: Path
) -> None:
    file, dense = tmp_path / "pruned.pt", cifar_state(seed=5)
    torch.save({"state_dict": pruned.state_dict()}, file)
    torch.save({f"encoder_q.{name}": tensor for name, tensor in dense.items() if "fc." not in name}, tmp_path / "moco.pt")
    assert "--format masks to take the masks alone" in refused(file, f"--weights={tmp_path / 'moco.pt'}")
    ticket = import_file(file, "--format=masks", f"--weights={tmp_path / 'moco.pt'}", input=None)
    assert torch.equal(ticket.mask["layer3.0.conv1.weight"], pruned.get_buffer("layer3.0.conv1.weight_mask") == 1)
    assert ticket.header["rewind"]["to"] == "pretrained"
    assert torch.equal(ticket.rewind_point().backbone["layer1.0.conv1.weight"], dense["layer1.0.conv1.weight"])
    alone = import_file(file, "--format=masks")
    assert not alone.has_weights
    assert alone.mask == ticket.mask
