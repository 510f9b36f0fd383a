"""Batch norm over parts of a batch against torch's own batch norm, part by part."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from common.errors import InputError
from common.models.backbones import build_backbone
from common.tickets.scope import find_scope
from MoCo.split_norm import SplitBatchNorm2d, split_norms_


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def random_norm(channels: int, momentum: float | None = 0.1) -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(channels, momentum=momentum)
    draws = torch.Generator().manual_seed(1)
    for tensor in (norm.weight.data, norm.bias.data, norm.running_mean, norm.running_var):
        tensor.copy_(torch.rand(channels, generator=draws) + 0.5)
    return norm


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("momentum", [0.1, None])
@pytest.mark.parametrize("parts", [1, 2, 3, 6])
def test_equals_torchs_batch_norm_on_every_part(parts: int, momentum: float | None, memory_format: torch.memory_format) -> None:
    norm = random_norm(5, momentum)
    split = SplitBatchNorm2d(copy.deepcopy(norm), parts)
    references = [copy.deepcopy(norm) for _ in range(parts)]
    for step in range(3):
        x = (3 * noise(12, 5, 4, 3, seed=step) + 1).to(memory_format=memory_format)
        mine, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
        expected = torch.cat([one(part) for one, part in zip(references, theirs.chunk(parts), strict=True)])
        found = split(mine)
        torch.testing.assert_close(found, expected)
        weight = noise(*x.shape, seed=9)
        (found * weight).sum().backward()
        (expected * weight).sum().backward()
        torch.testing.assert_close(mine.grad, theirs.grad)
    for name in ("running_mean", "running_var"):
        torch.testing.assert_close(getattr(split, name), torch.stack([getattr(one, name) for one in references]).mean(0))
    assert int(split.num_batches_tracked) == 3
    torch.testing.assert_close(split.weight.grad, torch.stack([one.weight.grad for one in references]).sum(0))
    torch.testing.assert_close(split.bias.grad, torch.stack([one.bias.grad for one in references]).sum(0))


def test_parts_do_not_see_one_another() -> None:
    split = SplitBatchNorm2d(random_norm(4), 2)
    x = noise(8, 4, 3, 3)
    before = split(x)
    x[4:] *= 7
    after = split(x)
    assert torch.equal(before[:4], after[:4])
    assert not torch.equal(before[4:], after[4:])


def test_a_network_keeps_its_parameters_names_scope_and_eval_mode() -> None:
    network = build_backbone("resnet18", stem="3x3").eval()
    parameters, buffers = dict(network.named_parameters()), dict(network.named_buffers())
    scope, images = find_scope(network), noise(4, 3, 16, 16)
    with torch.no_grad():
        before = network(images)
        split_norms_(network, 2)
        assert torch.equal(network(images), before)
    assert sum(isinstance(module, SplitBatchNorm2d) for module in network.modules()) == 20
    assert not any(type(module) is nn.BatchNorm2d for module in network.modules())
    assert [*dict(network.named_parameters())] == [*parameters]
    assert all(own is parameters[name] for name, own in network.named_parameters())
    assert [*dict(network.named_buffers())] == [*buffers]
    assert all(own is buffers[name] for name, own in network.named_buffers())
    assert find_scope(network) == scope


def test_one_part_changes_no_module() -> None:
    network = build_backbone("resnet_digits", stem="3x3")
    split_norms_(network, 1)
    assert not any(isinstance(module, SplitBatchNorm2d) for module in network.modules())


def test_refuses_what_it_cannot_split() -> None:
    split = SplitBatchNorm2d(random_norm(4), 3)
    with pytest.raises(InputError, match=r"norm.splits: got a batch of 8 images, expected a multiple of 3"):
        split(noise(8, 4, 2, 2))
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Flatten(), nn.BatchNorm1d(16))
    with pytest.raises(InputError, match="BatchNorm1d"):
        split_norms_(network, 2)
    assert type(network[1]) is nn.BatchNorm2d
