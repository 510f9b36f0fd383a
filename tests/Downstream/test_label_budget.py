"""`data.labels`: numbers and fractions, balanced over the classes or not; classes that no label is of."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file
from sklearn.linear_model import LogisticRegression

from common.canonical import config_hash
from common.cli import resolve
from common.data.datasets import load_data
from common.data.splits import labelled_subset
from common.errors import InputError
from common.metrics.accuracy import accuracies
from Downstream.config import LinearConfig
from Downstream.features import standardisation
from Downstream.labels import label_count, labelled_images
from Downstream.linear import fit_linear
from Downstream.main import COMMAND, main

from .conftest import QUIET

Run = Callable[..., tuple[Path, dict]]


def data_config(*words: str):  # type: ignore[no-untyped-def]
    return resolve(COMMAND, [*QUIET, *words]).config.data


@pytest.mark.parametrize(
    ("text", "images", "count"),
    [("0.1", 45_000, 4_500), ("0.01", 45_000, 450), ("1e-1", 1000, 100), ("0.001", 300, 1), ("40", 300, 40), ("0.5", 3, 2)],
)
def test_how_many_labels(text: str, images: int, count: int) -> None:
    assert label_count(data_config(f"--data.labels={text}"), images) == count


def test_a_fraction_is_of_the_training_images_and_includes_those_that_choose() -> None:
    data = load_data("digits:3-5")
    labelled = labelled_images(data, data_config("--data.labels=0.2", "--data.validation_labels=9"), 0)
    assert labelled.count == round(0.2 * len(data.train))
    assert labelled.validation is not None
    assert len(labelled.validation) == 9
    with pytest.raises(InputError, match=r"validation_labels: got 90, expected fewer than the \d+ labels that data\.labels 0\.2"):
        labelled_images(data, data_config("--data.labels=0.2", "--data.validation_labels=90"), 0)


@pytest.mark.parametrize("text", ["0", "-1", "1.0", "40.0", "1.5", "0.0", "-0.1", "many"])
def test_neither_a_number_nor_a_fraction(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*QUIET, f"--data.labels={text}"]) == 2
    assert "data.labels" in capsys.readouterr().err


def test_a_recipe_may_say_it_as_number_or_text(tmp_path: Path) -> None:
    for written in ("0.25", "'0.25'", "2.5e-1"):
        (tmp_path / "own.yaml").write_text(f"data:\n  labels: {written}\n")
        assert resolve(COMMAND, [*QUIET, f"--config={tmp_path / 'own.yaml'}"]).config.data.labels == 0.25


def test_identity_of_budgets() -> None:
    def hashed(*words: str) -> str:
        return config_hash("Downstream", resolve(COMMAND, [*QUIET, *words]).config)

    assert hashed("--data.labels=0.1") == hashed("--data.labels=0.10") == hashed("--data.labels=1e-1")
    assert len({hashed(f"--data.labels={labels}") for labels in ("0.1", "0.2", "30", "null")}) == 4
    assert hashed("--data.labels=30") != hashed("--data.labels=30", "--data.balanced=false")
    assert hashed("--data.labels=null") == hashed("--data.labels=null", "--data.balanced=false")


COUNTS = st.tuples(st.integers(1, 60), st.integers(1, 60))


@given(labels=st.lists(st.integers(0, 4), min_size=1, max_size=60), seed=st.integers(0, 50), counts=COUNTS)
def test_unbalanced_choices_are_nested_and_know_no_classes(labels: list[int], seed: int, counts: tuple[int, int]) -> None:
    labels_N = torch.tensor(labels)
    few, many = (min(count, len(labels)) for count in sorted(counts))
    some, more = (labelled_subset(labels_N, count, seed, balanced=False).tolist() for count in (few, many))
    assert (len(set(some)), len(set(more))) == (few, many)
    assert set(some) <= set(more)
    assert some == sorted(some)
    assert torch.equal(labelled_subset(labels_N * 0, few, seed, balanced=False), torch.tensor(some))


def test_unbalanced_choices_are_uniform() -> None:
    """Every image is chosen in about 30% of 2,000 draws: within 5 standard deviations of sqrt(2000 * .3 * .7) = 20.5."""
    labels = torch.tensor([0] * 18 + [1, 2])
    chosen = torch.cat([labelled_subset(labels, 6, seed, balanced=False) for seed in range(2000)])
    assert (chosen.bincount(minlength=20) - 600).abs().max() < 103


def test_a_class_without_labels_is_never_predicted_and_the_others_are_as_without_it() -> None:
    draws = np.random.default_rng(0)
    x, y = draws.normal(size=(60, 5)), draws.choice([0, 2, 3], size=60)
    x[np.arange(60), y] += 2
    features, labels = torch.from_numpy(x).float(), torch.from_numpy(y)
    fit = fit_linear(
        features,
        labels,
        LinearConfig(),
        standard=standardisation(features),
        num_classes=5,
        seed=0,
        validation=None,
        balanced=False,
    )
    z = (x - x.mean(0)) / x.std(0)
    expected = LogisticRegression(max_iter=1000).fit(z, y).predict_proba(z)
    with torch.no_grad():
        ours = fit.head(features).softmax(1).numpy()
    np.testing.assert_allclose(ours[:, [0, 2, 3]], expected, atol=1e-4)
    assert (ours[:, [1, 4]] == 0).all()
    assert np.isfinite(fit.head.bias.detach().numpy()).all()


@pytest.mark.parametrize(
    "words", [(), ("--linear.l2=[0.1,1]",), ("--linear.solver=sgd", "--train.epochs=2", "--train.batch_size=2")]
)
def test_a_run_with_absent_classes(words: tuple[str, ...], run_task: Run) -> None:
    """Seed 0 draws, of 6 images of digits, some class twice and others never."""
    name = "--data.name=digits:2-9"
    run, result = run_task(name, "--data.labels=6", "--data.balanced=false", "--keep.trained=last", *words)
    data = load_data("digits:2-9")
    train = labelled_images(data, data_config(name, "--data.labels=6", "--data.balanced=false"), 0).train
    assert result["details"]["classes_with_labels"] == len(train.labels.unique()) < 8
    assert np.isfinite(load_file(run / "trained.safetensors")["head/bias"]).all()
    assert 0 <= result["value"] <= 1


def test_labels_of_one_class_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--data.labels=1", "--data.balanced=false", f"--out={tmp_path / 'runs'}")
    assert main([*QUIET, *words]) == 2
    assert "are of 1 class" in capsys.readouterr().err
    assert main([*QUIET, "--data.labels=4", "--data.balanced=false", "--linear.l2=[1,2]", *words[2:]]) == 2
    assert "linear.folds" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_mean_per_class_by_hand() -> None:
    """Class 0: 2 of 4 right; class 1: 1 of 1; class 2 has no image."""
    logits, labels = torch.eye(3)[torch.tensor([0, 0, 1, 2, 1])], torch.tensor([0, 0, 0, 0, 1])
    assert accuracies(logits, labels) == pytest.approx({"top1": 3 / 5, "mean_per_class": (1 / 2 + 1) / 2})
