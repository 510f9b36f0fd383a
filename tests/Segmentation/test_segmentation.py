"""Segmentation from end to end: tickets held, rewinds, evaluations, refusals, and that it learns."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from sklearn.metrics import jaccard_score

from common.cli import resolve
from common.data.annotated.pixels import some_images
from common.tickets import load_ticket
from common.training.annotated_setting import Setting, fresh_backbone, open_images
from common.training.annotated_transfer import _build
from common.training.optim import build_optimizer
from Segmentation.main import COMMAND, main
from Segmentation.task import KIND, SegmentationTask

from .conftest import CLASSES, FAST, Segment

REPOSITORY = Path(__file__).parents[2]


def ticket_of(search: Path, round_: int = 2) -> str:
    return f"--ticket.file={search / f'round_{round_:02d}/ticket.safetensors'}"


def task_of(*words: str, images: int | None = None) -> SegmentationTask:
    """A task on scenes of digits, perhaps on the first few training images alone, which it is judged on too."""
    config = resolve(COMMAND, ["--recipe=digits", "--train.device=cpu", *words]).config
    dataset = open_images(config)
    if images is not None:
        few = some_images(dataset.train, range(images))
        dataset = replace(dataset, splits={"train": few, "validation": few, "test": few})
    backbone = fresh_backbone(config, seed=0, stream="fresh")
    return SegmentationTask(Setting(config, dataset, backbone, torch.device("cpu")))


def train(task: SegmentationTask, steps: int) -> None:
    optimizer = build_optimizer(task.parameter_groups(), task.config.optim)
    task.prepare_(task.config.train)
    done = 0
    for epoch in range(steps):
        for batch in task.train_batches(0, epoch, 0):
            optimizer.zero_grad()
            task.loss(batch)["total"].backward()
            optimizer.step()
            done += 1
        if done >= steps:
            return


def test_it_learns_four_scenes_by_heart() -> None:
    task = task_of("--train.batch_size=4", images=4)
    train(task, 90)
    metrics = task.evaluate("test")
    assert metrics["miou"] > 0.9
    assert metrics["pixel_accuracy"] > 0.95


def test_dropout_is_drawn_of_seed_epoch_and_batch_alone() -> None:
    task = task_of("--train.batch_size=4", "--decoder.dropout=0.5", images=12)

    def losses(task: SegmentationTask, epoch: int, first: int) -> list[float]:
        return [float(task.loss(batch)["total"].detach()) for batch in task.train_batches(0, epoch, first)]

    straight = losses(task, 0, 0)
    torch.rand(7)  # a resumed run stands elsewhere in torch's own numbers
    assert losses(task, 0, 1) == straight[1:]
    (batch,) = list(task.train_batches(0, 0, 2))
    task.train_batches(0, 1, 0)
    assert float(task.loss(batch)["total"].detach()) != straight[2]


def test_metrics_are_scikit_learns_on_its_own_predictions() -> None:
    task = task_of("--evaluation.batch_size=3", "--train.batch_size=4", images=5)
    metrics = task.evaluate("test")
    images = task.dataset.split("test")
    assert images.read_labels is not None
    predicted = dict(task.predictions(images, range(5)))
    truth = np.concatenate([images.read_labels(i).ravel() for i in range(5)])
    found = np.concatenate([predicted[i].ravel() for i in range(5)])
    there = sorted({*truth.tolist(), *found.tolist()})
    scores = dict(zip(there, jaccard_score(truth, found, labels=there, average=None, zero_division=0), strict=True))
    assert metrics["miou"] == pytest.approx(np.mean(list(scores.values())))
    assert metrics["pixel_accuracy"] == pytest.approx((truth == found).mean())
    assert {name: value for name, value in metrics.items() if name.startswith("iou_")} == pytest.approx(
        {f"iou_{task.classes[label]}": score for label, score in scores.items()}
    )


@pytest.mark.parametrize(("view", "size"), [("centre", 32), ("slide", 48), ("whole", 48), ("fit", 48)])
def test_every_view_judges_and_draws_what_it_names(view: str, size: int) -> None:
    words = (f"--evaluation.view={view}", f"--data.size=[{size}]", "--train.batch_size=4")
    task = task_of(*words, images=4)
    counted = int(task.confusion("test").counts.sum())
    side = size if view == "centre" else 64
    assert counted == 4 * side * side
    assert task.facts()["evaluation"]["view"] == view
    assert task.draw("test", 2).ndim == 3


@pytest.mark.parametrize("control", ["ticket", "random"])
def test_a_mask_is_held_from_the_ticket_to_the_kept_network(segment: Segment, small_search: Path, control: str) -> None:
    recipe = "--recipe=digits"
    run, result = segment(recipe, *FAST, ticket_of(small_search), f"--ticket.control={control}", "--keep.trained=last")
    ticket = load_ticket(small_search / "round_02/ticket.safetensors")
    trained = {name.partition("/")[2]: tensor for name, tensor in load_file(run / "trained.safetensors").items()}
    assert sum(int(np.count_nonzero(trained[name])) for name in ticket.mask) == ticket.mask.kept
    assert all(bool(ticket.mask[name].numpy()[trained[name] != 0].all()) for name in ticket.mask) == (control == "ticket")
    assert (result["control"], result["task"], result["protocol"], result["metric"]) == (control, "segmentation", "full", "miou")
    assert {"test/miou", "test/pixel_accuracy", "test/class_accuracy", "test/iou_background"} <= set(result["metrics"])
    assert result["details"]["evaluation"]["view"] == "fit"
    assert result["details"]["strides"] == [1, 1, 2, 4, 4]


def test_norm_statistics_are_reestimated_where_the_result_says_so(small_search: Path, scenes: Path) -> None:
    words = [*FAST, "--recipe=digits", f"--data.root={scenes}", ticket_of(small_search), "--train.batch_size=5"]
    given: dict[str, torch.Tensor] = {}
    for how in ("stored", "reestimate"):
        arm = _build(resolve(COMMAND, [*words, f"--ticket.norm_statistics={how}"]).config, KIND, torch.device("cpu"))
        given[how] = dict(arm.task.backbone.named_buffers())["bn1.running_mean"].clone()
        assert arm.start.norm_statistics == how
    images = arm.setting.dataset.train
    pixels = torch.from_numpy(np.stack([images.read(index) for index in range(10)])).permute(0, 3, 1, 2) / 255
    expected = arm.task.backbone.conv1(pixels).mean((0, 2, 3))  # type: ignore[operator]
    torch.testing.assert_close(given["reestimate"], expected.detach())
    assert not torch.allclose(given["stored"], expected.detach())


def test_evaluate_repeats_the_result(segment: Segment, tmp_path: Path) -> None:
    words = ["--keep.trained=last", "--model.name=resnet_digits", "--model.output_stride=2", "--decoder.refine=3"]
    run, result = segment(*words, "--evaluation.flip=true", "--evaluation.scales=[1.0,0.5]", "--loss.dice=1.0")
    assert main(["--evaluate", str(run), "--evaluation.draw=0"]) == 0
    (file,) = (tmp_path / "runs/Segmentation/evaluations").glob(f"{run.parent.name}-*.json")
    assert json.loads(file.read_text())["metrics"] == result["metrics"]


def test_tickets_are_found_on_the_task_and_rewound_as_a_whole(segment: Segment) -> None:
    words = ["--model.name=resnet_digits", "--prune.rounds=1", "--prune.rate=0.5", "--evaluation.draw=2"]
    run, result = segment(*words)
    assert result["density"] == pytest.approx(0.5, rel=1e-3)
    ticket = load_ticket(run / "round_01/ticket.safetensors")
    assert ticket.header["origin"]["objective"] == "segmentation"
    assert any(name.startswith("head/decoder.") for name in load_file(run / "rewind.safetensors"))
    assert list(run.rglob("predictions.png"))


def test_a_run_that_is_done_says_so(segment: Segment, scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    segment("--model.name=resnet_digits")
    capsys.readouterr()
    assert main([*FAST, f"--data.root={scenes}", f"--out={tmp_path / 'runs'}", "--model.name=resnet_digits"]) == 0
    assert "is done already; nothing to run" in capsys.readouterr().out


@pytest.mark.slow
def test_two_processes_judge_as_one(segment: Segment, scenes: Path, tmp_path: Path) -> None:
    words = ["--model.name=resnet_digits", "--keep.trained=last", "--train.epochs=1"]
    run, result = segment(*words)
    code = f"""
