"""Batches from files: the same whoever reads them and wherever an epoch is entered, cropped as drawn, labelled right."""

from __future__ import annotations

import gc
import multiprocessing
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from common.data.augment_config import AugmentConfig
from common.data.augment_draw import draw, draw_boxes, draw_uniform
from common.data.datasets import load_data
from common.data.file_images import FileImages
from common.data.file_loader import FileLoader
from common.data.file_readers import PIECE
from common.data.inputs import InputSpec
from common.data.loaders import ViewDraws, loader_of
from common.data.reading import Reading
from common.data.view_tables import IMAGENET_VIEWS
from common.errors import InputError, RunError
from common.randomness import generator

SIZE = 24
PIXELS = InputSpec(None, 3, (0.0, 1.0), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), None)
CROPS = AugmentConfig(jitter_probability=0.0, gray_probability=0.0, flip=0.0)
BLURRED = replace(IMAGENET_VIEWS, blur_probability=0.5, blur_kernel=3)
DRAWS = ViewDraws(CROPS, PIXELS, 2, seed=5, stream="views", indices=(1, 2))


def loader(root: Path, workers: int = 0, split: str = "train") -> FileLoader:
    data = load_data("folder", root=str(root), size=SIZE, storage="files", reading=Reading(workers))
    found = loader_of(data.split(split), "cpu")
    assert isinstance(found, FileLoader)
    return found


def epoch(files: FileLoader, draws: ViewDraws, *, first: int = 0, batch: int = 20, part: slice = slice(None)) -> list:
    order = files.batches(5, "order", 1, 2, batch_size=batch, drop_last=True, first_batch=first)
    return list(files.view_batches(order, draws, first=first, part=part, keep=True))


def assert_same(ours: list, theirs: list) -> None:
    assert len(ours) == len(theirs)
    for (views, labels), (expected, same) in zip(ours, theirs, strict=True):
        assert torch.equal(labels, same)
        assert len(views) == len(expected)
        assert all(torch.equal(a, b) for a, b in zip(views, expected, strict=True))


def test_any_number_of_processes_makes_the_same_batches_in_every_epoch_and_from_any_step(photos: Path) -> None:
    draws = replace(DRAWS, augment=BLURRED)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    alone = epoch(loader(photos), draws)
    assert torch.get_num_threads() == 2
    torch.set_num_threads(threads)
    assert [len(labels) for _, labels in alone] == [20, 20, 20]
    for workers in (1, 2):
        files = loader(photos, workers)
        assert_same(epoch(files, draws), alone)
        assert_same(epoch(files, draws, first=1), alone[1:])
        unfinished = files.view_batches(files.fixed_batches(7), draws, keep=True)
        next(unfinished)
        assert_same(epoch(files, draws, first=2), alone[2:])
        with pytest.raises(RuntimeError, match=r"after another pass had begun"):
            list(unfinished)


def test_views_are_torchvisions_crops_of_the_files_that_the_labels_name(photos: Path) -> None:
    files = loader(photos, 2)
    samples = ImageFolder(str(photos / "train")).samples
    order = torch.randperm(len(samples), generator=generator(5, "order", 1, 2))
    for number, (views, labels) in enumerate(epoch(files, DRAWS)):
        for row, index in enumerate(order[20 * number : 20 * (number + 1)].tolist()):
            name, label = samples[index]
            assert labels[row] == label
            image = Image.open(name).convert("RGB")
            drawn = draw(CROPS, 2, image.height, image.width, SIZE, generator(5, "views", 1, 2, index))
            for view, box in zip(views, drawn.box.tolist(), strict=True):
                expected = functional.resized_crop(image, *box, [SIZE, SIZE], antialias=True)
                assert (view[row] - functional.to_image(expected).float() / 255).abs().max() < 2 / 255 + 1e-6


def test_what_follows_the_crop_is_drawn_per_image_and_as_torchvision_makes_it(photos: Path) -> None:
    """Flip, grayscale and brightness, which do not depend on their order."""
    augment = replace(
        CROPS, flip=0.5, jitter_probability=0.6, brightness=0.5, contrast=0, saturation=0, hue=0, gray_probability=0.4
    )
    files = loader(photos, 2)
    plain, coloured = (epoch(files, replace(DRAWS, augment=one)) for one in (CROPS, augment))
    order = torch.randperm(len(files), generator=generator(5, "order", 1, 2)).tolist()
    seen = set()
    for number, ((crops, _), (views, _)) in enumerate(zip(plain, coloured, strict=True)):
        for row, index in enumerate(order[20 * number : 20 * (number + 1)]):
            drawn = draw(augment, 2, 40, 50, SIZE, generator(5, "views", 1, 2, index))
            for view in range(2):
                expected = crops[view][row]
                if drawn.flip[view]:
                    expected = functional.horizontal_flip(expected)
                if drawn.jitter[view]:
                    expected = functional.adjust_brightness(expected, drawn.factor[view, 0].item())
                if drawn.gray[view]:
                    expected = functional.rgb_to_grayscale(expected, num_output_channels=3)
                assert (views[view][row] - expected).abs().max() < 2 / 255
                seen.add((bool(drawn.flip[view]), bool(drawn.jitter[view]), bool(drawn.gray[view])))
    assert len(seen) == 8


