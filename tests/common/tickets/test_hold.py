"""Holding a mask while training: nothing pruned ever moves, and what is kept trains as under torch's own pruning."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import prune

from common.models.backbones import build_backbone
from common.tickets.errors import TicketError
from common.tickets.hold import Hold, hold
from common.tickets.mask import Mask

OPTIMIZERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1),
    "momentum": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, weight_decay=0.01),
    "nesterov": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True, weight_decay=0.01, foreach=True),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.1),
    "adam_amsgrad": lambda p: torch.optim.Adam(p, lr=0.01, weight_decay=0.1, amsgrad=True),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=0.001, momentum=0.9, centered=True),
}
STEPS, ACCUMULATED = 12, 2


def _batches(seed: int = 1) -> list[Tensor]:
    draws = torch.Generator().manual_seed(seed)
    return [torch.randn(6, 1, 6, 6, generator=draws) for _ in range(STEPS * ACCUMULATED)]


def _loss(model: nn.Module, x_NCHW: Tensor) -> Tensor:
    return nn.functional.cross_entropy(model(x_NCHW) * 3, torch.arange(6) % 3) / ACCUMULATED


def _pruned_values(model: nn.Module, optimizer: torch.optim.Optimizer, mask: Mask) -> np.ndarray:
    """Collect every weight and state entry at a pruned place, read with numpy."""
    values = []
    for name, kept in mask.items():
        parameter = model.get_parameter(name)
        state = [v for v in optimizer.state[parameter].values() if isinstance(v, Tensor) and v.shape == parameter.shape]
        for tensor in [parameter, *state]:
            values.append(tensor.detach().numpy()[~kept.numpy()])
    return np.concatenate(values)


def _train_held(model: nn.Module, optimizer: torch.optim.Optimizer, mask: Mask, clip: float = 0.5) -> None:
    """The project's order: accumulate, grads_, clip, step, weights_."""
    engine = Hold(model.named_parameters(), mask)
    engine.weights_()
    engine.state_(optimizer)
    for step, x_NCHW in enumerate(_batches()):
        _loss(model, x_NCHW).backward()
        if step % ACCUMULATED:
            engine.grads_()
            for name, kept in mask.items():
                grad = model.get_parameter(name).grad
                assert grad is not None
                assert not grad.numpy()[~kept.numpy()].any()
            nn.utils.clip_grad_norm_(model.parameters(), clip)
            optimizer.step()
            engine.weights_()
            optimizer.zero_grad()
            assert not _pruned_values(model, optimizer, mask).any()
            assert engine.is_held(optimizer)


def _train_pruned(model: nn.Module, make: Callable[[Any], torch.optim.Optimizer], mask: Mask, clip: float = 0.5) -> nn.Module:
    """The reference: torch's CustomFromMask in the forward pass, so that gradients of pruned weights are 0."""
    for name, kept in mask.items():
        prune.custom_from_mask(model.get_submodule(name.removesuffix(".weight")), "weight", kept)
    optimizer = make(model.parameters())
    for step, x_NCHW in enumerate(_batches()):
        _loss(model, x_NCHW).backward()
        if step % ACCUMULATED:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
            optimizer.step()
            optimizer.zero_grad()
    for name in mask:
        prune.remove(model.get_submodule(name.removesuffix(".weight")), "weight")
    return model


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_kept_weights_train_as_under_torch_pruning(kind: str, little: nn.Module, little_mask: Mask) -> None:
    make = OPTIMIZERS[kind]
    reference = _train_pruned(copy.deepcopy(little), make, little_mask)
    before = copy.deepcopy(little.state_dict())
    _train_held(little, make(little.parameters()), little_mask)
    expected = reference.state_dict()
    for name, value in little.state_dict().items():
        torch.testing.assert_close(value, expected[name], rtol=1e-5, atol=1e-6)
    assert not torch.equal(before["body.weight"] * little_mask["body.weight"], little.state_dict()["body.weight"])


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_hooks_hold_in_a_foreign_loop(kind: str, little: nn.Module, little_mask: Mask) -> None:
    reference = copy.deepcopy(little)
    optimizer = OPTIMIZERS[kind](little.parameters())
    with hold(little, optimizer, dict(little_mask)):
        for x_NCHW in _batches()[:STEPS]:
            optimizer.zero_grad()
            _loss(little, x_NCHW).backward()
            optimizer.step()
            assert not _pruned_values(little, optimizer, little_mask).any()
    for name, kept in little_mask.items():
        prune.custom_from_mask(reference.get_submodule(name.removesuffix(".weight")), "weight", kept)
    optimizer = OPTIMIZERS[kind](reference.parameters())
    for x_NCHW in _batches()[:STEPS]:
        optimizer.zero_grad()
        _loss(reference, x_NCHW).backward()
        optimizer.step()
    for name, kept in little_mask.items():
        expected = dict(reference.named_parameters())[f"{name}_orig"] * kept
        torch.testing.assert_close(little.get_parameter(name), expected, rtol=1e-5, atol=1e-6)


