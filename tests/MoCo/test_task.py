"""The MoCo task: keys by torch's own batch norm, a key encoder that follows and stays masked, a queue through every rewind."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from common.cli import resolve
from common.config import TrainConfig
from common.models.heads import Network
from common.tickets.hold import Hold
from common.tickets.mask import Mask
from common.tickets.rewind import capture
from common.training.checkpoint import load_checkpoint, save_checkpoint
from common.training.logs import Log
from common.training.loop import Rules, Span, fit
from common.training.optim import build_optimizer, build_schedule
from common.training.pretraining import build_setting
from common.training.views import TrainViews
from MoCo.main import COMMAND
from MoCo.objective import info_nce
from MoCo.task import MoCoTask, build_task

WORDS = ("--data.name=digits:0-2", "--train.batch_size=32", "--evaluation.retrieval_batch=32", "--queue.size=50")


def small_task(*words: str) -> MoCoTask:
    """Return a task on digits 0 to 2 that is ready to train."""
    config = resolve(COMMAND, [*WORDS, *words]).config
    task = build_task(build_setting(config, torch.device("cpu")))
    task.prepare_(config.train)
    return task


def train(
    task: MoCoTask,
    folder: Path,
    first: int,
    last: int,
    *,
    round: int = 0,
    mask: Mask | None = None,
    clip: float | None = None,
    optimizer: torch.optim.Optimizer | None = None,
    after_step: Callable[[int], None] = lambda done: None,
) -> torch.optim.Optimizer:
    """Train a task from step `first` to `last` of a round; return the optimizer."""
    optim = task.config.optim
    optimizer = optimizer or build_optimizer(task.parameter_groups(), optim)
    schedule = build_schedule(optim, 100, task.steps_per_epoch)
    hold = Hold(task.backbone.named_parameters(), mask) if mask is not None else None
    log = Log(folder, resumed_at=(0, 0), every=100, tensorboard=False)
    rules = Rules(accumulate=task.config.train.accumulate, clip=clip)
    fit(task, optimizer, schedule, Span(round, first, last), log=log, rules=rules, hold=hold, after_step=after_step)
    log.close()
    return optimizer


def plain(network: Network) -> Network:
    """Return a copy with torch's batch norms in place of the split ones."""
    found = copy.deepcopy(network)
    for parent in list(found.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.BatchNorm2d):
                norm = nn.BatchNorm2d(child.num_features)
                norm.load_state_dict(child.state_dict())
                setattr(parent, name, norm)
    return found.train()


def equal(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(tensor, b[name]) for name, tensor in a.items())


def random_mask(task: MoCoTask) -> Mask:
    draws = torch.Generator().manual_seed(2)
    weights = {name: p for name, p in task.backbone.named_parameters() if p.ndim == 4 and name != "conv1.weight"}
    return Mask({name: torch.rand(p.shape, generator=draws) < 0.3 for name, p in weights.items()})


def rewind(task: MoCoTask, state: dict[str, Tensor], mask: Mask) -> None:
    """Do to a task what the search does between two rounds."""
    task.network.load_state_dict(state)
    Hold(task.backbone.named_parameters(), mask).weights_()
    task.rewound()


def test_a_batch_is_two_views_labels_and_an_order() -> None:
    task = small_task()
    (first, second), labels, order = next(iter(task.train_batches(0, 0, 0)))
    assert first.shape == second.shape == (32, 3, 16, 16)
    assert labels.shape == (32,)
    assert order.sort().values.tolist() == list(range(32))
    assert not torch.equal(first, second)
    batches, late = list(task.train_batches(1, 2, 0)), list(small_task().train_batches(1, 2, 2))
    assert not torch.equal(batches[0][2], batches[1][2])
    assert all(torch.equal(a[2], b[2]) for a, b in zip(batches[2:], late, strict=True))


