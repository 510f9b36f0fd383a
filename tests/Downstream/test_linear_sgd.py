"""Protocol `linear` by SGD: the head takes the very steps that it would take on the frozen network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from torch import Tensor, nn
from torch.nn import functional

from common.cli import resolve
from common.models.heads import linear_head
from common.randomness import generator
from common.training.frozen import features_of
from Downstream.main import COMMAND
from Downstream.transfer import Arm, build_arm

from .conftest import QUIET

SGD = (
    "--linear.solver=sgd",
    "--linear.standardise=false",
    "--optim.lr=0.05",
    "--optim.schedule=multistep",
    "--optim.milestones=[2ep,3ep]",
    "--optim.weight_decay=5e-4",
    "--train.epochs=4",
    "--train.batch_size=8",
)
Run = Callable[..., tuple[Path, dict]]


def arm_of(search: Path, *words: str) -> Arm:
    file = f"--ticket.file={search}/round_02/ticket.safetensors"
    return build_arm(resolve(COMMAND, [*QUIET, *words, file]).config, torch.device("cpu"))


def trained_through(arm: Arm, see: Callable[[Tensor], Tensor]) -> nn.Linear:
    """Train a head in a plain torch loop: 40 images in batches of 8, 5 steps an epoch, the rates written out."""
    train, classes = arm.labelled.train, len(arm.dataset.classes)
    head = linear_head(int(arm.backbone.num_features), classes, seed=0)  # type: ignore[arg-type]
    optimizer = torch.optim.SGD(head.parameters(), lr=1.0, momentum=0.9, weight_decay=5e-4)
    for epoch, rate in enumerate((0.05, 0.05, 0.005, 0.0005)):
        optimizer.param_groups[0]["lr"] = rate
        order = torch.randperm(40, generator=generator(0, "task_order", 0, epoch))
        for batch in order.split(8):
            optimizer.zero_grad()
            loss = functional.cross_entropy(head(see(arm.dataset.input.normalise(train.images[batch]))), train.labels[batch])
            loss.backward()
            optimizer.step()
    return head


@pytest.mark.parametrize("norms", ["stored", "reestimate"])
def test_linear_on_features_equals_linear_on_the_frozen_network(run_task: Run, small_search: Path, norms: str) -> None:
    words = (*SGD, f"--ticket.norm_statistics={norms}")
    run, result = run_task(*words)
    arm = arm_of(small_search, *words)
    arm.backbone.eval()

    def see(images: Tensor) -> Tensor:
        with torch.no_grad():
            return arm.backbone(images)

    expected, kept = trained_through(arm, see), load_file(run / "trained.safetensors")
    np.testing.assert_allclose(kept["head/weight"], expected.weight.detach().numpy(), atol=1e-5)
    np.testing.assert_allclose(kept["head/bias"], expected.bias.detach().numpy(), atol=1e-5)
    fresh = linear_head(int(arm.backbone.num_features), 3, seed=0)  # type: ignore[arg-type]
    assert not np.allclose(kept["head/weight"], fresh.weight.detach().numpy(), atol=1e-3)
    right = expected(see(arm.dataset.input.normalise(arm.dataset.test.images))).argmax(1) == arm.dataset.test.labels
    assert result["metrics"]["test/top1"] == pytest.approx(float(right.double().mean()), abs=0.01)
    assert all(torch.equal(torch.from_numpy(kept[f"weight/{name}"]), value) for name, value in arm.backbone.state_dict().items())


def test_standardised_features_are_folded_into_the_kept_head(run_task: Run, small_search: Path) -> None:
    words = (*SGD, "--linear.standardise=true")
    run, _ = run_task(*words)
    arm = arm_of(small_search, *words)
    features = features_of(arm.backbone, arm.dataset.train, arm.dataset.input, arm.device)
    mean, std = features.mean(0), features.std(0, correction=0)

    def see(images: Tensor) -> Tensor:
        with torch.no_grad():
            return (arm.backbone.eval()(images) - mean) / std

    head, kept = trained_through(arm, see), load_file(run / "trained.safetensors")
    test = features_of(arm.backbone, arm.dataset.test, arm.dataset.input, arm.device)
    folded = test @ torch.from_numpy(kept["head/weight"]).T + torch.from_numpy(kept["head/bias"])
    with torch.no_grad():
        np.testing.assert_allclose(folded.numpy(), head((test - mean) / std).numpy(), atol=1e-3)


def test_every_split_is_looked_at_once(run_task: Run, watched: dict) -> None:
    run_task(*SGD)
    assert watched["test"].looks == 1


def test_a_batch_that_does_not_fit_is_refused_before_anything_is_written(
    tmp_path: Path, small_search: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from Downstream.main import main

    file = f"--ticket.file={small_search}/round_02/ticket.safetensors"
    assert main([*QUIET, *SGD, "--train.batch_size=64", file, f"--out={tmp_path / 'refused'}"]) == 2
    assert "train.batch_size" in capsys.readouterr().err
    assert not (tmp_path / "refused").exists()


@pytest.mark.parametrize("storage", ["memory", "files"])
def test_images_in_files(run_task: Run, photos: Path, storage: str) -> None:
    words = ("--data.name=folder", f"--data.root={photos}", "--data.size=16", "--data.labels=null", f"--data.storage={storage}")
    _, result = run_task(*SGD, *words, "--data.workers=0", "--train.batch_size=32", ticket=False)
    assert (result["details"]["labels"], result["details"]["classes_with_labels"]) == (65 + 22, 2)
    assert 0 <= result["value"] <= 1