def test_clipping_ignores_pruned_gradients() -> None:
    """By hand: kept gradient (3, 4) has norm 5; the pruned 12 would make it 13."""
    layer = nn.Linear(3, 1, bias=False)
    layer.weight.grad = torch.tensor([[3.0, 12.0, 4.0]])
    engine = Hold(layer.named_parameters(), Mask({"weight": torch.tensor([[True, False, True]])}))
    engine.grads_()
    assert nn.utils.clip_grad_norm_(layer.parameters(), 1.0).item() == pytest.approx(5)
    assert layer.weight.grad.tolist()[0] == pytest.approx([0.6, 0, 0.8], abs=1e-5)


def test_momentum_gathered_before_pruning_is_cleared(little: nn.Module, little_mask: Mask) -> None:
    optimizer = torch.optim.SGD(little.parameters(), lr=0.1, momentum=0.9)
    _loss(little, _batches()[0]).backward()
    optimizer.step()
    assert not Hold(little.named_parameters(), little_mask).is_held(optimizer)
    handle = hold(little, optimizer, little_mask)
    assert not _pruned_values(little, optimizer, little_mask).any()
    kept_momentum = optimizer.state[little.get_parameter("body.weight")]["momentum_buffer"].numpy()
    assert kept_momentum[little_mask["body.weight"].numpy()].any()
    assert handle.hold.is_held(optimizer)


@pytest.mark.parametrize("keyword", [True, False])
@pytest.mark.parametrize("make", [OPTIMIZERS["momentum"], lambda p: torch.optim.LBFGS(p, lr=0.1, max_iter=4)])
def test_gradients_that_a_closure_makes_inside_the_step_are_held(
    make: Callable[[Any], torch.optim.Optimizer], keyword: bool, little: nn.Module, little_mask: Mask
) -> None:
    optimizer = make(little.parameters())

    def closure() -> float:
        optimizer.zero_grad()
        loss = _loss(little, _batches()[0])
        loss.backward()
        return loss.item()

    first = closure()
    with hold(little, optimizer, little_mask) as handle:
        for _ in range(4):
            loss = optimizer.step(closure=closure) if keyword else optimizer.step(closure)  # type: ignore[arg-type]
            assert not _pruned_values(little, optimizer, little_mask).any()
            assert handle.hold.is_held(optimizer)
    assert isinstance(loss, float)
    assert closure() < first


class Noisy(torch.optim.SGD):
    """Moves every weight, whatever its gradient, as optimizers with noise or averaging do."""

    def step(self, closure: Any = None) -> Any:
        result = super().step(closure)
        with torch.no_grad():
            for group in self.param_groups:
                for parameter in group["params"]:
                    parameter.add_(0.1)
        return result


def test_optimizers_that_move_weights_without_gradient_are_held(little: nn.Module, little_mask: Mask) -> None:
    optimizer = Noisy(little.parameters(), lr=0.1)
    before = little.get_parameter("body.weight").detach().clone()
    with hold(little, optimizer, little_mask):
        optimizer.step()
    kept = little_mask["body.weight"]
    after = little.get_parameter("body.weight").detach()
    assert not after[~kept].any()
    torch.testing.assert_close(after[kept], before[kept] + 0.1)


