"""The labels that a run may use: all of them, or a fixed few."""

from __future__ import annotations

from dataclasses import dataclass

from common.config import LabelledDataConfig
from common.data.datasets import Dataset, Images, require_labels
from common.data.file_images import FileImages
from common.data.splits import labelled_subset
from common.errors import InputError


@dataclass(frozen=True)
class Labelled:
    """Images whose labels a run may use.

    Attributes:
        train: what weights and heads are fitted to.
        validation: what may choose; None where every label is spent on training.
    """

    train: Images | FileImages
    validation: Images | FileImages | None

    @property
    def count(self) -> int:
        """Labels in all."""
        return len(self.train) + (len(self.validation) if self.validation is not None else 0)


def absence_flags(dataset: Dataset, split: str) -> tuple[str, ...]:
    """Flag a split that has no image of some class: its mean per class is over the others."""
    there = dataset.split(split).labels.unique()
    return ("absent_classes",) if len(there) < len(dataset.classes) else ()


def check_labels(labelled: Labelled, num_classes: int, at_least: int) -> None:
    """Refuse labels that a head cannot be fitted to.

    Args:
        labelled: what may be used.
        num_classes: classes of the target.
        at_least: labels that every class needs, >= 1.

    Raises:
        InputError: a class has fewer.
    """
    per_class = labelled.train.labels.bincount(minlength=num_classes)
    fewest = int(per_class.argmin())
    got = int(per_class[fewest])
    if got < at_least:
        mend = "raise data.labels" + (", lower linear.folds or give one linear.l2" if at_least > 1 else "")
        raise InputError(
            f"data.labels: class {fewest} of {num_classes} has {got} training labels, expected {at_least} or more; {mend}"
        )


def labelled_images(dataset: Dataset, config: LabelledDataConfig, seed: int) -> Labelled:
    """Choose the labelled images: the same for every arm with the same task seed, balanced over the classes.

    Args:
        dataset: the target.
        config: how many labels in all, and how many of them choose.
        seed: the task's seed.

    Raises:
        InputError: more labels are asked for than there are, or the training images have none.
    """
    require_labels(dataset)
    if config.labels is None:
        return Labelled(dataset.train, dataset.validation)
    chosen = labelled_subset(dataset.train.labels, config.labels - config.validation_labels, seed)
    validation = None
    if config.validation_labels:
        validation = dataset.validation.subset(labelled_subset(dataset.validation.labels, config.validation_labels, seed))
    return Labelled(dataset.train.subset(chosen), validation)
