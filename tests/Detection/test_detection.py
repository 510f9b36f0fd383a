"""Detection from end to end: tickets held, rewinds, what is carried over, resumes, evaluations, refusals."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from common.canonical import config_hash
from common.cli import resolve
from common.data.annotated.catalogue import open_annotated
from common.data.annotated.config import AnnotatedDataConfig
from common.tickets import load_ticket
from common.tickets.hold import Hold
from common.training.annotated_setting import Setting, fresh_backbone, open_images
from common.training.averaged import WeightAverage
from common.training.search_state import of_network
from Detection.main import COMMAND, main
from Detection.task import DetectionTask

from .conftest import FAST, Detect, write_voc, xml_of

REPOSITORY = Path(__file__).parents[2]


def ticket_of(search: Path, round_: int = 2) -> str:
    return f"--ticket.file={search / f'round_{round_:02d}/ticket.safetensors'}"


def weights(file: Path) -> dict[str, np.ndarray]:
    return {name.partition("/")[2]: tensor for name, tensor in load_file(file).items() if name.startswith("weight/")}


@pytest.mark.parametrize(("control", "words"), [("ticket", []), ("random", []), ("ticket", ["--train.average=0.9"])])
def test_a_mask_is_held_from_the_ticket_to_the_kept_network(
    detect: Detect, small_search: Path, control: str, words: list[str]
) -> None:
    run, result = detect(ticket_of(small_search), f"--ticket.control={control}", *words)
    ticket = load_ticket(small_search / "round_02/ticket.safetensors")
    trained = weights(run / "trained.safetensors")
    kept = sum(int(np.count_nonzero(trained[name])) for name in ticket.mask)
    assert kept == ticket.mask.kept
    assert result["density"] == pytest.approx(ticket.mask.density)
    assert (result["control"], result["task"], result["protocol"]) == (control, "detection", "full")
    inside = all(bool(ticket.mask[name].numpy()[trained[name] != 0].all()) for name in ticket.mask)
    assert inside == (control == "ticket")
    assert result["metric"] == "AP50"
    assert {"test/AP", "test/AP50", "test/VOC07_AP", "test/VOC_AP50"} <= set(result["metrics"])


def test_dense_and_scratch_say_what_they_are(detect: Detect, small_search: Path) -> None:
    _, dense = detect(ticket_of(small_search), "--ticket.control=dense")
    _, scratch = detect()
    assert (dense["control"], dense["density"], scratch["control"], scratch["ticket"]) == ("dense", 1.0, "scratch", None)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory, voc: Path) -> Any:
    """Return a function that searches on the task for 2 rounds, once for every set of words."""
    made: dict[tuple[str, ...], Path] = {}

    def run(*words: str) -> Path:
        if words not in made:
            out = tmp_path_factory.mktemp("found")
            fixed = [f"--data.root={voc}", f"--out={out}", "--prune.rounds=2", "--prune.rate=0.5", "--keep.trained=all"]
            assert main([*FAST, *fixed, *words]) == 0
            (made[words],) = out.glob("Detection/*/*")
        return made[words]

    return run


def test_a_round_is_rewound_as_a_whole(found: Any) -> None:
    run = found()
    start = load_file(run / "rewind.safetensors")
    assert {name.partition("/")[0] for name in start} == {"weight", "head"}
    assert any(name.startswith("head/neck.") for name in start)
    for round_ in (1, 2):
        ticket = load_ticket(run / f"round_{round_:02d}/ticket.safetensors")
        assert ticket.header["weights"]["file"] == "../rewind.safetensors"
        assert ticket.header["rewind"]["to"] == "init"
        result = json.loads((run / f"round_{round_:02d}/result.json").read_text())
        assert result["flags"] == []
        assert result["density"] == pytest.approx(0.5**round_, rel=1e-3)


def test_what_is_carried_over_is_the_trained_part_and_the_rest_is_rewound(found: Any) -> None:
    run = found("--rewind.keep=[neck,head,norms,stem]")
    start, own = load_file(run / "rewind.safetensors"), load_file(run / "round_01/rewind.safetensors")
    before = load_file(run / "scores.safetensors")  # the end of round 0
    mask = load_ticket(run / "round_01/ticket.safetensors").mask
    for name, tensor in own.items():
        kind, _, rest = name.partition("/")
        expected = start if kind == "weight" and rest in mask else before
        assert np.array_equal(tensor, expected[name]), name
    assert any(not np.array_equal(start[name], before[name]) for name in start if name.startswith("head/neck."))
    result = json.loads((run / "round_01/result.json").read_text())
    assert result["flags"] == ["dense_less_trained"]


def test_one_part_alone_is_carried_over(found: Any) -> None:
    run = found("--rewind.keep=[norms]")
    start, own = load_file(run / "rewind.safetensors"), load_file(run / "round_01/rewind.safetensors")
    differing = {name for name in own if not np.array_equal(own[name], start[name])}
    assert differing
    assert all(".bn" in f".{name.partition('/')[2]}" or "downsample.1" in name for name in differing)
    assert not any(name.startswith("head/") for name in differing)


def test_evaluate_repeats_the_result(detect: Detect, small_search: Path, tmp_path: Path) -> None:
    for words in ([], ["--train.average=0.9"], ["--select=best", "--train.epochs=2"]):
        run, result = detect(ticket_of(small_search), *words)
        assert main(["--evaluate", str(run), "--evaluation.draw=0"]) == 0
        (file,) = (tmp_path / "runs/Detection/evaluations").glob(f"{run.parent.name}-*.json")
        assert json.loads(file.read_text())["metrics"] == result["metrics"]


def test_what_is_drawn_lies_in_the_run_and_in_tensorboard(detect: Detect) -> None:
    from PIL import Image
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run, _ = detect("--evaluation.draw=3", "--log.tensorboard=true")
    events = EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    (image,) = events.Images("round_00/predictions")
    with Image.open(run / "predictions.png") as drawn:
        assert drawn.size == (image.width, image.height)


def test_objects_that_augmentation_lost_are_counted_in_the_log(detect: Detect) -> None:
    run, _ = detect("--augment.mosaic=1", "--train.epochs=2")
    last = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    assert last["objects/dropped"] > 0
    assert last["objects/kept"] > 0
    untouched, _ = detect("--train.epochs=2", out="untouched")
    assert "objects/dropped" not in (untouched / "metrics.jsonl").read_text()


def test_a_killed_run_ends_bit_for_bit_as_one_that_was_not(detect: Detect, small_search: Path, monkeypatch: Any) -> None:
    words = [ticket_of(small_search), "--train.epochs=3", "--train.average=0.9", "--augment.flip=0.5", "--select=best"]
    whole, _ = detect(*words, out="whole")

    class Killed(BaseException):
        pass

    at_step = DetectionTask.at_step

    def dying(task: DetectionTask, done: int) -> None:
        at_step(task, done)
        if done == 5:  # in the middle of the second epoch, behind the checkpoint of the first
            raise Killed

    monkeypatch.setattr(DetectionTask, "at_step", dying)
    with pytest.raises(Killed):
        detect(*words)
    monkeypatch.setattr(DetectionTask, "at_step", at_step)
    tree = Path(str(whole).replace("/whole/", "/runs/"))
    assert main([*FAST, f"--data.root={_root(whole)}", f"--out={tree.parents[2]}", *words]) == 0
    assert json.loads((tree / "run.json").read_text())["attempts"][1:]
    first, second = load_file(whole / "trained.safetensors"), load_file(tree / "trained.safetensors")
    assert all(np.array_equal(first[name], second[name]) for name in first)
    first, second = (json.loads((run / "result.json").read_text())["metrics"] for run in (whole, tree))
    assert first == second


def _root(run: Path) -> str:
    return str(json.loads((run / "run.json").read_text())["config"]["data"]["root"])


def task_of(voc: Path, *words: str) -> DetectionTask:
    config = resolve(COMMAND, [*FAST, f"--data.root={voc}", *words]).config
    backbone = fresh_backbone(config, seed=0, stream="init")
    return DetectionTask(Setting(config, open_images(config), backbone, torch.device("cpu")))


def test_what_a_mask_prunes_is_zero_in_the_average(voc: Path, small_search: Path) -> None:
    task = task_of(voc)
    mask = of_network(load_ticket(small_search / "round_02/ticket.safetensors").mask)
    hold = Hold(task.network.named_parameters(), mask)
    hold.weights_()
    average = WeightAverage(task.network, 0.9)
    optimizer = torch.optim.SGD(task.network.parameters(), 0.01, momentum=0.9, weight_decay=0.1)
    expected = {name: tensor.clone() for name, tensor in task.network.state_dict().items()}
    task.network.train()
    for step, batch in enumerate(task.train_batches(0, 0, 0), start=1):
        optimizer.zero_grad()
        task.loss(batch)["total"].backward()
        hold.grads_()
        optimizer.step()
        hold.weights_()
        average.update_()
        share = 1 - min(0.9, (1 + step) / (10 + step))
        for name, tensor in task.network.state_dict().items():
            if tensor.is_floating_point():
                expected[name] = expected[name] + share * (tensor - expected[name])
    with average.in_place():
        state = task.network.state_dict()
        for name, tensor in expected.items():
            if tensor.is_floating_point():
                torch.testing.assert_close(state[name], tensor, rtol=1e-5, atol=1e-6)
        for name, kept in mask.items():
            assert bool((state[name][~kept] == 0).all())


def test_batches_do_not_depend_on_what_ran_before_or_on_where_an_epoch_is_entered(voc: Path) -> None:
    task = task_of(voc, "--augment.flip=0.5", "--augment.colour=0.5")
    whole, rest = list(task.train_batches(1, 2, 0)), list(task.train_batches(1, 2, 1))
    assert len(whole) == 3
    for one, other in zip(whole[1:], rest, strict=True):
        assert torch.equal(one.images, other.images)
        assert one.targets is not None
        assert other.targets is not None
        assert torch.equal(one.targets.boxes, other.targets.boxes)
    assert not torch.equal(whole[0].images, next(iter(task.train_batches(1, 3, 0))).images)


TWO_RANKS = """
import json, sys
from common.training.distributed import rank
from Detection.main import main
code = main(sys.argv[1:])
sys.exit(code)
"""


@pytest.mark.parametrize(
    "model",
    ["", pytest.param("--model.name=mobilenetv3_small_050 --model.stem=native --data.size=[128]", marks=pytest.mark.slow)],
)
def test_two_processes_give_the_evaluation_of_one(
    detect: Detect, small_search: Path, voc: Path, tmp_path: Path, model: str
) -> None:
    start = model.split() or [ticket_of(small_search)]  # of the other network, the last convolution takes no part
    _, alone = detect(*start)
    script = tmp_path / "script.py"
    script.write_text(TWO_RANKS)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", str(script)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)}
    words = [*FAST, f"--data.root={voc}", f"--out={tmp_path / 'two'}", *start]
    done = subprocess.run([*command, *words], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    (result,) = (tmp_path / "two").glob("Detection/*/*/result.json")
    together = json.loads(result.read_text())
    assert json.loads((result.parent / "run.json").read_text())["attempts"][0]["world_size"] == 2
    # Batch norms see half a batch in each process, so the two networks differ; judged by one process, theirs gives the same.
    assert main(["--evaluate", str(result.parent), "--evaluation.draw=0"]) == 0
    (file,) = (tmp_path / "two/Detection/evaluations").glob("*.json")
    assert json.loads(file.read_text())["metrics"] == together["metrics"]
    assert set(together["metrics"]) == set(alone["metrics"])


def damage(root: Path, name: str, text: str) -> None:
    (root / f"VOCdevkit/VOC2012/{name}").write_text(text)


@pytest.mark.parametrize(
    ("harm", "words", "says"),
    [
        ("", ["--data.classes=[digit6,digit7,digit8]"], "digit9"),
        ("image", [], "train0.jpg"),
        ("list", [], "train"),
        ("", ["--model.name=resnet18"], "resnet18"),
        ("", ["--model.name=pixels", "--ticket.file=null"], "pixels"),
        ("", ["--train.batch_size=16"], "train.batch_size 16 is more than the 12 training images"),
        ("", ["--rewind.keep=[neck]"], "rewind.keep"),
        ("", ["--evaluation.split=validation", "--select=best"], "select"),
        ("", ["--data.name=vok"], "known: digit_scenes"),
    ],
)
def test_bad_input_is_one_line(tmp_path: Path, small_search: Path, capsys: Any, harm: str, words: list[str], says: str) -> None:
    root = write_voc(tmp_path / "own")
    if harm == "image":
        (root / "VOCdevkit/VOC2012/JPEGImages/train0.jpg").unlink()
    if harm == "list":
        damage(root, "ImageSets/Main/train.txt", "")
    out = tmp_path / "runs"
    assert main([*FAST, f"--data.root={root}", f"--out={out}", ticket_of(small_search), *words]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert says in line
    assert "Traceback" not in line
    assert not out.exists()


@pytest.mark.parametrize(("split", "words"), [("test", []), ("val", ["--select=best"]), ("val", ["--prune.rounds=1"])])
def test_a_split_without_objects_is_refused_before_anything_is_trained(
    tmp_path: Path, capsys: Any, split: str, words: list[str]
) -> None:
    root = write_voc(tmp_path / "voc")
    for name in ("test0", "test1", "test2", "test3", "test4") if split == "test" else [f"validation{i}" for i in range(4)]:
        (root / f"VOCdevkit/VOC2012/Annotations/{name}.xml").write_text(xml_of(name, (64, 64), []))
    assert main([*FAST, f"--data.root={root}", f"--out={tmp_path / 'runs'}", *words]) == 2
    message = capsys.readouterr().err.strip()
    assert message.count("\n") == 0
    assert f"no image of the {'test' if split == 'test' else 'validation'} split" in message
    assert not (tmp_path / "runs").exists()


def test_a_run_that_is_done_says_so_unless_its_images_are_others(tmp_path: Path, capsys: Any) -> None:
    root = write_voc(tmp_path / "voc")
    words = [*FAST, f"--data.root={root}", f"--out={tmp_path / 'runs'}"]
    assert main(words) == 0
    capsys.readouterr()
    assert main(words) == 0
    assert "is done already; nothing to run" in capsys.readouterr().out
    damage(root, "Annotations/train0.xml", xml_of("train0", (64, 64), [("digit6", (4, 4, 20, 20))]))
    assert main(words) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "began with other images of voc than there are now" in line
    (root / "VOCdevkit").parent.rename(tmp_path / "elsewhere")
    assert main(words) == 0
    assert "were not compared" in capsys.readouterr().out


def test_facts_tell_the_anchors_of_a_head_that_was_given(voc: Path) -> None:
    config = resolve(COMMAND, [*FAST, f"--data.root={voc}"]).config
    dataset = open_images(config)
    task = DetectionTask(Setting(config, dataset, fresh_backbone(config, seed=0, stream="fresh"), torch.device("cpu")))
    head: Any = task.network.head
    head.anchors.mul_(2)  # what restore_ does with those of a given head
    assert task.facts()["anchors"] == [[round(2 * side, 2) for side in pair] for pair in task.anchors.tolist()]


def test_the_unit_of_no_anchors_is_no_other_run() -> None:
    numbers = "--yolo.anchors=[" + ",".join(str(side) for side in range(1, 19)) + "]"
    hashes = {
        words: config_hash("Detection", resolve(COMMAND, [*words]).config)
        for words in ((), ("--yolo.anchor_unit=stride",), (numbers,), (numbers, "--yolo.anchor_unit=stride"))
    }
    assert hashes[()] == hashes["--yolo.anchor_unit=stride",]
    assert len(set(hashes.values())) == 3


def test_boxes_that_were_mended_are_counted_in_the_result(tmp_path: Path, capsys: Any) -> None:
    root = write_voc(tmp_path / "own")
    damage(root, "Annotations/train0.xml", xml_of("train0", (64, 64), [("digit6", (40, 40, 80, 64)), ("digit7", (9, 9, 9, 9))]))
    assert main([*FAST, f"--data.root={root}", f"--out={tmp_path / 'runs'}"]) == 0
    assert "1 boxes clipped, 1 boxes without area" in capsys.readouterr().out
    (result,) = (tmp_path / "runs").glob("Detection/*/*/result.json")
    assert json.loads(result.read_text())["details"]["mended"] == {"boxes_clipped": 1, "boxes_without_area": 1}


def test_the_fingerprint_tells_flags_and_class_names(tmp_path: Path) -> None:
    objects = [("digit6", (4, 5, 20, 25)), ("digit7", (30, 30, 50, 60))]
    texts = [xml_of("train0", (64, 64), objects)]
    texts += [texts[0].replace("<difficult>0", "<difficult>1", 1)]
    found = []
    for number, text in enumerate(texts):
        root = write_voc(tmp_path / str(number))
        damage(root, "Annotations/train0.xml", text)
        found.append(open_annotated(AnnotatedDataConfig("voc", str(root))))
    assert found[0].split_hash == found[1].split_hash
    assert found[0].fingerprint != found[1].fingerprint
    for file in (tmp_path / "0/VOCdevkit/VOC2012/Annotations").glob("*.xml"):
        file.write_text(file.read_text().replace("digit", "digid"))
    assert open_annotated(AnnotatedDataConfig("voc", str(tmp_path / "0"))).fingerprint != found[0].fingerprint


@pytest.mark.slow
def test_a_detector_learns_eight_scenes_by_heart(tmp_path: Path) -> None:
    root = write_voc(tmp_path / "own", {"train": 8, "validation": 1, "test": 1})
    year = root / "VOCdevkit/VOC2012"
    for split in ("val", "test"):  # the same scenes under other names: an image in two splits is refused
        for i in range(8):
            shutil.copy(year / f"JPEGImages/train{i}.jpg", year / f"JPEGImages/{split}_{i}.jpg")
            shutil.copy(year / f"Annotations/train{i}.xml", year / f"Annotations/{split}_{i}.xml")
        damage(root, f"ImageSets/Main/{split}.txt", "\n".join(f"{split}_{i}" for i in range(8)) + "\n")
    words = ["--train.epochs=150", "--yolo.channels=16", "--evaluation.split=validation"]
    assert main([*FAST, f"--data.root={root}", f"--out={tmp_path / 'runs'}", *words]) == 0
    (result,) = (tmp_path / "runs").glob("Detection/*/*/result.json")
    assert json.loads(result.read_text())["value"] > 0.95
