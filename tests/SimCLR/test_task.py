"""The SimCLR task: reshuffled epochs, derived views, evaluation that changes nothing."""

from __future__ import annotations

import torch

from common.cli import resolve
from common.training.pretraining import build_setting
from SimCLR.main import COMMAND
from SimCLR.search import build_task
from SimCLR.task import SimCLRTask


def small_task(*words: str) -> SimCLRTask:
    config = resolve(
        COMMAND, ["--data.name=digits:0-2", "--train.batch_size=64", "--evaluation.retrieval_batch=32", *words]
    ).config
    return build_task(build_setting(config, torch.device("cpu")))


def test_views_depend_on_round_epoch_and_batch_alone() -> None:
    task, other = small_task(), small_task()
    whole = list(task.train_batches(1, 2, 0))
    assert len(whole) == task.steps_per_epoch
    for late, early in zip(other.train_batches(1, 2, 2), whole[2:], strict=True):
        assert all(torch.equal(a, b) for a, b in zip(late, early, strict=True))
    for epoch, round_ in ((3, 1), (2, 0)):
        assert not torch.equal(next(iter(task.train_batches(round_, epoch, 0)))[0], whole[0][0])
    assert not torch.equal(whole[0][0], whole[0][1])


def test_epochs_are_reshuffled_and_batches_mix_the_classes() -> None:
    task = small_task()
    images = task.splits["train"]
    orders = [torch.cat(list(images.batches(0, "order", 0, epoch, batch_size=64, drop_last=True))) for epoch in (0, 1)]
    assert not torch.equal(*orders)
    for order in orders:
        assert len(order.unique()) == len(order)
        for batch in order.split(64):
            assert len(images.labels[batch].unique()) == 3


def test_evaluation_changes_nothing_and_repeats() -> None:
    task = small_task()
    task.network.train()
    before = {name: tensor.clone() for name, tensor in task.network.state_dict().items()}
    global_state = torch.get_rng_state()
    first = task.evaluate("validation")
    assert first == task.evaluate("validation")
    assert set(first) == {"retrieval_accuracy", "knn_accuracy"}
    assert all(0 <= value <= 1 for value in first.values())
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