@pytest.mark.parametrize("splits", [1, 4])
def test_the_loss_is_that_of_shuffled_keys_and_queries_normed_part_by_part(splits: int) -> None:
    task = small_task(f"--norm.splits={splits}", "--objective.temperature=0.3")
    batch = (first, second), _, order = next(iter(task.train_batches(0, 0, 0)))
    queue = task.queue.keys_KD.clone()
    queries = torch.cat([plain(task.network)(part) for part in first.chunk(splits)])
    shuffled = torch.cat([plain(task.key_encoder)(part) for part in second[order].chunk(splits)])
    keys = torch.empty_like(shuffled)
    keys[order] = shuffled
    expected = info_nce(queries, keys, queue, temperature=0.3)
    torch.testing.assert_close(task.loss(batch)["total"], expected)
    assert torch.equal(task.queue.keys_KD, queue), "a step's keys are no negatives of its own"
    task.after_step()
    newest = [(task.queue.next - 32 + i) % 50 for i in range(32)]
    torch.testing.assert_close(task.queue.keys_KD[newest], normalize(keys, dim=1))


def test_the_symmetric_loss_is_the_mean_of_both_ways() -> None:
    one, both = small_task(), small_task("--objective.symmetric=true")
    (first, second), labels, order = next(iter(one.train_batches(0, 0, 0)))
    next(iter(both.train_batches(0, 0, 0)))
    there = one.loss(((first, second), labels, order))["total"]
    back = one.loss(((second, first), labels, order))["total"]
    torch.testing.assert_close(both.loss(((first, second), labels, order))["total"], (there + back) / 2)


def test_the_loss_reaches_every_weight_of_the_query_encoder_alone() -> None:
    task = small_task()
    task.loss(next(iter(task.train_batches(0, 0, 0))))["total"].backward()
    assert all(bool(parameter.grad.abs().sum() > 0) for parameter in task.network.parameters())
    assert all(parameter.grad is None and not parameter.requires_grad for parameter in task.key_encoder.parameters())


def test_the_key_encoder_is_a_moving_average_of_parameters_with_statistics_of_its_own(tmp_path: Path) -> None:
    task = small_task("--objective.key_momentum=0.9", "--optim.lr=0.1")
    assert equal(capture(task.network), capture(task.key_encoder))
    expected = {name: p.detach().double() for name, p in task.network.named_parameters()}

    def follow(_: int) -> None:
        for name, parameter in task.network.named_parameters():
            expected[name] = 0.9 * expected[name] + 0.1 * parameter.detach().double()

    train(task, tmp_path, 0, 5, after_step=follow)
    for name, parameter in task.key_encoder.named_parameters():
        torch.testing.assert_close(parameter.double(), expected[name], rtol=1e-5, atol=1e-7)
    means = [encoder.get_buffer("backbone.bn1.running_mean") for encoder in (task.network, task.key_encoder)]
    assert not torch.equal(*means)
    assert not torch.equal(task.network.get_parameter("head.0.weight"), task.key_encoder.get_parameter("head.0.weight"))


@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "lars"])
def test_pruned_weights_are_exactly_zero_in_both_encoders_at_every_step(tmp_path: Path, optimizer: str) -> None:
    task = small_task(f"--optim.name={optimizer}", "--optim.lr=0.05", "--optim.weight_decay=0.01", "--objective.key_momentum=0.9")
    state, mask = capture(task.network), random_mask(task)
    rewind(task, state, mask)
    seen = []

    def check(done: int) -> None:
        for encoder in (task.network, task.key_encoder):
            weights = dict(encoder.backbone.named_parameters())
            assert not any(bool(weights[name][~kept].any()) for name, kept in mask.items())
        seen.append(done)

    train(task, tmp_path, 0, 8, round=1, mask=mask, clip=0.5, after_step=check)
    assert len(seen) == 8
    name, kept = next(iter(mask.items()))
    moved = task.key_encoder.backbone.get_parameter(name)[kept] != state[f"backbone.{name}"][kept]
    assert moved.float().mean() > 0.99


