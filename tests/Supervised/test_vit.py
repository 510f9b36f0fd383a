"""A vision transformer through the whole chain: search over its linear layers, controls, transfer."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from common.models.backbones import build_backbone
from common.tickets import load_ticket
from common.tickets.control_file import write_control
from Downstream.main import main as transfer
from Supervised.main import main

VIT = ("--model.name=vit_tiny_patch16_224", "--model.stem=native", "--model.patch=8")
SIZE = 12 * 12 * 192**2  # a block's four matrices have 12 times width squared weights; 12 blocks


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, small_words: tuple[str, ...]) -> Path:
    out = tmp_path_factory.mktemp("vit")
    words = ["--data.name=digits:0-1", "--train.epochs=1", "--train.batch_size=128", '--prune.include=["Linear:*"]']
    words += ["--optim.name=adamw", "--optim.lr=0.001", "--optim.weight_decay=0.05", "--prune.rate=0.5", "--keep.trained=last"]
    assert main([*small_words, *VIT, *words, f"--out={out}"]) == 0
    return next(out.glob("Supervised/*/*"))


def test_three_rounds_prune_the_blocks_matrices_and_nothing_else(run: Path) -> None:
    tickets = [load_ticket(run / f"round_{round_:02d}/ticket.safetensors") for round_ in range(4)]
    assert [ticket.mask.kept for ticket in tickets] == [SIZE, SIZE // 2, SIZE // 4, SIZE // 8]
    for before, after in pairwise(tickets):
        assert all(not (kept & ~before.mask[name]).any() for name, kept in after.mask.items())
    trained, rewind = load_file(run / "round_03/trained.safetensors"), load_file(run / "rewind.safetensors")
    for name, kept in tickets[3].mask.items():
        assert name.startswith("blocks.")
        assert not trained[f"weight/{name}"][~kept.numpy()].any()
    for name in ("patch_embed.proj.weight", "pos_embed", "cls_token", "norm.weight"):
        assert (trained[f"weight/{name}"] != rewind[f"weight/{name}"]).mean() > 0.99  # dense, and trained in every round
    assert tickets[3].header["arch"] == {
        "name": "vit_tiny_patch16_224",
        "stem": "native",
        "in_chans": 3,
        "variant": "patch8",
    }
    assert np.isfinite(json.loads((run / "result.json").read_text())["value"])


def test_its_tickets_transfer_and_are_refused_where_patches_differ(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ticket = f"--ticket.file={run}/round_03/ticket.safetensors"
    words = ["--data.name=digits:8-9", "--train.threads=1", "--log.tensorboard=false", f"--out={tmp_path}", ticket]
    assert transfer([*words, *VIT]) == 0
    (result,) = tmp_path.glob("Downstream/*/*/result.json")
    assert json.loads(result.read_text())["density"] == 0.125
    capsys.readouterr()
    assert transfer([*words, *VIT[:2], "--model.patch=4"]) == 2
    assert "variant patch8" in capsys.readouterr().err


def test_fresh_weights_for_its_mask_are_those_of_the_same_architecture(run: Path, tmp_path: Path) -> None:
    control = write_control(run / "round_03/ticket.safetensors", "reinit", 5, tmp_path / "reinit.safetensors")
    fresh = build_backbone("vit_tiny_patch16_224", seed=5, stream="fresh", size=16, patch=8)
    model = build_backbone("vit_tiny_patch16_224", seed=0, size=16, patch=8)
    mask = control.apply_to(model)
    for name, parameter in fresh.named_parameters():
        kept = mask[name] if name in mask else torch.ones_like(parameter, dtype=torch.bool)
        assert torch.equal(model.get_parameter(name), parameter * kept), name
