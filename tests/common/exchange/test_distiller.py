"""Distiller's checkpoints: the classifier's and the detector's, and the real ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor

from common.tickets import Ticket

Import, Logits, Refused = Callable[..., Ticket], Callable[[Ticket, Tensor], Tensor], Callable[..., str]
By_Hand, States = Callable[[Mapping[str, Tensor], Tensor, str], Tensor], Callable[..., dict[str, Tensor]]

PRUNED = ("layer1.0.conv2.weight", "layer3.1.conv2.weight")


def masks_of(state: Mapping[str, Tensor]) -> dict[str, Tensor | None]:
    """Every other input channel of two layers; None for everything else, as the scheduler saves it."""
    masks: dict[str, Tensor | None] = dict.fromkeys(name for name in state if not name.endswith(("mean", "var")))
    for name in PRUNED:
        masks[name] = (torch.arange(state[name].shape[1]) % 2).float()[:, None, None].expand(state[name].shape).contiguous()
    return masks


def checkpoint(
    state: Mapping[str, Tensor], masks: Mapping[str, Tensor | None], arch: str = "resnet20_cifar"
) -> dict[str, object]:
    named = {f"module.{name}": tensor if masks.get(name) is None else tensor * masks[name] for name, tensor in state.items()}
    scheduled = {f"module.{name}": mask for name, mask in masks.items()}
    return {"epoch": 9, "arch": arch, "state_dict": named, "compression_sched": {"masks_dict": scheduled}, "optimizer": {}}


def test_the_ticket_computes_what_the_masked_network_computes(
    cifar_state: States, import_file: Import, logits_of: Logits, cifar_logits: By_Hand, images: Tensor, tmp_path: Path
) -> None:
    state, file = cifar_state(), tmp_path / "checkpoint.pth.tar"
    masks = masks_of(state)
    torch.save(checkpoint(state, masks), file, _use_new_zipfile_serialization=False)
    ticket = import_file(file, input=None)
    assert ticket.header["origin"]["importer"] == "distiller"
    assert (ticket.header["input"]["mean"], ticket.header["input"]["std"]) == ([0.5] * 3, [0.5] * 3)
    assert set(ticket.mask) == set(PRUNED)
    assert all(torch.equal(ticket.mask[name], masks[name] == 1) for name in PRUNED)  # type: ignore[arg-type]
    masked = {name: tensor if masks.get(name) is None else tensor * masks[name] for name, tensor in state.items()}  # type: ignore[operator]
    assert torch.allclose(logits_of(ticket, images), cifar_logits(masked, images, "fc"), rtol=1e-4, atol=1e-4)


def test_a_detector_has_masks_without_the_prefix_of_its_weights(cifar_state: States, import_file: Import, tmp_path: Path) -> None:
    state = {name: tensor for name, tensor in cifar_state().items() if not name.startswith("fc.")}
    masks = masks_of(state)
    model = {
        f"backbone.body.{name}": tensor if masks.get(name) is None else tensor * masks[name] for name, tensor in state.items()
    }  # type: ignore[operator]
    others = {"backbone.fpn.layer_blocks.0.weight": torch.zeros(4, 4, 3, 3), "rpn.head.conv.weight": torch.ones(4, 4, 3, 3)}
    scheduled = {f"module.backbone.body.{name}": mask for name, mask in masks.items()}
    scheduled["module.backbone.fpn.layer_blocks.0.weight"] = torch.zeros(4, 4, 3, 3)
    torch.save(
        {"model": {**model, **others}, "compression_scheduler": {"masks_dict": scheduled}, "optimizer": {}}, tmp_path / "m.pth"
    )
    ticket = import_file(tmp_path / "m.pth", input=None)
    assert ticket.header["input"]["mean"] == [0.485, 0.456, 0.406]
    assert set(ticket.mask) == set(PRUNED)
    assert all(torch.equal(ticket.mask[name], masks[name] == 1) for name in PRUNED)  # type: ignore[arg-type]


def test_what_is_wrong_is_said(cifar_state: States, refused: Refused, tmp_path: Path) -> None:
    state, file = cifar_state(), tmp_path / "f.pth"
    masks = masks_of(state)
    torch.save(checkpoint(state, masks, "resnet20_imagenet"), file)
    assert "does not say which input" in refused(file, input=None)
    assert "leave --dense out" in refused(file, "--dense")
    torch.save({**checkpoint(state, masks), "state_dict": state}, file)
    assert "mask and weights do not belong together" in refused(file)
    torch.save({"compression_sched": {"masks_dict": masks}}, file)
    assert "no state dict beside" in refused(file)
    torch.save(checkpoint(state, dict.fromkeys(masks)), file)
    assert "--dense takes every weight as kept" in refused(file)
    content = checkpoint(state, masks)
    content["compression_sched"] = {"masks_dict": {**masks, "conv1.weight": [1, 0]}}
    torch.save(content, file)
    assert "holds a list under 'conv1.weight'" in refused(file)


@pytest.mark.data
def test_the_real_masks_are_those_of_its_masks_dict(
    real: Callable[[str], Path], import_file: Import, logits_of: Logits, cifar_logits: By_Hand, images: Tensor
) -> None:
    file = real("checkpoints") / "distiller_resnet20_channel_masked.pth"
    content = torch.load(file, map_location="cpu", weights_only=True)
    masks = {
        name.removeprefix("module."): mask
        for name, mask in content["compression_sched"]["masks_dict"].items()
        if mask is not None
    }
    state = {name.removeprefix("module."): tensor for name, tensor in content["state_dict"].items()}
    ticket = import_file(file, input=None)
    assert len(masks) == 7
    assert set(ticket.mask) == set(masks)
    assert all(torch.equal(ticket.mask[name], mask == 1) for name, mask in masks.items())
    assert torch.allclose(logits_of(ticket, images), cifar_logits(state, images, "fc"), rtol=1e-4, atol=1e-4)
    zeros = import_file(file, "--format=zeros")
    assert all(torch.equal(zeros.mask[name], mask == 1) for name, mask in masks.items())
    assert all(bool(zeros.mask[name].all()) for name in zeros.mask if name not in masks)
