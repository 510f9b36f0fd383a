"""Protocol `linear` by L-BFGS: a logistic regression on features that were extracted once.

Shapes: N images, M of a fold, D features, K classes, P of them with a training label.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from common.data.reading import Metric
from common.metrics.accuracy import ACCURACIES
from common.randomness import derive_seed
from Downstream.config import LinearConfig
from Downstream.features import folded_head

_NEVER = -1e9
"""Logit of a class that no training label is of: its share of the softmax is 0 in float32, as in the limit of the fit."""


@dataclass(frozen=True)
class LinearFit:
    """A fitted linear head.

    Attributes:
        head: maps features (N, D) to logits (N, K); the standardisation is folded in.
        l2: the strength that was used.
        scores: accuracy (the target's metric) of every strength where several were offered: of folds, or on validation labels.
        converged: L-BFGS stopped by itself.
    """

    head: nn.Linear
    l2: float
    scores: dict[str, float]
    converged: bool


def fit_linear(
    features_ND: Tensor,
    labels_N: Tensor,
    config: LinearConfig,
    *,
    standard: tuple[Tensor, Tensor],
    num_classes: int,
    seed: int,
    validation: tuple[Tensor, Tensor] | None,
    metric: Metric = "top1",
    balanced: bool = True,
) -> LinearFit:
    """Fit a multinomial logistic regression (scikit-learn, L-BFGS) to standardised features.

    Args:
        features_ND: of the labelled training images, float.
        labels_N: their labels, in [0, num_classes).
        config: L2 strengths to choose from, folds.
        standard: mean and standard deviation (D,) of features, from images whose labels are not looked at.
        num_classes: K.
        seed: the task's seed, for the folds.
        validation: features and labels that choose among several strengths; None: cross-validation of the training labels.
        metric: the accuracy that chooses.
        balanced: folds hold every class in like shares, which needs `config.folds` labels of each (`check_labels`); else they are
            drawn over the images alike.

    Returns:
        The head, and what was chosen. Two classes need a label; one without is never predicted.
    """
    x_ND, y_N = _standardised(features_ND, standard), labels_N.cpu().numpy()
    scores: dict[str, float] = {}
    if len(config.l2) > 1:
        held_out = None if validation is None else (_standardised(validation[0], standard), validation[1].cpu().numpy())
        scores = {f"{l2:g}": _score(x_ND, y_N, l2, config, seed, held_out, metric, balanced) for l2 in config.l2}
    l2 = max(config.l2, key=lambda strength: (scores.get(f"{strength:g}", 0.0), strength))
    model, converged = _fit(x_ND, y_N, l2, config)
    return LinearFit(_as_head(model, standard, num_classes), l2, scores, converged)


def _standardised(features_ND: Tensor, standard: tuple[Tensor, Tensor]) -> np.ndarray:
    mean_D, std_D = (part.double().cpu() for part in standard)
    return ((features_ND.double().cpu() - mean_D) / std_D).numpy()


def _fit(x_ND: np.ndarray, y_N: np.ndarray, l2: float, config: LinearConfig) -> tuple[Any, bool]:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = LogisticRegression(C=1.0 / l2, max_iter=config.max_iterations).fit(x_ND, y_N)
    return model, not any(issubclass(warning.category, ConvergenceWarning) for warning in caught)


def _score(
    x_ND: np.ndarray,
    y_N: np.ndarray,
    l2: float,
    config: LinearConfig,
    seed: int,
    held_out: tuple[np.ndarray, np.ndarray] | None,
    metric: Metric,
    balanced: bool,
) -> float:
    """Return the accuracy that a strength reaches on held-out labels, or on average over folds."""
    from sklearn.model_selection import KFold, StratifiedKFold

    def score(fitted: np.ndarray, labels: np.ndarray, x: np.ndarray, y: np.ndarray) -> float:
        one_class = len(np.unique(labels)) == 1  # of all other folds: it is the prediction
        predicted = np.full(len(x), labels[0]) if one_class else _fit(fitted, labels, l2, config)[0].predict(x)
        return ACCURACIES[metric](torch.from_numpy(predicted), torch.from_numpy(y))

    if held_out is not None:
        return score(x_ND, y_N, *held_out)
    kind = StratifiedKFold if balanced else KFold
    folds = kind(config.folds, shuffle=True, random_state=derive_seed(seed, "folds") % 2**32)
    return float(np.mean([score(x_ND[a], y_N[a], x_ND[b], y_N[b]) for a, b in folds.split(x_ND, y_N)]))


def _as_head(model: Any, standard: tuple[Tensor, Tensor], num_classes: int) -> nn.Linear:
    """Fold the standardisation into the weights; two classes become rows of opposite sign, absent ones are never predicted."""
    weight_PD, bias_P = torch.from_numpy(model.coef_), torch.from_numpy(model.intercept_)
    if len(weight_PD) == 1:
        weight_PD, bias_P = torch.cat([-weight_PD, weight_PD]) / 2, torch.cat([-bias_P, bias_P]) / 2
    there_P = torch.from_numpy(model.classes_)
    weight_KD = torch.zeros(num_classes, weight_PD.shape[1], dtype=weight_PD.dtype).index_copy_(0, there_P, weight_PD)
    bias_K = torch.full((num_classes,), _NEVER, dtype=bias_P.dtype).index_copy_(0, there_P, bias_P)
    return folded_head(weight_KD, bias_K, standard)
