"""MoCo's search and evaluation: its task, given to what every pre-training folder shares."""

from __future__ import annotations

from common.cli import Invocation
from common.models.heads import Network, projection_head
from common.training.pretraining import Setting, evaluate_search, run_search
from MoCo.task import MoCoTask


def find_tickets(invocation: Invocation) -> None:
    """Search for tickets on the momentum contrast; errors as `run_search`."""
    run_search(invocation, "moco", build_task)


def evaluate_tickets(invocation: Invocation, what: str) -> None:
    """Judge a run, ticket or file of weights; errors as `evaluate_search`."""
    evaluate_search(invocation, what, build_task)


def build_task(setting: Setting) -> MoCoTask:
    """Put a projection head on the backbone and make the task."""
    head = projection_head(int(setting.backbone.num_features), setting.config.objective.head, seed=setting.seed)
    network = Network(setting.backbone, head.to(setting.device))
    return MoCoTask(setting.config, network, setting.dataset, setting.device, setting.seed)
