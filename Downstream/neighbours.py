"""Protocol `knn`: a frozen backbone judged by k-nearest neighbours among the labelled training images; nothing is fitted."""

from __future__ import annotations

from common.data.reading import Metric
from common.errors import InputError
from common.metrics.accuracy import accuracies
from common.metrics.knn import knn_predict
from Downstream.features import Features, Split
from Downstream.labels import Labelled

KNN_METRICS: dict[Metric, str] = {"top1": "knn_accuracy", "mean_per_class": "knn_mean_per_class"}
"""What neighbours reach is called by the target's metric."""


def check_neighbours(labelled: Labelled, neighbours: int) -> None:
    """Refuse more neighbours than there are labelled images.

    Raises:
        InputError: says how many there are.
    """
    if neighbours > len(labelled.train):
        raise InputError(
            f"evaluation.neighbours: got {neighbours}, expected at most {len(labelled.train)}, the number of labelled "
            f"training images"
        )


def judge_by_neighbours(features: Features, queries: Split, labelled: Labelled, neighbours: int) -> dict[str, float]:
    """Return the share of queries that their neighbours' vote classifies rightly, of all and as the mean over classes.

    Args:
        features: of the backbone.
        queries: the split that is classified.
        labelled: its training images are the neighbours.
        neighbours: k; see `common.metrics.knn`.

    Raises:
        InputError: more neighbours than images.
        RunError: a feature is not finite.
    """
    bank_ND, queries_QD = features.of(labelled.train), features.of(queries)
    predictions_Q = knn_predict(queries_QD, bank_ND, labelled.train.labels.to(bank_ND.device), k=neighbours)
    labels_Q = queries.labels.to(bank_ND.device)
    return {KNN_METRICS[metric]: value for metric, value in accuracies(predictions_Q, labels_Q).items()}