import sys, torch, torch.distributed as dist
from Segmentation.main import COMMAND
from common.cli import resolve
from common.tickets.weights_file import read_weights
from common.tickets.rewind import restore_
from common.training.annotated_transfer import _build
from common.training.annotated_setting import Setting, fresh_backbone, open_images
from Segmentation.task import SegmentationTask
dist.init_process_group("gloo", init_method="file://{tmp_path}/meet", rank=int(sys.argv[1]), world_size=2)
torch.set_num_threads(1)
config = resolve(COMMAND, {[*FAST, f"--data.root={scenes}", *words]!r}).config
task = SegmentationTask(Setting(config, open_images(config), fresh_backbone(config, seed=0, stream="fresh"), torch.device("cpu")))
restore_(task.network, read_weights({str(run / "trained.safetensors")!r}, None).state.joined())
task.main = task.evaluate("test")
print(sorted(task.main.items()))
dist.destroy_process_group()
"""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)}
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(rank)], cwd=REPOSITORY, env=environment, stdout=subprocess.PIPE, text=True
        )
        for rank in range(2)
    ]
    printed = [process.communicate()[0].strip().splitlines()[-1] for process in started]
    wanted = {name.removeprefix("test/"): value for name, value in result["metrics"].items()}
    assert printed == [str(sorted(wanted.items()))] * 2


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--data.name=voc0712"], ["data.root"]),
        (["--model.output_stride=16"], ["model.output_stride: got 16", "1, 2, 4, 8"]),
        (["--model.output_stride=0"], ["model.output_stride", "a stride >= 1"]),
        (["--decoder.name=fpn", "--model.output_stride=2"], ["decoder.name: fpn needs maps of 4 strides"]),
        (["--decoder.name=bisenet"], ["bisenet", "deeplabv3plus"]),
        (["--decoder.rates=[1,2]"], ["decoder.rates", "three dilations"]),
        (["--loss.cross_entropy=0"], ["loss", "a weight > 0"]),
        (["--evaluation.scales=[]"], ["evaluation.scales"]),
        (["--evaluation.view=middle"], ["middle", "centre"]),
        (["--model.name=vit_tiny_patch16_224", "--model.stem=native"], ["vit_tiny_patch16_224"]),
    ],
)
def test_bad_input_is_one_line(
    words: list[str], told: list[str], scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--recipe=digits", *(() if "voc0712" in words[0] else (*FAST, f"--data.root={scenes}"))]
    assert main([*given, f"--out={tmp_path}", "--train.device=cpu", *words]) == 2
    message = capsys.readouterr().err.strip()
    assert message.count("\n") == 0
    assert all(word in message for word in told), message


def test_a_set_without_label_maps_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from tests.Detection.conftest import write_voc

    root = write_voc(tmp_path / "voc")
    assert main(["--recipe=digits", "--data.name=voc", f"--data.root={root}", f"--out={tmp_path}", "--train.device=cpu"]) == 2
    assert "has no label maps, which segmentation needs" in capsys.readouterr().err


def test_recipes_say_what_they_are() -> None:
    for path in COMMAND.recipes.glob("*.yaml"):
        assert resolve(COMMAND, [f"--recipe={path.stem}"]).recipe == path.stem
    assert CLASSES[0] == "background"
