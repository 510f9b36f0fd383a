"""Files without masks: zeros are the mask, a few are none, and dense is only what the user calls dense."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor

from common.exchange.importers.zeros import PLAIN, ZEROS
from common.exchange.source import Source
from common.models.backbones import build_backbone
from common.tickets import NetworkState, Ticket, find_scope
from common.tickets.weights_file import save_weights

Import, Logits, Refused = Callable[..., Ticket], Callable[[Ticket, Tensor], Tensor], Callable[..., str]
By_Hand, States = Callable[[Mapping[str, Tensor], Tensor, str], Tensor], Callable[..., dict[str, Tensor]]


def cut(state: dict[str, Tensor], names: tuple[str, ...], fraction: float) -> dict[str, Tensor]:
    """Set the smallest weights of some tensors to 0."""
    pruned = dict(state)
    for name in names:
        order = state[name].abs().flatten().argsort()
        pruned[name] = state[name].flatten().index_fill(0, order[: int(fraction * order.numel())], 0.0).reshape(state[name].shape)
    return pruned


@pytest.fixture(scope="module")
def scope() -> tuple[str, ...]:
    return find_scope(build_backbone("resnet20_a")).names


def test_the_ticket_computes_what_the_file_computes(
    scope: tuple[str, ...], cifar_state: States, import_file: Import, logits_of: Logits, cifar_logits: By_Hand,
    images: Tensor, tmp_path: Path,
) -> None:  # fmt: skip
    state = cut(cifar_state("A", "linear"), scope, 0.75)
    torch.save({"state_dict": {f"module.{name}": tensor for name, tensor in state.items()}}, tmp_path / "f.th")
    ticket = import_file(tmp_path / "f.th", "--data=cifar10", arch="resnet20_a", input="imagenet")
    origin = ticket.header["origin"]
    assert (origin["importer"], origin["data"], ticket.header["rewind"]["to"]) == ("zeros", "cifar10", "final")
    assert set(ticket.mask) == set(scope)
    assert all(torch.equal(ticket.mask[name], state[name] != 0) for name in scope)
    assert torch.allclose(logits_of(ticket, images), cifar_logits(state, images, "linear"), rtol=1e-4, atol=1e-4)


def test_a_stem_that_was_pruned_belongs_to_the_scope(
    scope: tuple[str, ...], cifar_state: States, import_file: Import, tmp_path: Path
) -> None:
    state = cut(cifar_state("A", "linear"), (*scope, "conv1.weight", "linear.weight"), 0.5)
    torch.save(state, tmp_path / "f.pt")
    ticket = import_file(tmp_path / "f.pt", arch="resnet20_a")
    assert set(ticket.mask) == {*scope, "conv1.weight"}
    assert torch.equal(ticket.mask["conv1.weight"], state["conv1.weight"] != 0)
    assert torch.equal(ticket.rewind_point().head["weight"], state["linear.weight"])


def test_no_mask_is_made_of_nothing(
    scope: tuple[str, ...], cifar_state: States, import_file: Import, refused: Refused, tmp_path: Path
) -> None:
    dense, file = cifar_state("A", "linear"), tmp_path / "f.pt"
    torch.save(dense, file)
    assert "--dense takes every weight as kept" in refused(file, arch="resnet20_a")
    assert "so zeros tell no mask" in refused(file, "--format=zeros", arch="resnet20_a")
    ticket = import_file(file, "--dense", arch="resnet20_a")
    assert (ticket.density, ticket.header["rewind"]["to"], ticket.header["origin"]["importer"]) == (1.0, "pretrained", "plain")
    torch.save(cut(dense, scope[:1], 0.1), file)
    line = refused(file, arch="resnet20_a")
    assert line.startswith(f"{file} holds 230 weights of ")
    assert "--format zeros takes them as its mask, --format plain --dense" in line
    assert import_file(file, "--format=plain", "--dense", arch="resnet20_a").density == 1
    few = import_file(file, "--format=zeros", arch="resnet20_a")
    assert few.mask.size - few.mask.kept == 230
    torch.save(cut(dense, scope, 0.5), file)
    assert "which are its mask" in refused(file, "--dense", arch="resnet20_a")
    assert "so it was pruned" in refused(file, "--format=plain", "--dense", arch="resnet20_a")


def test_files_of_our_own(scope: tuple[str, ...], import_file: Import, refused: Refused, tmp_path: Path) -> None:
    state = {name: tensor.clone() for name, tensor in build_backbone("resnet20_a", seed=3).state_dict().items()}
    head = {"weight": torch.ones(10, 64), "bias": torch.ones(10)}
    file = tmp_path / "trained.safetensors"
    save_weights(file, NetworkState(cut(state, scope, 0.5), head))
    ticket = import_file(file, arch="resnet20_a")
    assert ticket.density == pytest.approx(0.5, abs=1e-3)
    assert torch.equal(ticket.rewind_point().head["weight"], head["weight"])
    assert "is a ticket already" in refused(ticket.path, arch="resnet20_a")
    file.write_bytes(file.read_bytes()[:-1] + b"\x01")
    assert "do not match their digest" in refused(file, arch="resnet20_a")


def test_either_zeros_or_plain(cifar_state: States) -> None:
    dense = cifar_state()
    for fraction in (0.0, 0.005, 0.02, 1.0):
        tensors = cut(dense, tuple(name for name, tensor in dense.items() if tensor.ndim == 4), fraction)
        source = Source(Path("F"), tensors, tensors)
        assert (ZEROS.recognises(source), PLAIN.recognises(source)) == (fraction > 0.01, fraction <= 0.01)
