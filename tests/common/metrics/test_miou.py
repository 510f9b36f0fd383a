"""Mean intersection over union against scikit-learn and a loop over pixels."""

from __future__ import annotations

import pytest
import torch
from sklearn.metrics import accuracy_score, jaccard_score, recall_score

from common.data.annotated.sets import IGNORE
from common.errors import InputError
from common.metrics.miou import ConfusionMatrix


def random_maps(seed: int, classes: range) -> tuple[torch.Tensor, torch.Tensor]:
    """Return predictions and labels (4, 23, 17), a third of the pixels right, a tenth ignored."""
    random = torch.Generator().manual_seed(seed)
    shape = (4, 23, 17)
    labels = torch.randint(classes.start, classes.stop, shape, generator=random)
    predicted = torch.randint(classes.start, classes.stop, shape, generator=random)
    right = torch.rand(shape, generator=random) < 0.3
    predicted = torch.where(right, labels, predicted)
    return predicted, torch.where(torch.rand(shape, generator=random) < 0.1, IGNORE, labels)


@pytest.mark.parametrize("seed", range(3))
def test_metrics_equal_sklearn_and_a_loop(seed: int) -> None:
    predicted, labels = random_maps(seed, range(1, 7))  # class 0 is nowhere
    predicted[0, 0, :5], labels[0, 0, :5] = 7, 2  # class 7 is predicted alone
    labels[labels == 5] = IGNORE  # class 5 too, after this; 8 is nowhere
    matrix = ConfusionMatrix(9)
    for image in range(4):
        matrix.update(predicted[image : image + 1], labels[image : image + 1].to(torch.uint8))

    judged = labels != IGNORE
    truth, guess = labels[judged].numpy(), predicted[judged].numpy()
    there = sorted({*truth.tolist(), *guess.tolist()})
    assert matrix.metrics() == pytest.approx(
        {
            "miou": jaccard_score(truth, guess, average="macro", labels=there),
            "pixel_accuracy": accuracy_score(truth, guess),
            "class_accuracy": recall_score(truth, guess, average="macro", labels=sorted(set(truth.tolist()))),
        },
        abs=1e-12,
    )
    for k, iou in enumerate(matrix.per_class()):
        both = either = 0
        for true, taken in zip(truth.tolist(), guess.tolist(), strict=True):
            both += true == k and taken == k
            either += true == k or taken == k
        assert iou == (pytest.approx(both / either) if either else None)
    assert matrix.per_class()[0] is None
    assert matrix.per_class()[8] is None
    assert matrix.per_class()[7] == matrix.per_class()[5] == 0


def test_rows_are_the_truth_and_columns_the_prediction() -> None:
    matrix = ConfusionMatrix(3)
    matrix.update(torch.tensor([[1, 1, 2]]), torch.tensor([[0, 0, 2]]))
    assert matrix.counts.tolist() == [[0, 2, 0], [0, 0, 0], [0, 0, 1]]


def test_merged_parts_equal_the_whole() -> None:
    predicted, labels = random_maps(9, range(4))
    whole, first, second = (ConfusionMatrix(4) for _ in range(3))
    whole.update(predicted, labels)
    first.update(predicted[:3], labels[:3])
    second.update(predicted[3:], labels[3:])
    first.merge(second)
    assert torch.equal(first.counts, whole.counts)
    with pytest.raises(InputError, match=r"4 and 5 classes"):
        first.merge(ConfusionMatrix(5))


def test_what_is_predicted_where_the_label_is_ignored_never_counts() -> None:
    matrix = ConfusionMatrix(2)
    matrix.update(torch.tensor([[0, 200, -7]]), torch.tensor([[0, IGNORE, IGNORE]]))
    assert matrix.metrics() == {"miou": 1.0, "pixel_accuracy": 1.0, "class_accuracy": 1.0}
    with pytest.raises(InputError, match=r"no pixel has a label"):
        ConfusionMatrix(2).metrics()


def test_values_out_of_range_are_refused_and_nothing_is_counted() -> None:
    matrix = ConfusionMatrix(3)
    zeros = torch.zeros(2, 2, dtype=torch.int64)
    for predicted, labels, match in (
        (zeros + 3, zeros, r"a predicted label map holds class 3, expected 0 to 2"),
        (zeros, zeros + 254, r"a true label map holds class 254"),
        (zeros, zeros - 1, r"class -1"),
        (zeros, zeros[:1], r"shapes \(2, 2\) and \(1, 2\)"),
        (zeros.float(), zeros, r"float32, expected integer"),
    ):
        with pytest.raises(InputError, match=match):
            matrix.update(predicted, labels)
    assert not matrix.counts.any()
    with pytest.raises(InputError, match=r"of 0 classes"):
        ConfusionMatrix(0)
