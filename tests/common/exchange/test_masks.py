"""Mask dictionaries: every spelling gives the same mask; with weights in another file, beside them, or none."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor

from common.exchange.importers.masks import MASKS
from common.exchange.source import Source
from common.models.backbones import build_backbone
from common.tickets import Ticket, find_scope

Import, Logits, Refused = Callable[..., Ticket], Callable[[Ticket, Tensor], Tensor], Callable[..., str]
By_Hand, States = Callable[[Mapping[str, Tensor], Tensor, str], Tensor], Callable[..., dict[str, Tensor]]


@pytest.fixture
def masks() -> dict[str, Tensor]:
    """A third of the weights of ResNet-20's convolutions, the stem's aside, float."""
    draws = torch.Generator().manual_seed(3)
    scope = find_scope(backbone := build_backbone("resnet20")).parameters(backbone)
    return {name: (torch.rand(weight.shape, generator=draws) < 1 / 3).float() for name, weight in scope.items()}


SPELLINGS: dict[str, Callable[[dict[str, Tensor]], Any]] = {
    "suffix": lambda masks: {f"{name}_mask": mask for name, mask in masks.items()},
    "parallel": lambda masks: {f"module.{name}_mask": mask for name, mask in masks.items()},
    "wrapped": lambda masks: {"state_dict": {f"{name}_mask": mask for name, mask in masks.items()}},
    "names": lambda masks: {name: mask.bool() for name, mask in masks.items()},
    "modules": lambda masks: {name.removesuffix(".weight"): mask.to(torch.uint8) for name, mask in masks.items()},
    "part": lambda masks: {"masks": {name: mask.long() for name, mask in masks.items()}, "epoch": 3},
    "moco": lambda masks: {f"encoder_q.{name}_mask": mask.half() for name, mask in masks.items()},
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_spelling_gives_the_same_mask(spelling: str, masks: dict[str, Tensor], import_file: Import, tmp_path: Path) -> None:
    torch.save(SPELLINGS[spelling](masks), tmp_path / "masks.pt")
    ticket = import_file(tmp_path / "masks.pt", "--expect-density=0.333")
    assert ticket.header["origin"]["importer"] == "masks"
    assert not ticket.has_weights
    assert set(ticket.mask) == set(masks)
    assert all(torch.equal(ticket.mask[name], mask == 1) for name, mask in masks.items())


def test_weights_from_another_file(
    masks: dict[str, Tensor], cifar_state: States, import_file: Import, logits_of: Logits, cifar_logits: By_Hand,
    images: Tensor, tmp_path: Path,
) -> None:  # fmt: skip
    torch.save(masks, tmp_path / "masks.pt")
    dense = cifar_state()
    torch.save({"state_dict": {f"module.{name}": tensor for name, tensor in dense.items()}}, tmp_path / "dense.pt")
    ticket = import_file(tmp_path / "masks.pt", f"--weights={tmp_path / 'dense.pt'}")
    assert ticket.header["rewind"]["to"] == "pretrained"
    assert all(torch.equal(ticket.rewind_point().backbone[name], dense[name]) for name in dense if not name.startswith("fc."))
    masked = {name: tensor * masks.get(name, 1) for name, tensor in dense.items()}
    assert torch.allclose(logits_of(ticket, images), cifar_logits(masked, images, "fc"), rtol=1e-4, atol=1e-4)
    again = import_file(tmp_path / "masks.pt", f"--weights={ticket.path}")
    assert torch.equal(again.rewind_point().backbone["conv1.weight"], dense["conv1.weight"])
    assert again.rewind_point().head.keys() == ticket.rewind_point().head.keys()


def test_a_mask_of_a_classifier_is_left_out_without_its_weights(
    masks: dict[str, Tensor], import_file: Import, refused: Refused, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    torch.save({**masks, "fc.weight": torch.ones(10, 64)}, tmp_path / "masks.pt")
    assert set(import_file(tmp_path / "masks.pt").mask) == set(masks)
    assert "1 masks of other parts (fc.weight ...)" in capsys.readouterr().out
    torch.save({**masks, "other.weight": torch.ones(10, 63)}, tmp_path / "masks.pt")
    assert "has a mask of 'other.weight', which the backbone has not" in refused(tmp_path / "masks.pt")


def test_weights_beside_them_are_zero_where_pruned(
    masks: dict[str, Tensor], cifar_state: States, import_file: Import, refused: Refused, tmp_path: Path
) -> None:
    state = {name: tensor * masks.get(name, 1) for name, tensor in cifar_state().items()}
    beside = {f"{name}_mask": mask for name, mask in masks.items()}
    save_file({**state, **beside}, tmp_path / "both.safetensors")
    ticket = import_file(tmp_path / "both.safetensors")
    assert ticket.header["rewind"]["to"] == "final"
    assert torch.equal(ticket.rewind_point().backbone["layer2.0.conv1.weight"], state["layer2.0.conv1.weight"])
    save_file({**cifar_state(), **beside}, tmp_path / "dense.safetensors")
    assert "mask and weights do not belong together" in refused(tmp_path / "dense.safetensors")


def test_what_is_no_mask_dictionary(refused: Refused, cifar_state: States, tmp_path: Path) -> None:
    torch.save(cifar_state(), tmp_path / "w.pt")
    assert "holds no masks" in refused(tmp_path / "w.pt", "--format=masks")
    mask = torch.ones(16, 16, 3, 3)
    torch.save({"layer1.0.conv1.weight_mask": mask, "layer1.0.conv1": mask, "layer1.0.conv1_mask": mask}, tmp_path / "twice.pt")
    assert "two masks of one weight" in refused(tmp_path / "twice.pt", "--format=masks")


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(
        st.from_regex(r"[a-z]{1,4}(\.[0-9])?\.conv[1-3]", fullmatch=True),
        st.tuples(st.integers(1, 3), st.integers(1, 3)),
        min_size=1,
        max_size=5,
    ),
    st.sampled_from(["_mask", ".weight_mask", ".weight", ""]),
    st.sampled_from([torch.bool, torch.uint8, torch.int64, torch.float16, torch.float64]),
    st.integers(0, 2**16),
)
def test_names_and_types_do_not_matter(shapes: dict[str, tuple[int, int]], suffix: str, dtype: torch.dtype, seed: int) -> None:
    draws = torch.Generator().manual_seed(seed)
    expected = {name: torch.rand(shape, generator=draws) < 0.5 for name, shape in shapes.items()}
    given = {name + suffix: mask.to(dtype) for name, mask in expected.items()}
    source = Source(Path("F"), given, given)
    assert MASKS.recognises(source)
    found = MASKS.read(source)
    assert set(found.masks) == {f"{name}.weight" for name in expected}
    assert all(torch.equal(found.masks[f"{name}.weight"] == 1, mask) for name, mask in expected.items())
    assert not found.weights
