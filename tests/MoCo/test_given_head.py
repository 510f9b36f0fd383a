"""MoCo's published layout: both encoders start from the query encoder and its projection head."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from common.cli import resolve
from common.models.backbones import build_backbone
from common.training.pretraining import build_setting
from MoCo.main import COMMAND
from MoCo.task import MoCoTask, build_task

SMALL = (
    "--data.name=digits:0-2",
    "--train.batch_size=32",
    "--evaluation.retrieval_batch=32",
    "--data.accept_input_mismatch=true",
)


def published(path: Path, *widths: int) -> dict[str, Tensor]:
    """Write a checkpoint of both encoders with projections of some widths; return the query encoder's tensors."""
    encoders = {}
    for name, seed in (("encoder_q", 1), ("encoder_k", 2)):
        draws = torch.Generator().manual_seed(seed)
        own = {f"fc.{2 * i}.weight": torch.rand(b, a, generator=draws) for i, (a, b) in enumerate(zip((64, *widths), widths))}
        own |= {n.replace("weight", "bias"): torch.rand(len(t), generator=draws) for n, t in own.items()}
        own |= build_backbone("resnet_digits", seed=seed).state_dict()
        encoders[name] = own
    state = {f"module.{encoder}.{n}": t for encoder, own in encoders.items() for n, t in own.items()}
    torch.save({"state_dict": state | {"module.queue": torch.rand(32, 8), "module.queue_ptr": torch.zeros(1)}}, path)
    return encoders["encoder_q"]


def task_of(path: Path, *words: str) -> MoCoTask:
    config = resolve(COMMAND, [*SMALL, f"--start.weights={path}", *words]).config
    return build_task(build_setting(config, torch.device("cpu")))


def test_backbone_and_head_of_both_encoders_are_the_query_encoders(tmp_path: Path) -> None:
    query = published(tmp_path / "moco.pth.tar", 48, 24)
    task = task_of(tmp_path / "moco.pth.tar", "--objective.head=[48,24]")
    for encoder in (task.network, task.key_encoder):
        assert all(torch.equal(tensor, query[n]) for n, tensor in encoder.backbone.state_dict().items())
        assert all(torch.equal(tensor, query[f"fc.{n}"]) for n, tensor in encoder.head.state_dict().items())


def test_a_head_of_other_widths_stays_fresh(tmp_path: Path) -> None:
    query = published(tmp_path / "moco.pth.tar", 48, 24)
    task = task_of(tmp_path / "moco.pth.tar", "--objective.head=[32,24]")
    assert torch.equal(task.network.backbone.conv1.weight, query["conv1.weight"])
    assert tuple(task.network.head[0].weight.shape) == (32, 64)