def test_a_rewind_copies_the_masked_query_encoder_with_its_statistics(tmp_path: Path) -> None:
    task = small_task()
    state, mask = capture(task.network), random_mask(task)
    train(task, tmp_path, 0, 3)
    own = [id(parameter) for parameter in task.key_encoder.parameters()]
    rewind(task, state, mask)
    assert equal(capture(task.network), capture(task.key_encoder))
    assert not any(bool(task.key_encoder.backbone.get_parameter(name)[~kept].any()) for name, kept in mask.items())
    assert own == [id(parameter) for parameter in task.key_encoder.parameters()]


def keys_of(task: MoCoTask, encoder: Network, round: int) -> Tensor:
    """Compute the first 64 keys that a queue is filled with, from their definition."""
    images, augment = task.images["train"], task.config.augment
    streams = {"order": "queue_order", "stream": "queue_views"}
    views = TrainViews(images, task.views.input, augment, TrainConfig(batch_size=32), seed=0, views=1, **streams)
    batches = [view for (view,), _ in views.batches(round, 0, 0)][:2]
    with torch.no_grad():
        return normalize(torch.cat([plain(encoder)(part) for view in batches for part in view.chunk(8)]), dim=1)


def test_the_queue_starts_with_keys_of_training_images() -> None:
    task = small_task("--queue.size=64")
    assert not task.queue.keys_KD.any()
    expected = keys_of(task, task.key_encoder, 0)
    next(iter(task.train_batches(0, 0, 0)))
    torch.testing.assert_close(task.queue.keys_KD, expected)
    before = task.queue.keys_KD.clone()
    next(iter(task.train_batches(0, 1, 0)))
    assert torch.equal(task.queue.keys_KD, before), "filled once, not every epoch"


def test_the_queue_may_start_with_random_directions() -> None:
    task, other = small_task("--queue.start=random"), small_task("--queue.start=random", "--seed.ticket=1")
    for one in (task, other):
        next(iter(one.train_batches(0, 0, 0)))
        torch.testing.assert_close(one.queue.keys_KD.norm(dim=1), torch.ones(50))
    assert task.queue.keys_KD.mean(0).norm() < 0.3, "keys of a fresh network are nearly parallel, random ones are not"
    assert not torch.equal(task.queue.keys_KD, other.queue.keys_KD)


def test_a_queue_of_more_keys_than_images_is_filled_and_said(capsys: pytest.CaptureFixture[str]) -> None:
    task = small_task("--queue.size=600")
    images = len(task.images["train"])
    assert f"queue.size 600 is more than the {images} training images" in capsys.readouterr().out
    next(iter(task.train_batches(0, 0, 0)))
    torch.testing.assert_close(task.queue.keys_KD.norm(dim=1), torch.ones(600))
    assert len(task.queue.keys_KD.unique(dim=0)) == 600, "another epoch shows other views"


def test_refill_empties_the_queue_and_fills_it_with_keys_of_the_rewound_encoder(tmp_path: Path) -> None:
    task = small_task("--rewind.queue=refill", "--queue.size=64")
    state, mask = capture(task.network), random_mask(task)
    train(task, tmp_path, 0, 3)
    rewind(task, state, mask)
    expected = keys_of(task, task.network, 4)
    next(iter(task.train_batches(4, 0, 0)))
    torch.testing.assert_close(task.queue.keys_KD, expected)


def test_stored_brings_the_queue_of_the_rewind_point_back(tmp_path: Path) -> None:
    task = small_task("--rewind.queue=stored")
    state, mask = capture(task.network), random_mask(task)
    train(task, tmp_path, 0, 2)
    task.at_rewind_point()
    expected = task.queue.state_dict()
    for round in (1, 2):
        train(task, tmp_path, 0, 3, round=round)
        assert not torch.equal(task.queue.keys_KD, expected["keys"])
        rewind(task, state, mask)
        next(iter(task.train_batches(round, 0, 0)))
        assert torch.equal(task.queue.keys_KD, expected["keys"])
        assert task.queue.next == expected["next"]


