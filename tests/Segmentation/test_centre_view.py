"""What is judged of an image and of its label map: the same part of both, and labels that were there before."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from Segmentation.evaluate_maps import View, judged_part

from .conftest import Segment


def test_the_predecessors_centre_is_cut_out_of_images_and_label_maps_alike() -> None:
    labels = np.zeros((40, 60), dtype=np.uint8)
    labels[:, 30:], labels[:5] = 3, 255
    view = View("centre", (20, 20))
    judged = judged_part(labels, view)
    assert judged.shape == (20, 20)
    assert set(np.unique(judged).tolist()) == {0, 3, 255}  # no label that is between two
    image = np.repeat(labels[..., None], 3, axis=2)
    assert judged_part(image, view).shape == (20, 20, 3)
    right = judged_part(image, view)[8:, 11:, 0]
    assert (right == 3).all()
    assert (judged[8:, 11:] == 3).all()


def test_a_run_can_be_judged_by_centres_of_another_size(segment: Segment) -> None:
    words = ["--model.name=resnet_digits", "--evaluation.view=centre", "--data.size=[48,40]", "--evaluation.draw=2"]
    run, result = segment(*words)
    assert result["details"]["evaluation"]["view"] == "centre"
    assert Path(run / "predictions.png").exists()
