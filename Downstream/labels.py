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

    @property
    def classes(self) -> int:
        """Classes that a training label is of."""
        return len(self.train.labels.unique())


def absence_flags(dataset: Dataset, split: str) -> tuple[str, ...]:
    """Flag a split that has no image of some class: its mean per class is over the others."""
    there = dataset.split(split).labels.unique()
    return ("absent_classes",) if len(there) < len(dataset.classes) else ()


def check_labels(labelled: Labelled, num_classes: int, at_least: int, *, balanced: bool) -> None:
    """Refuse labels that a head cannot be fitted to.

    Args:
        labelled: what may be used.
        num_classes: classes of the target.
        at_least: labels that every class needs, >= 1; where they are not balanced, labels that are needed in all.
        balanced: every class has some; else a class may have none, and two need some.

    Raises:
        InputError: there are fewer, or all labels are of one class.
    """
    per_class = labelled.train.labels.bincount(minlength=num_classes)
    there = int((per_class > 0).sum())
    if not balanced:
        if len(labelled.train) < at_least:
            raise InputError(
                f"data.labels: got {len(labelled.train)} training labels, expected {at_least} or more, one for each of "
                f"linear.folds; raise data.labels, lower linear.folds or give one linear.l2"
            )
        if there < 2:
            raise InputError(
                f"data.labels: the {len(labelled.train)} training labels are of {there} class, expected 2 classes or more to "
                f"tell apart; raise data.labels or set data.balanced true"
            )
        return
    fewest = int(per_class.argmin())
    got = int(per_class[fewest])
    if got < at_least:
        mend = "raise data.labels" + (", lower linear.folds or give one linear.l2" if at_least > 1 else "")
        raise InputError(
            f"data.labels: class {fewest} of {num_classes} has {got} training labels, expected {at_least} or more; {mend}"
        )


def labelled_images(dataset: Dataset, config: LabelledDataConfig, seed: int) -> Labelled:
    """Choose the labelled images: the same for every arm with the same task seed.

    Args:
        dataset: the target.
        config: how many labels in all, how many of them choose, and whether they are balanced over the classes.
        seed: the task's seed.

    Raises:
        InputError: more labels are asked for than there are, or the training images have none.
    """
    require_labels(dataset)
    if config.labels is None:
        return Labelled(dataset.train, dataset.validation)
    train, choose = label_count(config, len(dataset.train)) - config.validation_labels, config.validation_labels
    if train < 1:
        raise InputError(
            f"data.validation_labels: got {choose}, expected fewer than the {train + choose} labels that data.labels "
            f"{config.labels} makes of {len(dataset.train)} training images, which it is a part of"
        )
    chosen = labelled_subset(dataset.train.labels, train, seed, balanced=config.balanced)
    validation = None
    if choose:
        wanted = labelled_subset(dataset.validation.labels, choose, seed, balanced=config.balanced)
        validation = dataset.validation.subset(wanted)
    return Labelled(dataset.train.subset(chosen), validation)


def label_count(config: LabelledDataConfig, images: int) -> int:
    """Return how many labels `data.labels` asks for, of so many training images; a fraction is rounded, and is never none.

    Without `data.labels` it is every image.
    """
    if config.labels is None:
        return images
    return max(1, round(config.labels * images)) if isinstance(config.labels, float) else config.labels