def test_stored_knows_the_queue_of_a_rewind_point_before_the_first_step() -> None:
    task, other = small_task("--rewind.queue=stored"), small_task()
    task.at_rewind_point()
    next(iter(other.train_batches(0, 0, 0)))
    rewind(task, capture(task.network), random_mask(task))
    next(iter(task.train_batches(1, 0, 0)))
    assert torch.equal(task.queue.keys_KD, other.queue.keys_KD)


def test_keep_leaves_the_queue(tmp_path: Path) -> None:
    task = small_task("--rewind.queue=keep")
    state, mask = capture(task.network), random_mask(task)
    train(task, tmp_path, 0, 3)
    expected = task.queue.state_dict()
    rewind(task, state, mask)
    next(iter(task.train_batches(1, 0, 0)))
    assert torch.equal(task.queue.keys_KD, expected["keys"])
    assert task.queue.next == expected["next"] == (64 + 3 * 32) % 50


@pytest.mark.parametrize("words", [(), ("--rewind.queue=stored", "--train.accumulate=2")])
def test_a_task_restored_from_a_checkpoint_goes_on_bit_by_bit(tmp_path: Path, words: tuple[str, ...]) -> None:
    def state(task: MoCoTask) -> dict[str, Tensor]:
        queue = {"keys": task.queue.keys_KD.clone(), "next": torch.tensor(task.queue.next)}
        return {**capture(task.network), **{f"key/{k}": v for k, v in capture(task.key_encoder).items()}, **queue}

    task = small_task("--rewind.to=round0", *words)
    dense, mask = capture(task.network), random_mask(task)
    train(task, tmp_path, 0, 3)
    task.at_rewind_point()
    rewind(task, dense, mask)

    def save(done: int) -> None:
        if done == 2:
            save_checkpoint(tmp_path / "checkpoint.pt", task, optimizers[0], mask, round_=1, step=done, seconds=0.0)

    optimizers = [torch.optim.SGD(task.network.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)]
    train(task, tmp_path, 0, 5, round=1, mask=mask, optimizer=optimizers[0], after_step=save)

    other = small_task("--rewind.to=round0", *words)
    checkpoint = load_checkpoint(tmp_path / "checkpoint.pt")
    assert checkpoint is not None
    optimizer = torch.optim.SGD(other.network.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
    checkpoint.restore_(other, optimizer)
    train(other, tmp_path, 2, 5, round=1, mask=mask, optimizer=optimizer)
    assert equal(state(task), state(other))
    for one in (task, other):
        rewind(one, dense, mask)
        next(iter(one.train_batches(2, 0, 0)))
    assert equal(state(task), state(other))


def test_the_batches_of_one_step_see_the_same_queue_and_all_enter_it(tmp_path: Path) -> None:
    task = small_task("--train.accumulate=2", "--queue.size=500")
    batches = list(task.train_batches(0, 0, 0))[:2]
    before = task.queue.keys_KD.clone()
    for batch in batches:
        task.loss(batch)["total"].backward()
        assert torch.equal(task.queue.keys_KD, before)
    place = task.queue.next
    task.after_step()
    assert task.queue.next == (place + 64) % 500


def test_seeds_give_other_networks_and_orders() -> None:
    a, b, c = small_task(), small_task("--seed.ticket=1"), small_task("--seed.ticket=0")
    assert not equal(capture(a.network), capture(b.network))
    assert equal(capture(a.network), capture(c.network))
    orders = [next(iter(task.train_batches(0, 0, 0)))[2] for task in (a, b, c)]
    assert not torch.equal(orders[0], orders[1])
    assert torch.equal(orders[0], orders[2])


def test_bf16_keys_and_queue_are_float32() -> None:
    task = small_task("--train.precision=bf16", "--train.channels_last=true")
    batch = next(iter(task.train_batches(0, 0, 0)))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = task.loss(batch)["total"]
    task.after_step()
    assert loss.dtype == task.queue.keys_KD.dtype == torch.float32
    assert bool(loss.isfinite())
    torch.testing.assert_close(task.queue.keys_KD.norm(dim=1), torch.ones(50))
