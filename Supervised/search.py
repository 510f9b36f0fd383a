"""The supervised search and evaluation: the task, given to what every pre-training folder shares."""

from __future__ import annotations

from common.cli import Invocation
from common.config import require
from common.models.heads import Network, linear_head
from common.models.start_head import load_classifier_
from common.training.pretraining import Setting, evaluate_search, run_search
from Supervised.task import SupervisedTask


def find_tickets(invocation: Invocation) -> None:
    """Search for tickets on cross-entropy; errors as `run_search`."""
    run_search(invocation, "supervised", build_task)


def evaluate_tickets(invocation: Invocation, what: str) -> None:
    """Judge a run, ticket or file of weights; errors as `evaluate_search`."""
    evaluate_search(invocation, what, build_task)


def build_task(setting: Setting) -> SupervisedTask:
    """Put a linear classifier on the backbone, the one of `start.weights` where it fits, and make the task.

    Raises:
        InputError: fewer than two classes, or training images without labels.
    """
    config, dataset = setting.config, setting.dataset
    require(len(dataset.classes) >= 2, "data.name", dataset.name, "at least two classes to tell apart")
    require("bank" not in dataset.splits, "data.name", dataset.name, "labelled training images; see SimCLR and MoCo for others")
    head = linear_head(int(setting.backbone.num_features), len(dataset.classes), seed=setting.seed)
    if setting.start is not None and config.objective.classifier == "given":
        print(f"start.weights: {load_classifier_(head, setting.backbone, setting.start)}")
    network = Network(setting.backbone, head.to(setting.device))
    return SupervisedTask(config, network, dataset, setting.device, setting.seed, views=1)
