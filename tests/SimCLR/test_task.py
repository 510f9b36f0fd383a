"""The SimCLR task: views and evaluation that depend on nothing but the recipe, a loss that reaches every weight."""

from __future__ import annotations

import torch

from common.cli import resolve
from common.training.pretraining import build_setting
from SimCLR.main import COMMAND
from SimCLR.task import SimCLRTask, build_task


def small_task(*words: str) -> SimCLRTask:
    config = resolve(
        COMMAND, ["--data.name=digits:0-2", "--train.batch_size=64", "--evaluation.retrieval_batch=32", *words]
    ).config
    return build_task(build_setting(config, torch.device("cpu")))


def test_a_batch_is_two_views_and_labels() -> None:
    task = small_task()
    (first, second), labels = next(iter(task.train_batches(0, 0, 0)))
    assert first.shape == second.shape == (64, 3, 16, 16)
    assert labels.shape == (64,)
    assert not torch.equal(first, second)


def test_evaluation_changes_nothing_and_repeats() -> None:
    task = small_task()
    task.network.train()
    before = {name: tensor.clone() for name, tensor in task.network.state_dict().items()}
    global_state = torch.get_rng_state()
    first = task.evaluate("validation")
    assert first == task.evaluate("validation")
    assert set(first) == {"retrieval_accuracy", "knn_accuracy", "rankme"}
    assert task.network.training
    assert torch.equal(global_state, torch.get_rng_state())
    assert all(torch.equal(tensor, before[name]) for name, tensor in task.network.state_dict().items())


def test_the_loss_reaches_every_weight() -> None:
    task = small_task()
    task.loss(next(iter(task.train_batches(0, 0, 0))))["total"].backward()
    assert all(bool(parameter.grad.abs().sum() > 0) for parameter in task.network.parameters())


def test_seeds_give_other_networks() -> None:
    a, b, c = small_task(), small_task("--seed.ticket=1"), small_task("--seed.ticket=0")
    weight = "backbone.conv1.weight"
    assert not torch.equal(a.network.state_dict()[weight], b.network.state_dict()[weight])
    assert all(torch.equal(x, y) for x, y in zip(a.network.state_dict().values(), c.network.state_dict().values(), strict=True))
