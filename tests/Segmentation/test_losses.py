from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from common.data.annotated.sets import IGNORE
from common.randomness import generator
from Segmentation.losses import LOSSES, cross_entropy, dice, focal


@pytest.fixture
def case() -> tuple[torch.Tensor, torch.Tensor]:
    draws = generator(0, "test")
    logits = torch.randn(3, 4, 5, 6, generator=draws)
    labels = torch.randint(3, (3, 5, 6), generator=draws)  # class 3 is in no truth
    labels[torch.rand(3, 5, 6, generator=draws) < 0.3] = IGNORE
    return logits.double().float(), labels


def pixels(logits: torch.Tensor, labels: torch.Tensor) -> list[tuple[list[float], int]]:
    """Probabilities and label of every judged pixel, computed one by one."""
    found = []
    for b in range(len(labels)):
        for y in range(labels.shape[1]):
            for x in range(labels.shape[2]):
                label = int(labels[b, y, x])
                if label != IGNORE:
                    powers = [math.exp(value) for value in logits[b, :, y, x].tolist()]
                    found.append(([power / sum(powers) for power in powers], label))
    return found


def test_losses_are_the_naive_loops(case: tuple[torch.Tensor, torch.Tensor]) -> None:
    judged = pixels(*case)
    assert float(cross_entropy(*case)) == pytest.approx(sum(-math.log(p[t]) for p, t in judged) / len(judged), rel=1e-5)
    for gamma in (0.0, 0.5, 2.0):
        wanted = sum(-((1 - p[t]) ** gamma) * math.log(p[t]) for p, t in judged) / len(judged)
        assert float(focal(*case, gamma)) == pytest.approx(wanted, rel=1e-5)
    scores = []
    for k in range(3):
        both, predicted, true = (
            sum(p[k] for p, t in judged if t == k),
            sum(p[k] for p, _ in judged),
            sum(t == k for _, t in judged),
        )
        scores.append(1 - 2 * both / (predicted + true))
    assert float(dice(*case)) == pytest.approx(sum(scores) / 3, rel=1e-5)


def test_dice_and_focal_are_the_librarys(case: tuple[torch.Tensor, torch.Tensor]) -> None:
    from segmentation_models_pytorch.losses import DiceLoss
    from segmentation_models_pytorch.losses._functional import softmax_focal_loss_with_logits

    logits, labels = case
    theirs = DiceLoss("multiclass", ignore_index=IGNORE)(logits, labels)  # the mean over all four classes, the absent one as 0
    torch.testing.assert_close(dice(logits, labels), theirs * 4 / 3)
    judged = labels != IGNORE
    flat = logits.permute(0, 2, 3, 1)[judged]
    torch.testing.assert_close(focal(logits, labels), softmax_focal_loss_with_logits(flat, labels[judged]))
    torch.testing.assert_close(cross_entropy(logits, labels), functional.cross_entropy(logits, labels, ignore_index=IGNORE))


@pytest.mark.parametrize("name", LOSSES)
def test_ignored_pixels_change_neither_value_nor_gradient(name: str, case: tuple[torch.Tensor, torch.Tensor]) -> None:
    logits, labels = case
    ignored = (labels == IGNORE)[:, None].expand_as(logits)
    found = []
    for filling in (0.0, 7.0, -30.0):
        varied = torch.where(ignored, filling, logits).requires_grad_()
        value = LOSSES[name](varied, labels)
        value.backward()
        assert varied.grad is not None
        assert not bool(varied.grad[ignored].any())
        found.append((value.detach(), varied.grad[~ignored]))
    for value, gradient in found[1:]:
        torch.testing.assert_close(value, found[0][0])
        torch.testing.assert_close(gradient, found[0][1])


@pytest.mark.parametrize("name", LOSSES)
def test_a_batch_of_ignored_pixels_alone_has_no_loss(name: str) -> None:
    logits = torch.randn(1, 3, 2, 2, generator=generator(0, "test"), requires_grad=True)
    value = LOSSES[name](logits, torch.full((1, 2, 2), IGNORE))
    value.backward()
    assert float(value.detach()) == 0
    assert logits.grad is not None
    assert not bool(logits.grad.any())


@pytest.mark.parametrize("name", LOSSES)
def test_sure_and_right_is_no_loss_and_no_infinite_gradient(name: str) -> None:
    labels = torch.tensor([[[0, 1]]])
    logits = (200 * functional.one_hot(labels, 3).permute(0, 3, 1, 2).float()).requires_grad_()
    value = LOSSES[name](logits, labels)
    value.backward()
    assert float(value.detach()) == pytest.approx(0, abs=1e-6)
    assert logits.grad is not None
    assert bool(torch.isfinite(logits.grad).all())
