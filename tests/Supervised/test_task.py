"""The supervised task: labels that match their images, a loss that reaches every weight, an accuracy that is scikit-learn's."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from sklearn.metrics import accuracy_score

from common.cli import resolve
from common.errors import InputError
from common.training.pretraining import Setting, build_setting
from Supervised.main import COMMAND
from Supervised.task import SupervisedTask, build_task


def setting(*words: str) -> Setting:
    words = ("--data.name=digits:0-2", "--train.batch_size=64", "--evaluation.retrieval_batch=32", *words)
    return build_setting(resolve(COMMAND, words).config, torch.device("cpu"))


def small_task(*words: str) -> SupervisedTask:
    return build_task(setting(*words))


def test_a_batch_is_one_view_and_labels() -> None:
    task = small_task()
    (images,), labels = next(iter(task.train_batches(0, 0, 0)))
    assert images.shape == (64, 3, 16, 16)
    assert labels.shape == (64,)
    assert set(labels.tolist()) == {0, 1, 2}


def test_the_loss_is_cross_entropy_of_the_network_on_the_batch() -> None:
    task = small_task("--objective.label_smoothing=0.2")
    (images,), labels = next(iter(task.train_batches(0, 0, 0)))
    loss = task.loss(((images,), labels))["total"]
    logits = task.network.head(task.network.backbone(images)).detach().double()
    chosen = logits.softmax(1).log()
    expected = -0.8 * chosen[torch.arange(64), labels].mean() - 0.2 / 3 * chosen.sum(1).mean()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)


def test_the_loss_reaches_every_weight() -> None:
    task = small_task()
    task.loss(next(iter(task.train_batches(0, 0, 0))))["total"].backward()
    assert all(bool(parameter.grad.abs().sum() > 0) for parameter in task.network.parameters())


def test_accuracy_is_scikit_learns_on_images_without_augmentation() -> None:
    task = small_task()
    images = task.images["validation"]
    with torch.no_grad():
        pixels = images.images.float() / 255  # the digits' input specification: [0, 1], without mean and deviation
        expected = accuracy_score(images.labels.numpy(), task.network.eval()(pixels).argmax(1).numpy())
    metrics = task.evaluate("validation")
    assert metrics["top1_accuracy"] == pytest.approx(expected, abs=1e-9)
    assert set(metrics) == {"top1_accuracy", "retrieval_accuracy", "knn_accuracy", "rankme"}


def test_evaluation_changes_nothing_and_repeats_and_knows_no_test_images() -> None:
    task = small_task()
    task.network.train()
    before = {name: tensor.clone() for name, tensor in task.network.state_dict().items()}
    global_state = torch.get_rng_state()
    assert task.evaluate("validation") == task.evaluate("validation")
    assert task.network.training
    assert torch.equal(global_state, torch.get_rng_state())
    assert all(torch.equal(tensor, before[name]) for name, tensor in task.network.state_dict().items())
    assert set(task.images) == {"train", "validation"}


def test_an_untrained_classifier_starts_near_chance() -> None:
    task = small_task()
    (images,), labels = next(iter(task.train_batches(0, 0, 0)))
    assert task.loss(((images,), labels))["total"].item() == pytest.approx(math.log(3), abs=0.5)


def test_one_class_has_nothing_to_tell_apart() -> None:
    with pytest.raises(InputError, match=r"data\.name: got 'digits:3', expected at least two classes"):
        small_task("--data.name=digits:3")


def test_training_images_without_labels_are_refused() -> None:
    one = setting()
    unlabelled = replace(one.dataset.train, labels=torch.full_like(one.dataset.train.labels, -1))
    dataset = replace(one.dataset, splits={**one.dataset.splits, "train": unlabelled, "bank": one.dataset.train})
    with pytest.raises(InputError, match="training images of digits:0-2 have no labels"):
        build_task(replace(one, dataset=dataset))
