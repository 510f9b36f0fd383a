"""Rewinding: bit for bit, in place, and independent of what happens after."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from common.models.backbones import build_backbone
from common.models.heads import Network, linear_head
from common.tickets.errors import TicketError
from common.tickets.mask import Mask
from common.tickets.rewind import capture, restore_


def _bytes(state: dict[str, Tensor]) -> dict[str, bytes]:
    return {name: tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes() for name, tensor in state.items()}


def _network() -> Network:
    return Network(build_backbone("resnet_digits", seed=4), linear_head(64, 5, seed=4))


def _train(model: nn.Module, steps: int = 3, seed: int = 0) -> None:
    draws = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    model.train()
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(torch.randn(8, 3, 8, 8, generator=draws)), torch.arange(8) % 5).backward()
        optimizer.step()


def test_everything_comes_back_bit_for_bit() -> None:
    model = _network()
    _train(model, seed=1)
    expected = _bytes(dict(model.state_dict()))
    state = capture(model)
    objects = {name: (id(p), p.data_ptr()) for name, p in model.named_parameters()}
    _train(model, seed=2)
    moved = _bytes(dict(model.state_dict()))
    changed = {name for name in expected if expected[name] != moved[name]}
    assert {"backbone.bn1.running_mean", "backbone.bn1.num_batches_tracked", "head.weight", "backbone.conv1.weight"} <= changed
    assert _bytes(state) == expected  # training did not reach the store
    restore_(model, state)
    assert _bytes(dict(model.state_dict())) == expected
    assert objects == {name: (id(p), p.data_ptr()) for name, p in model.named_parameters()}
    _train(model, seed=3)
    assert _bytes(state) == expected


def test_the_mask_zeroes_what_is_pruned_and_nothing_else() -> None:
    model = _network()
    state = capture(model)
    draws = torch.Generator().manual_seed(0)
    name = "backbone.layer1.0.conv1.weight"
    mask = Mask({name: torch.rand(16, 16, 3, 3, generator=draws) < 0.5})
    _train(model)
    restore_(model, state, mask)
    after = dict(model.state_dict())
    kept = mask[name].numpy()
    assert not after[name].numpy()[~kept].any()
    assert (after[name].numpy()[kept] == state[name].numpy()[kept]).all()
    assert _bytes({n: t for n, t in after.items() if n != name}) == _bytes({n: t for n, t in state.items() if n != name})


def test_nan_payloads_and_negative_zero_survive() -> None:
    model = nn.BatchNorm2d(3)
    payload = torch.tensor([0x7FC0BEEF, -0x80000000, 0x00000003], dtype=torch.int32)
    with torch.no_grad():
        model.weight.copy_(payload.view(torch.float32))
        assert model.running_mean is not None
        model.running_mean.copy_(payload.view(torch.float32))
    state = capture(model)
    with torch.no_grad():
        model.weight.fill_(1)
        model.running_mean.fill_(1)
    restore_(model, state)
    assert model.weight.detach().view(torch.int32).equal(payload)
    assert model.running_mean.view(torch.int32).equal(payload)


def test_captured_tensors_are_contiguous_copies() -> None:
    model = _network().to(memory_format=torch.channels_last)
    state = capture(model)
    assert all(tensor.is_contiguous() and not tensor.requires_grad for tensor in state.values())
    own = {tensor.data_ptr() for tensor in model.state_dict().values()}
    assert not own & {tensor.data_ptr() for tensor in state.values()}
    with torch.no_grad():
        model.backbone.get_parameter("layer1.0.conv1.weight").zero_()
    restore_(model, state)
    weight = model.backbone.get_parameter("layer1.0.conv1.weight")
    assert weight.is_contiguous(memory_format=torch.channels_last)
    assert weight.equal(state["backbone.layer1.0.conv1.weight"])


def test_states_of_other_networks_are_refused_and_change_nothing() -> None:
    model = _network()
    state = capture(model)
    for bad in (
        {name: t for name, t in state.items() if name != "head.bias"},
        {**state, "more": torch.zeros(1)},
        {**state, "head.bias": torch.zeros(6)},
    ):
        with pytest.raises(TicketError, match=r"head\.bias|more"):
            restore_(model, bad)
        assert _bytes(dict(model.state_dict())) == _bytes(state)
    with pytest.raises(TicketError):
        restore_(model, {n: t + 1 for n, t in state.items()}, Mask.dense({"nothing": (1,)}))
    assert _bytes(dict(model.state_dict())) == _bytes(state)
