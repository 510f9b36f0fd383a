"""Heads: seeded, and drawn from streams of their own."""

from __future__ import annotations

import torch

from common.models.heads import linear_head, projection_head


def test_a_classifier_and_a_projection_of_one_shape_are_drawn_apart() -> None:
    classifier, projection = linear_head(8, 4, seed=3), projection_head(8, [4], seed=3)
    assert not torch.equal(classifier.weight, projection[0].weight)  # type: ignore[arg-type]


def test_a_seed_gives_one_head_and_leaves_the_global_generator() -> None:
    before = torch.get_rng_state()
    for make in (lambda seed: linear_head(8, 4, seed=seed), lambda seed: projection_head(8, [6, 4], seed=seed)):
        first, same, other = (next(make(seed).parameters()) for seed in (3, 3, 4))
        assert torch.equal(first, same)
        assert not torch.equal(first, other)
    assert torch.equal(before, torch.get_rng_state())
