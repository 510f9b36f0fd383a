"""Anchors: clusters against random ones, against the best there are of known groups, and what a recipe says."""

from __future__ import annotations

import pytest
import torch

from common.errors import InputError
from Detection.yolo.anchors import anchors_of, cluster_anchors, mean_best_iou
from Detection.yolo.config import VOC_ANCHORS, YoloConfig


def skewed(count: int, seed: int = 0) -> torch.Tensor:
    draws = torch.Generator().manual_seed(seed)
    return torch.exp(torch.randn(count, 2, generator=draws) * 0.8 + 3)


def test_clusters_fit_better_than_boxes_drawn_at_random() -> None:
    sides = skewed(600)
    clustered = mean_best_iou(sides, cluster_anchors(sides, 9, seed=0))
    for seed in range(5):
        drawn = sides[torch.randperm(600, generator=torch.Generator().manual_seed(seed))[:9]]
        assert clustered > mean_best_iou(sides, drawn) + 0.01


def test_known_groups_are_found() -> None:
    centres = torch.tensor([[10.0, 10], [40, 10], [20, 60], [90, 90], [200, 120]])
    draws = torch.Generator().manual_seed(1)
    sides = (centres[:, None] + torch.rand(5, 40, 2, generator=draws) - 0.5).reshape(-1, 2)
    expected = sides.reshape(5, 40, 2).mean(1)
    torch.testing.assert_close(cluster_anchors(sides, 5, seed=3), expected, rtol=1e-4, atol=1e-3)


def test_the_seed_alone_decides_and_areas_ascend() -> None:
    sides = skewed(300)
    torch.manual_seed(1)
    first, state = cluster_anchors(sides, 9, seed=4), torch.get_rng_state()
    torch.manual_seed(2)
    assert torch.equal(first, cluster_anchors(sides, 9, seed=4))
    torch.manual_seed(1)
    assert torch.equal(state, torch.get_rng_state())
    assert bool((first.prod(1).diff() > 0).all())
    assert (first.shape, first.dtype) == ((9, 2), torch.float32)


def test_many_boxes_are_thinned_out_evenly() -> None:
    sides = skewed(30_000)
    some = cluster_anchors(sides, 9, seed=0, rounds=4)
    assert mean_best_iou(sides, some) > mean_best_iou(sides, cluster_anchors(sides[:18], 9, seed=0))


def test_what_cannot_be_clustered_is_refused() -> None:
    with pytest.raises(InputError, match=r"got 2 different shapes of training boxes, expected 9 at least; give yolo\.anchors"):
        cluster_anchors(torch.tensor([[3.0, 4], [3, 4], [5, 6]]), 9, seed=0)
    with pytest.raises(InputError, match="a training box without area"):
        cluster_anchors(torch.tensor([[3.0, 0]]), 1, seed=0)
    exactly = torch.arange(1.0, 10)[:, None].expand(9, 2) * 2
    torch.testing.assert_close(cluster_anchors(exactly, 9, seed=0), exactly)


def test_anchors_of_a_recipe() -> None:
    none = torch.zeros(0, 2)
    pixels = anchors_of(YoloConfig(anchors=VOC_ANCHORS, anchor_unit="stride"), (8, 16, 32), none, seed=0)
    assert pixels[0].tolist() == [10, 13]  # 8 * 1.25, 8 * 1.625
    assert pixels[3].tolist() == [30, 61]  # 16 * 1.875, 16 * 3.8125
    assert pixels[8].tolist() == [373, 326]  # 32 * 11.65625, 32 * 10.1875
    given = tuple(float(side) for side in range(1, 19))
    assert anchors_of(YoloConfig(anchors=given), (2, 4, 8), none, seed=0).flatten().tolist() == list(given)
    sides = skewed(50)
    assert torch.equal(anchors_of(YoloConfig(), (2, 4, 8), sides, seed=5), cluster_anchors(sides, 9, seed=5))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"anchors": (1.0, 2.0)}, r"yolo.anchors: got \[1.0, 2.0\], expected 18 numbers > 0, or nothing"),
        ({"anchors": (0.0,) * 18}, "yolo.anchors"),
        ({"neck_convs": 2}, "yolo.neck_convs: got 2, expected 1, 3 or 5"),
        ({"prior": 0.0}, "yolo.prior"),
        ({"nms_iou": 0.0}, "yolo.nms_iou"),
        ({"scale_xy": 0.9}, "yolo.scale_xy"),
        ({"focal_gamma": -1.0}, "yolo.focal_gamma"),
        ({"candidates": 50}, r"yolo.candidates: got 50, expected at least yolo.max_detections \(100\)"),
    ],
)
def test_options_out_of_range(options: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        YoloConfig(**options)  # type: ignore[arg-type]