def test_boxes_of_images_that_differ_in_size_are_those_of_each_size_alone() -> None:
    uniform = draw_uniform(200, generator(0, "boxes"))
    heights, widths = torch.randint(20, 300, (2, 200), generator=generator(0, "sides"))
    wide = replace(CROPS, crop_scale=(0.9, 1.0), crop_ratio=(3.0, 4.0))  # mostly the central crop
    for augment in (CROPS, wide):
        boxes = draw_boxes(augment, uniform, heights, widths, SIZE)
        for i in range(200):
            alone = draw_boxes(augment, uniform[i : i + 1], heights[i : i + 1], widths[i : i + 1], SIZE)
            assert torch.equal(boxes[i], alone[0])
        ends = boxes[:, :2] + boxes[:, 2:]
        assert bool(
            (boxes[:, :2] >= 0).all() and (ends <= torch.stack([heights, widths], dim=1)).all() and (boxes[:, 2:] > 0).all()
        )


def test_views_rounds_epochs_and_seeds_differ(photos: Path) -> None:
    files = loader(photos)
    ((first, second), _), *_ = epoch(files, DRAWS)
    assert not torch.equal(first, second)
    for other in (replace(DRAWS, indices=(1, 3)), replace(DRAWS, indices=(0, 2)), replace(DRAWS, seed=6)):
        ((again, _), _), *_ = epoch(files, other)
        assert all(not torch.equal(a, b) for a, b in zip(again, first, strict=True))


def test_processes_that_train_together_make_parts_of_the_same_batches(photos: Path) -> None:
    whole = epoch(loader(photos), DRAWS)
    parts = [epoch(loader(photos, 1), DRAWS, part=part) for part in (slice(0, 7), slice(7, 20))]
    joined = [
        (tuple(torch.cat(pair) for pair in zip(views, more, strict=True)), torch.cat([labels, others]))
        for (views, labels), (more, others) in zip(*parts, strict=True)
    ]
    assert_same(joined, whole)


@pytest.mark.parametrize("workers", [0, 2])
def test_evaluation_reads_every_image_in_order_as_imagenet_is_evaluated(workers: int, photos: Path) -> None:
    files = loader(photos, workers, "validation")
    chain = v2.Compose([v2.Resize(round(SIZE * 256 / 224)), v2.CenterCrop(SIZE), v2.PILToTensor()])
    expected = ImageFolder(str(photos / "validation"), chain)
    for _ in range(2):
        batches = list(files.evaluation_batches(18))
        assert [len(labels) for _, labels in batches] == [18, 4]
        assert torch.cat([labels for _, labels in batches]).tolist() == expected.targets
        pixels = torch.cat([pixels for pixels, _ in batches])
        assert pixels.dtype == torch.uint8
        assert (pixels.int() - torch.stack([image for image, _ in expected]).int()).abs().max() <= 2
    (subset,) = [pixels for pixels, _ in files.subset(torch.tensor([21, 3])).evaluation_batches(18)]
    at = torch.cat([pixels for pixels, _ in batches])[[21, 3]]
    assert torch.equal(subset, at)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("damage", [lambda path: path.write_bytes(path.read_bytes()[:-60]), Path.unlink])
def test_an_image_that_cannot_be_read_is_named_in_one_line(workers: int, damage, photos: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(photos, tmp_path / "copy"))
    files = loader(root, workers)
    damage(root / "train/bee/007.jpg")
    for read in (lambda: epoch(files, DRAWS), lambda: list(files.evaluation_batches(10))):
        with pytest.raises(InputError, match=r"^cannot read the image .*/train/bee/007.jpg: [^\n]+$"):
            read()


def test_reading_draws_nothing_global_and_leaves_no_process(photos: Path) -> None:
    before = torch.random.get_rng_state()
    for workers in (0, 2):
        files = loader(photos, workers)
        epoch(files, DRAWS)
        list(files.evaluation_batches(10))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert len(multiprocessing.active_children()) == 2, "those that read for training are kept"
    del files
    gc.collect()
    assert not multiprocessing.active_children()


@pytest.mark.slow
def test_a_process_that_was_killed_is_a_failure_in_one_line(photos: Path) -> None:
    files = loader(photos, 1)
    draws = replace(DRAWS, views=1)
    endless = (batch for _ in range(200) for batch in files.fixed_batches(PIECE))
    batches = files.view_batches(endless, draws, keep=True)
    next(batches)
    (child,) = multiprocessing.active_children()
    # torch's handler of this signal would raise wherever this thread is just then.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    try:
        os.kill(child.pid or 0, signal.SIGKILL)
        with pytest.raises(RunError, match=r"a process that reads images was lost \(.*\).*data.workers to fewer") as error:
            list(batches)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
    assert "\n" not in str(error.value)


def test_what_files_cannot_do_is_refused(photos: Path) -> None:
    files = loader(photos)
    with pytest.raises(InputError, match=r"augment.pad: got 4, expected null for images in files.*data.storage memory"):
        epoch(files, replace(DRAWS, augment=replace(CROPS, pad=4)))
    with pytest.raises(InputError, match=r"augment.blur_kernel: 95 does not fit views of 24 px"):
        epoch(files, replace(DRAWS, augment=replace(CROPS, blur_probability=0.5, blur_kernel=95)))
    assert isinstance(files.files, FileImages)
    on_gpu = replace(files.files, reading=Reading(0, "cuda"))
    with pytest.raises(InputError, match=r"data.decode cuda needs a GPU, and this run computes on cpu; set data.decode cpu"):
        loader_of(on_gpu, "cpu")
