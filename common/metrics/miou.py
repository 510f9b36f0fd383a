"""Mean intersection over union of label maps, from a confusion matrix that is accumulated where the network computes."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from common.data.annotated.sets import IGNORE
from common.errors import InputError


class ConfusionMatrix:
    """How often pixels of each true class were taken for each class.

    Attributes:
        counts: int64 (K, K): rows are the truth, columns the prediction; the sum over ranks (all_reduce) is the matrix of all.
    """

    def __init__(self, num_classes: int, device: torch.device | str = "cpu") -> None:
        """Start at zero.

        Args:
            num_classes: K, >= 1.
            device: where the maps will be.
        """
        if num_classes < 1:
            raise InputError(f"a confusion matrix of {num_classes} classes, expected at least 1")
        self.counts = torch.zeros(num_classes, num_classes, dtype=torch.int64, device=device)

    def update(self, predicted: Tensor, labels: Tensor) -> None:
        """Count the pixels of some maps; where the label is IGNORE (255), nothing counts.

        Args:
            predicted: integer, any shape such as (B, H, W), in 0 .. K-1 where the label is not IGNORE.
            labels: integer, of the same shape, in 0 .. K-1 or IGNORE.

        Raises:
            InputError: other shapes, or a class out of range; names it.
        """
        if predicted.shape != labels.shape:
            shapes = f"{tuple(predicted.shape)} and {tuple(labels.shape)}"
            raise InputError(f"predicted and true label maps of shapes {shapes}, expected the same")
        for what, map_ in (("predicted", predicted), ("true", labels)):
            if map_.is_floating_point() or map_.dtype == torch.bool:
                raise InputError(f"the {what} label map is {map_.dtype}, expected integer classes")
        judged = labels != IGNORE
        predicted_N, labels_N = predicted[judged].long(), labels[judged].long()
        self._require_classes("predicted", predicted_N)
        self._require_classes("true", labels_N)
        classes = len(self.counts)
        pairs = torch.bincount(labels_N * classes + predicted_N, minlength=classes * classes)
        self.counts += pairs.view(classes, classes).to(self.counts.device)

    def merge(self, other: ConfusionMatrix) -> None:
        """Add another matrix's counts, such as another process's.

        Raises:
            InputError: it has another number of classes.
        """
        if self.counts.shape != other.counts.shape:
            raise InputError(f"confusion matrices of {len(self.counts)} and {len(other.counts)} classes, expected as many")
        self.counts += other.counts.to(self.counts.device)

    def metrics(self) -> dict[str, float]:
        """Return fractions in [0, 1].

        Returns:
            "miou": mean over classes of intersection over union; a class that is in neither truth nor prediction has none
            and is left out, one that is predicted alone has 0. "pixel_accuracy": share of pixels that are right.
            "class_accuracy": mean over the classes in the truth of the share of their pixels that are right.

        Raises:
            InputError: no pixel was counted.
        """
        if not bool(self.counts.any()):
            raise InputError("no pixel has a label other than IGNORE, so mIoU is not defined; evaluate maps with labels")
        iou_K, counts = self._iou(), self.counts.cpu().double()
        right_K, true_K = counts.diagonal(), counts.sum(dim=1)
        there_K = true_K > 0
        return {
            "miou": float(iou_K[~iou_K.isnan()].mean()),
            "pixel_accuracy": float(right_K.sum() / counts.sum()),
            "class_accuracy": float((right_K[there_K] / true_K[there_K]).mean()),
        }

    def per_class(self) -> list[float | None]:
        """Return the intersection over union of every class, in [0, 1]; None: in neither truth nor prediction."""
        return [None if math.isnan(iou) else iou for iou in self._iou().tolist()]

    def _iou(self) -> Tensor:
        """Return intersection over union, float64 (K,), NaN where a class is nowhere."""
        counts = self.counts.cpu().double()
        right_K = counts.diagonal()
        return right_K / (counts.sum(dim=0) + counts.sum(dim=1) - right_K)

    def _require_classes(self, what: str, classes_N: Tensor) -> None:
        classes = len(self.counts)
        if classes_N.numel():
            low, high = (int(edge) for edge in classes_N.aminmax())
            if low < 0 or high >= classes:
                wrong = low if low < 0 else high
                raise InputError(
                    f"a {what} label map holds class {wrong}, expected 0 to {classes - 1}, or {IGNORE} to ignore a pixel"
                )