def test_remove_takes_the_hooks_off(little: nn.Module, little_mask: Mask) -> None:
    optimizer = torch.optim.SGD(little.parameters(), lr=0.1)
    with hold(little, optimizer, little_mask):
        pass
    before = little.get_parameter("body.weight").detach().clone()
    assert not before[~little_mask["body.weight"]].any()
    _loss(little, _batches()[0]).backward()
    optimizer.step()
    assert little.get_parameter("body.weight")[~little_mask["body.weight"]].any()


def test_nothing_is_wrapped_or_replaced(little: nn.Module, little_mask: Mask) -> None:
    parameters = {name: (id(p), p.data_ptr()) for name, p in little.named_parameters()}
    names = list(little.state_dict())
    optimizer = torch.optim.SGD(little.parameters(), lr=0.1, momentum=0.9)
    with hold(little, optimizer, little_mask):
        _loss(little, _batches()[0]).backward()
        optimizer.step()
    assert parameters == {name: (id(p), p.data_ptr()) for name, p in little.named_parameters()}
    assert names == list(little.state_dict())
    assert not any(module._forward_pre_hooks or module._forward_hooks for module in little.modules())


def test_channels_last_stays_channels_last() -> None:
    model = build_backbone("resnet_digits", seed=1).to(memory_format=torch.channels_last)
    plain = build_backbone("resnet_digits", seed=1)
    draws = torch.Generator().manual_seed(0)
    mask = Mask({"layer2.0.conv1.weight": torch.rand(24, 16, 3, 3, generator=draws) < 0.4})
    for network in (model, plain):
        optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
        with hold(network, optimizer, mask):
            for _ in range(2):
                optimizer.zero_grad()
                network(torch.ones(2, 3, 8, 8) * torch.arange(8)).square().sum().backward()
                optimizer.step()
    weight = model.get_parameter("layer2.0.conv1.weight")
    assert weight.is_contiguous(memory_format=torch.channels_last)
    assert not weight.is_contiguous()
    assert not weight.detach().numpy()[~mask["layer2.0.conv1.weight"].numpy()].any()
    torch.testing.assert_close(weight, plain.get_parameter("layer2.0.conv1.weight"), rtol=1e-4, atol=1e-5)
    engine = Hold(model.named_parameters(), mask)
    assert engine._masks[0].stride() == weight.stride()


def test_parameters_without_gradient_or_mask_are_left_alone(little: nn.Module, little_mask: Mask) -> None:
    before = {name: p.detach().clone() for name, p in little.named_parameters()}
    engine = Hold(little.named_parameters(), little_mask)
    engine.grads_()
    engine.weights_()
    for name, old in before.items():
        expected = old.numpy() * little_mask[name].numpy() if name in little_mask else old.numpy()
        assert (little.get_parameter(name).detach().numpy() == expected).all()


def test_kept_entries_keep_every_bit() -> None:
    layer = nn.Linear(4, 1, bias=False)
    payload = torch.tensor([[0x7FC12345, -0x80000000, 0x00000001, 0x3F800000]], dtype=torch.int32)  # NaN, -0.0, denormal, 1.0
    with torch.no_grad():
        layer.weight.copy_(payload.view(torch.float32))
    Hold(layer.named_parameters(), Mask({"weight": torch.tensor([[True, True, True, False]])})).weights_()
    assert layer.weight.detach().view(torch.int32).tolist() == [[0x7FC12345, -0x80000000, 1, 0]]


@pytest.mark.parametrize("mask", [{"body.weight": (4, 2, 9)}, {"nothing.weight": (1,)}, {"bn1.running_mean": (2,)}])
def test_a_mask_that_does_not_fit_is_refused(mask: dict[str, tuple[int, ...]], little: nn.Module) -> None:
    dense = Mask.dense(mask)
    with pytest.raises(TicketError, match=next(iter(mask))):
        Hold(little.named_parameters(), dense)
    before = copy.deepcopy(little.state_dict())
    with pytest.raises(TicketError):
        hold(little, torch.optim.SGD(little.parameters(), lr=0.1), dense)
    assert all(torch.equal(before[name], value) for name, value in little.state_dict().items())
