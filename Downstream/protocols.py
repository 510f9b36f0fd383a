"""The protocols: what each trains of an arm, and how what came out is measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from common.errors import InputError
from common.metrics.accuracy import accuracies
from common.models.features import evaluating
from common.models.heads import Network
from common.training.checkpoint import Checkpoint
from common.training.dense_long import lengthened
from common.training.run import Run
from common.training.selecting import SelectingTask
from common.training.span import check_durations
from Downstream.config import DownstreamConfig
from Downstream.features import Split
from Downstream.head_task import HeadTask
from Downstream.linear import fit_linear
from Downstream.neighbours import KNN_METRICS, check_neighbours, judge_by_neighbours
from Downstream.sweep import train_task
from Downstream.target import fresh_head
from Downstream.task import ClassificationTask, classify

if TYPE_CHECKING:
    from Downstream.transfer import Arm


@dataclass(frozen=True)
class Judged:
    """What a protocol made of an arm.

    Attributes:
        network: backbone and head; None where there is no head.
        metric: the main metric.
        measure: gives {metric: value} of a split.
        details: what the protocol chose or did.
    """

    network: Network | None
    metric: str
    measure: Callable[[Split], Mapping[str, float]]
    details: Mapping[str, Any] = field(default_factory=dict)


def build_task(arm: Arm) -> SelectingTask | None:
    """Return what is trained in optimizer steps, a fresh head on it; None where nothing is.

    Raises:
        InputError: the protocol's options do not fit the images or the machine; nothing was written.
    """
    config = arm.config
    if config.protocol == "knn":
        check_neighbours(arm.labelled, config.evaluation.neighbours)
    if config.protocol != "full" and config.features.engine != "torch":
        arm.features.prepare()
    if not config.trains_in_steps:
        return None
    head = fresh_head(arm.backbone, arm.dataset, config.seed.task).to(arm.device)
    task: SelectingTask
    if config.protocol == "linear":
        task = HeadTask(config, head, arm.labelled, arm.features, arm.device, config.seed.task)
    else:
        network = Network(arm.backbone, head)
        task = ClassificationTask(config, network, arm.dataset, arm.labelled, arm.device, config.seed.task)
    check_durations(config, task.steps_per_epoch)
    if config.optim.sweep and arm.labelled.validation is None:
        raise InputError(
            f"optim.sweep: {arm.dataset.name} has no labels left to choose among rates; set data.validation_labels, "
            f"or give one optim.lr"
        )
    return task


def follow_protocol(arm: Arm, task: SelectingTask | None, run: Run, resumed: Checkpoint | None) -> Judged:
    """Train what the protocol trains, from its checkpoint where there is one.

    Args:
        arm: what the transfer works on.
        task: what `build_task` returned.
        run: the run directory, locked.
        resumed: a checkpoint of this run.

    Raises:
        DivergenceError: a loss or a weight is not finite.
        InputError: an image cannot be read.
    """
    config = arm.config
    if config.protocol == "knn":
        neighbours = config.evaluation.neighbours
        return Judged(
            None,
            KNN_METRICS[arm.dataset.metric],
            lambda images: judge_by_neighbours(arm.features, images, arm.labelled, neighbours),
            {"neighbours": neighbours, **_engine(arm)},
        )
    if isinstance(task, HeadTask):
        details = train_task(task, config, run, None, resumed)
        return _frozen(arm, Network(arm.backbone, task.folded_head().to(arm.device)), details)
    if task is not None:
        config = lengthened(config, arm.search_epochs, task.steps_per_epoch) if arm.search_epochs else config
        details = {**train_task(task, config, run, arm.start.mask, resumed), **_epochs(arm, config)}
        return Judged(
            task.network, task.main_metric, lambda images: classify(task.network, images, arm.dataset, arm.device), details
        )
    return _by_lbfgs(arm)


def _epochs(arm: Arm, config: DownstreamConfig) -> dict[str, float]:
    """Return how long control dense_long was trained for, and how much of that it got for the ticket's search."""
    is_long = arm.start.control == "dense_long"
    return {"epochs": config.train.epochs, "search_epochs": arm.search_epochs} if is_long else {}


def _by_lbfgs(arm: Arm) -> Judged:
    """Fit a logistic regression to the frozen backbone's features."""
    config, features, train = arm.config, arm.features, arm.labelled.train
    fit = fit_linear(
        features.of(train),
        train.labels,
        config.linear,
        standard=features.standard(),
        num_classes=len(arm.dataset.classes),
        seed=config.seed.task,
        validation=(features.of(arm.chooser), arm.chooser.labels) if arm.chooser is not None else None,
        metric=arm.dataset.metric,
        balanced=config.data.labels is None or config.data.balanced,
    )
    details = {"l2": fit.l2, "l2_scores": fit.scores, "converged": fit.converged}
    return _frozen(arm, Network(arm.backbone, fit.head.to(arm.device)), details)


def _frozen(arm: Arm, network: Network, details: Mapping[str, Any]) -> Judged:
    """Judge a head by features, which the engine computes."""

    def measure(images: Split) -> Mapping[str, float]:
        with evaluating(network.head):
            return accuracies(network.head(arm.features.of(images)), images.labels.to(arm.device))

    return Judged(network, arm.dataset.metric, measure, {**details, **_engine(arm)})


def _engine(arm: Arm) -> dict[str, str]:
    return {"features_engine": arm.features.engine}
