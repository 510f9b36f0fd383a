"""The metric of the catalogue judges and chooses, and a class without an image is said."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score

from common.cli import resolve
from common.data.datasets import Dataset, Images
from common.data.inputs import UNIT_INPUT
from common.models.backbones import build_backbone
from common.models.heads import Network, linear_head
from Downstream.config import LinearConfig
from Downstream.labels import Labelled, absence_flags
from Downstream.linear import fit_linear
from Downstream.main import COMMAND, main
from Downstream.task import ClassificationTask

FAST = ("--train.device=cpu", "--train.threads=1", "--log.tensorboard=false", "--log.progress=false", "--model.name=pixels")


def gray(levels: list[int], labels: list[int]) -> Images:
    """Images of 2 px, each of one level of gray."""
    pixels = torch.tensor(levels, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 3, 2, 2).contiguous()
    return Images(pixels, torch.tensor(labels))


def two_classes(metric: str) -> Dataset:
    validation = gray([0, 0, 0, 0, 0, 200, 200, 200, 200, 200], [0] * 9 + [1])
    splits = {"train": gray([0, 255], [0, 1]), "validation": validation, "test": gray([0, 255], [0, 1])}
    return Dataset("made", ("dark", "light"), replace(UNIT_INPUT, size=2), splits, "h", "f", metric)  # type: ignore[arg-type]


@pytest.mark.parametrize(("metric", "best", "value"), [("top1", 1, 0.9), ("mean_per_class", 2, (5 / 9 + 1) / 2)])
def test_the_best_epoch_is_chosen_by_the_data_sets_metric(metric: str, best: int, value: float) -> None:
    data = two_classes(metric)
    words = ["--recipe=digits_full", "--select=best", "--data.labels=null", "--train.batch_size=2", "--augment.pad=0", *FAST]
    config, device = resolve(COMMAND, words).config, torch.device("cpu")
    network = Network(build_backbone("pixels", size=2), linear_head(12, 2, seed=0))
    task = ClassificationTask(config, network, data, Labelled(data.train, data.validation), device, 0)
    assert task.main_metric == metric
    for step, brightness in enumerate((0.0, 1.0), start=1):  # always dark (9 of 10); light where it is light (6 of 10)
        with torch.no_grad():
            network.head.weight.copy_(torch.tensor([[0.0], [brightness]]).expand(2, 12))
            network.head.bias.copy_(torch.tensor([0.5, 0.0]))
        task.at_step(step * task.steps_per_epoch)
    assert task.take_best() == {"selected_epoch": best, "selected_value": pytest.approx(value)}
    assert task.evaluate("validation")[metric] == pytest.approx(value)


def test_the_strength_is_chosen_by_the_data_sets_metric() -> None:
    rng = np.random.default_rng(3)
    labels, held = (rng.choice(3, size=n, p=[0.8, 0.15, 0.05]) for n in (150, 300))
    x, y = (rng.normal(size=(len(part), 4)) + 0.6 * np.eye(4)[part] for part in (labels, held))
    strengths = (0.1, 10.0, 1000.0)
    one = (torch.zeros(4, dtype=torch.float64), torch.ones(4, dtype=torch.float64))
    validation = (torch.from_numpy(y), torch.from_numpy(held))
    fitted = {
        metric: fit_linear(
            torch.from_numpy(x), torch.from_numpy(labels), LinearConfig(l2=strengths), standard=one, num_classes=3, seed=0,
            validation=validation, metric=metric,  # type: ignore[arg-type]
        )
        for metric in ("top1", "mean_per_class")
    }  # fmt: skip
    models = {l2: LogisticRegression(C=1 / l2, max_iter=1000).fit(x, labels) for l2 in strengths}
    assert fitted["top1"].scores == pytest.approx({f"{l2:g}": model.score(y, held) for l2, model in models.items()})
    expected = {f"{l2:g}": balanced_accuracy_score(held, model.predict(y)) for l2, model in models.items()}
    assert fitted["mean_per_class"].scores == pytest.approx(expected)
    assert fitted["mean_per_class"].l2 == 0.1
    assert fitted["top1"].l2 != 0.1


def write(root: Path, counts: dict[str, dict[str, int]]) -> Path:
    for split, classes in counts.items():
        for label, (name, count) in enumerate(classes.items()):
            (root / split / name).mkdir(parents=True)
            for i in range(count):
                Image.new("RGB", (4, 4), (80 * label + i, 10, 10)).save(root / split / name / f"{i}.png")
    return root


def test_the_result_says_its_metric_and_a_class_that_the_test_lacks(tmp_path: Path) -> None:
    whole = {"a": 12, "b": 12, "c": 12}
    root = write(tmp_path / "images", {"train": whole, "val": {"a": 2, "b": 2, "c": 2}, "test": {"a": 5, "b": 1}})
    words = ["--data.name=folder", f"--data.root={root}", "--data.size=4", "--data.metric=mean_per_class", "--data.labels=null"]
    assert main([*FAST, *words, f"--out={tmp_path / 'runs'}"]) == 0
    (file,) = (tmp_path / "runs").rglob("result.json")
    result = json.loads(file.read_text())
    assert result["metric"] == "mean_per_class"
    assert result["value"] == result["metrics"]["test/mean_per_class"]
    assert set(result["metrics"]) == {"test/top1", "test/mean_per_class"}
    assert result["flags"] == ["absent_classes"]


def test_no_flag_where_every_class_is_there() -> None:
    assert absence_flags(two_classes("top1"), "test") == ()
