"""The loop under every optimizer, with weight decay, clipping, accumulation and bf16: what is pruned stays at zero."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import prune

from common.config import OptimConfig
from common.models.heads import Network
from common.tickets import Mask
from common.tickets.hold import Hold
from common.training.logs import Log
from common.training.loop import Rules, Span, fit
from common.training.optim import build_optimizer, build_schedule
from common.training.task import NetworkTask


class Toy(NetworkTask):
    """Cross-entropy on random images, four batches an epoch."""

    main_metric = "loss"
    steps_per_epoch = 4

    def __init__(self, seed: int = 0, *, norms: bool = True, accumulate: int = 1) -> None:
        torch.manual_seed(seed)
        layers = [nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6) if norms else nn.Identity(), nn.ReLU(), nn.Conv2d(6, 8, 3)]
        super().__init__(Network(nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten()), nn.Linear(8, 3)))
        self.accumulate = accumulate

    def train_batches(self, round: int, epoch: int, first: int) -> Iterator[tuple[Tensor, Tensor]]:
        draws = torch.Generator().manual_seed(epoch)
        x, y = torch.randn(32, 3, 8, 8, generator=draws), torch.arange(32) % 3
        size = 8 // self.accumulate
        for start in range(first * 8, 32, size):
            yield x[start : start + size], y[start : start + size]

    def loss(self, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        return {"total": functional.cross_entropy(self.forward(batch[0]).float(), batch[1])}

    def evaluate(self, split: str) -> dict[str, float]:
        return {}


def toy_mask() -> Mask:
    draws = torch.Generator().manual_seed(5)
    return Mask(
        {"0.weight": torch.rand(6, 3, 3, 3, generator=draws) < 0.3, "3.weight": torch.rand(8, 6, 3, 3, generator=draws) < 0.3}
    )


def train(task: Toy, folder: Path, config: OptimConfig, rules: Rules = Rules(), mask: Mask | None = None, steps: int = 12):
    hold = None
    if mask is not None:
        hold = Hold(task.backbone.named_parameters(), mask)
        hold.weights_()
    optimizer = build_optimizer(task.parameter_groups(), config)
    log = Log(folder, resumed_at=(0, 0), every=5, tensorboard=False)
    fit(task, optimizer, build_schedule(config, steps, 4), Span(1, 0, steps), log=log, rules=rules, hold=hold)
    log.close()
    return optimizer, hold


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize(("clip", "accumulate"), [(None, 1), (0.05, 2)])
@pytest.mark.parametrize(
    "config",
    [
        OptimConfig(name="sgd", lr=0.1, weight_decay=0.05, nesterov=True),
        OptimConfig(name="adamw", lr=0.01, weight_decay=0.5),
        OptimConfig(name="lars", lr=1.0, weight_decay=0.05, trust_coefficient=0.1),
    ],
    ids=lambda config: config.name,
)
def test_nothing_pruned_ever_moves(
    config: OptimConfig, clip: float | None, accumulate: int, precision: str, tmp_path: Path
) -> None:
    task, mask = Toy(accumulate=accumulate), toy_mask()
    before = {name: p.detach().clone() for name, p in task.backbone.named_parameters()}
    optimizer, hold = train(task, tmp_path, config, Rules(accumulate, clip, precision), mask)
    assert hold.is_held(optimizer)
    own = dict(task.backbone.named_parameters())
    for name, kept in mask.items():
        pruned = ~kept
        assert not own[name][pruned].any()
        assert not own[name].grad[pruned].any()
        for value in optimizer.state[own[name]].values():
            if value.shape == kept.shape:
                assert not value[pruned].any()
        assert (own[name] != before[name])[kept].float().mean() > 0.99


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_held_training_equals_training_a_product_of_weight_and_mask(name: str, tmp_path: Path) -> None:
    """The oracle: torch.nn.utils.prune, whose forward multiplies; without decay both must give the same kept weights."""
    config = OptimConfig(name=name, lr=0.05 if name == "sgd" else 0.01, weight_decay=0.0)
    ours, theirs, mask = Toy(), Toy(), toy_mask()
    train(ours, tmp_path, config, mask=mask)
    for tensor, kept in mask.items():
        prune.custom_from_mask(theirs.backbone.get_submodule(tensor.removesuffix(".weight")), "weight", kept.float())
    train(theirs, tmp_path, config)
    for tensor, kept in mask.items():
        masked = theirs.backbone.get_submodule(tensor.removesuffix(".weight")).weight_orig.detach() * kept
        torch.testing.assert_close(ours.backbone.get_parameter(tensor).detach(), masked, rtol=1e-4, atol=1e-6)


def test_accumulation_equals_one_large_batch_without_batch_statistics(tmp_path: Path) -> None:
    config = OptimConfig(lr=0.1, weight_decay=0.01)
    whole, parts = Toy(norms=False), Toy(norms=False, accumulate=4)
    train(whole, tmp_path, config)
    train(parts, tmp_path, config, Rules(accumulate=4))
    for a, b in zip(whole.network.parameters(), parts.network.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def test_clipping_bounds_the_masked_gradient(tmp_path: Path) -> None:
    task = Toy()
    train(task, tmp_path, OptimConfig(lr=0.1), Rules(clip=0.01), toy_mask(), steps=3)
    total = torch.stack([p.grad.norm() for p in task.network.parameters()]).norm()
    assert total <= 0.01 * 1.001


def test_a_pruned_weight_that_moved_is_seen(tmp_path: Path) -> None:
    from common.errors import RunError

    task, mask = Toy(), toy_mask()
    hold = Hold(task.backbone.named_parameters(), mask)  # without weights_(): pruned weights are not zero
    optimizer = build_optimizer(task.parameter_groups(), OptimConfig())
    log = Log(tmp_path, resumed_at=(0, 0), every=5, tensorboard=False)
    with pytest.raises(RunError, match="is not zero after round 1"):
        fit(task, optimizer, lambda step: 0.1, Span(1, 0, 2), log=log, hold=hold)
    log.close()


def test_masks_cost_no_more_than_4_bytes_a_weight_on_the_cpu() -> None:
    mask = toy_mask()
    hold = Hold(Toy().backbone.named_parameters(), mask)
    assert sum(m.numel() * m.element_size() for m in hold._masks) <= 4 * mask.size


@pytest.mark.parametrize("words", [["--optim.name=adamw", "--optim.lr=0.002"], ["--optim.name=lars", "--optim.lr=1.0"]])
def test_searches_rewind_under_every_optimizer(words: list[str], search: Callable[..., Path]) -> None:
    from safetensors.numpy import load_file

    run = search(*words, "--train.precision=bf16", "--optim.clip=1.0", "--train.channels_last=true")
    rewind, scores = load_file(run / "rewind.safetensors"), load_file(run / "scores.safetensors")
    assert all((rewind[name] == scores[name]).all() for name in scores)


@pytest.mark.slow
def test_a_compiled_search_gives_tickets_and_does_not_recompile_after_round_0(search: Callable[..., Path]) -> None:
    import torch._dynamo

    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    search("--train.compile=true", "--prune.rounds=1")
    once = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    assert once >= 1
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    search("--train.compile=true", "--prune.rounds=3")
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == once
    assert not torch._dynamo.utils.counters["recompiles"]


def test_batches_are_asked_for_by_round_epoch_and_step(tmp_path: Path) -> None:
    """Steps 3 to 9 of round 2, four steps an epoch: the last of epoch 0, all of epoch 1, two of epoch 2."""
    asked = []

    class Asked(Toy):
        def train_batches(self, round: int, epoch: int, first: int) -> Iterator[tuple[Tensor, Tensor]]:
            asked.append((round, epoch, first))
            return super().train_batches(round, epoch, first)

    task, config = Asked(), OptimConfig(name="sgd", lr=0.1)
    log = Log(tmp_path, resumed_at=(0, 0), every=5, tensorboard=False)
    steps: list[int] = []
    optimizer = build_optimizer(task.parameter_groups(), config)
    fit(task, optimizer, build_schedule(config, 10, 4), Span(2, 3, 10), log=log, after_step=steps.append)
    log.close()
    assert asked == [(2, 0, 3), (2, 1, 0), (2, 2, 0)]
    assert steps == list(range(4, 11))
