"""Small networks worked by hand: which channels go, which stay and why, and where constants end up."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import prune

from common.errors import InputError, RunError
from common.exchange.compaction.compact import compact


def images(channels: int = 3, side: int = 6) -> Tensor:
    return torch.randn(2, channels, side, side, generator=torch.Generator().manual_seed(1))


def build(**layers: nn.Module) -> Any:
    """A chain of layers with random weights of which none is zero, in eval mode."""
    draws = torch.Generator().manual_seed(0)
    network = nn.Sequential(OrderedDict(layers))
    with torch.no_grad():
        for module in network.modules():
            for parameter in module.parameters(recurse=False):
                parameter.copy_(torch.randn(parameter.shape, generator=draws) * 0.5 + 0.1)
    return network.eval()


def run(network: nn.Module, channels: int = 3) -> tuple[Any, dict[str, int]]:
    done = compact(network, images(channels))
    x_NCHW = torch.randn(3, channels, 6, 6, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        expected, got = network(x_NCHW), done.network(x_NCHW)
    assert torch.allclose(expected, got, atol=1e-5, rtol=1e-5)
    return done.network, {key: value for key, value in done.counts.items() if value}


def two_convolutions(shift: float, **reader: Any) -> Any:
    """Four channels; the filter of channel 1 is zero, so that behind norm and ReLU it is max(0, `shift`)."""
    network = build(
        one=nn.Conv2d(3, 4, 3, padding=1, bias=False),
        norm=nn.BatchNorm2d(4),
        relu=nn.ReLU(),
        two=nn.Conv2d(4, 2, **{"kernel_size": 3, "padding": 1, "bias": False, **reader}),
    )
    with torch.no_grad():
        network.one.weight[1] = 0
        network.norm.running_mean[1], network.norm.bias[1] = 0, shift
    return network


def test_a_constant_that_relu_makes_zero_goes() -> None:
    thin, counts = run(two_convolutions(-1.0))
    assert counts == {"removed": 1, "active": 5}
    assert (thin.one.out_channels, thin.norm.num_features, thin.two.in_channels) == (3, 3, 3)
    assert thin.two.bias is None


def test_a_constant_that_a_padded_reader_sees_stays() -> None:
    network = two_convolutions(1.0)
    thin, counts = run(network)
    assert counts == {"active": 5, "constant": 1}
    assert thin.two.in_channels == 4
    # Folded into a bias, the constant would count at the border too, where the padding is: not the same function.
    folded = two_convolutions(1.0)
    folded.two.bias = nn.Parameter(folded.two.weight[:, 1].sum((1, 2)).detach())
    with torch.no_grad():
        folded.two.weight[:, 1] = 0
        inner, whole = (
            (folded(images()) - network(images())).abs()[:, :, 1:-1, 1:-1],
            (folded(images()) - network(images())).abs(),
        )
    assert float(inner.max()) < 1e-5
    assert float(whole.max()) > 0.1


@pytest.mark.parametrize("reader", [{"padding": 0}, {"kernel_size": 1, "padding": 0}, {"padding": "valid"}])
def test_a_constant_folds_into_the_bias_of_a_reader_without_padding(reader: dict[str, Any]) -> None:
    network = two_convolutions(1.0, **reader)
    thin, counts = run(network)
    assert counts == {"removed": 1, "active": 5}
    assert torch.allclose(thin.two.bias, network.two.weight[:, 1].sum((1, 2)))


def test_a_constant_adds_to_a_bias_that_is_there() -> None:
    network = two_convolutions(1.0, padding=0, bias=True)
    thin, _ = run(network)
    assert torch.allclose(thin.two.bias, network.two.bias + network.two.weight[:, 1].sum((1, 2)))


def test_a_constant_folds_into_the_running_mean_of_the_norm_behind_its_reader() -> None:
    network = two_convolutions(1.0, padding=0)
    network.add_module("behind", nn.BatchNorm2d(2))
    with torch.no_grad():
        network.eval().behind.running_mean.copy_(torch.tensor([0.5, -0.5]))
    thin, counts = run(network)
    assert counts == {"removed": 1, "active": 5}
    assert thin.two.bias is None
    assert torch.allclose(thin.behind.running_mean, network.behind.running_mean - network.two.weight[:, 1].sum((1, 2)))


def test_a_channel_that_nothing_reads_goes_whatever_it_holds() -> None:
    network = two_convolutions(1.0)
    with torch.no_grad():
        network.two.weight[:, 1:3] = 0
    thin, counts = run(network)
    assert counts == {"removed": 2, "active": 4}
    assert thin.one.out_channels == 2


def test_a_reader_that_is_dead_itself_does_not_count() -> None:
    network = build(
        one=nn.Conv2d(3, 4, 3, padding=1),
        two=nn.Conv2d(4, 4, 3, padding=1, bias=False),
        three=nn.Conv2d(4, 2, 1),
    )
    with torch.no_grad():
        network.three.weight[:, 3] = 0  # so filter 3 of two is for nothing, and it alone reads channel 0 of one
        network.two.weight[:3, 0] = 0
    thin, counts = run(network)
    assert counts == {"removed": 2, "active": 8}
    assert (thin.one.out_channels, thin.two.out_channels) == (3, 3)


def test_constants_pass_through_many_layers() -> None:
    """Zero filters give the biases (1, -1); ReLU (1, 0); the 1x1 convolution w * 1 + b; sigmoid; and the head takes it in."""
    network = build(
        one=nn.Conv2d(3, 2, 3, padding=1),
        relu=nn.ReLU(),
        two=nn.Conv2d(2, 3, 1),
        sigmoid=nn.Sigmoid(),
        pool=nn.AdaptiveAvgPool2d(1),
        flatten=nn.Flatten(),
        head=nn.Linear(3, 2),
    )
    with torch.no_grad():
        network.one.weight.zero_()
        network.one.bias.copy_(torch.tensor([1.0, -1.0]))
    thin, counts = run(network)
    constant = torch.sigmoid(network.two.weight[:, 0, 0, 0] + network.two.bias)
    expected = network.head.weight @ constant + network.head.bias
    assert torch.allclose(thin(images()), expected.expand(2, 2), atol=1e-6)
    assert counts == {"removed": 3, "only": 2, "constant": 2}  # one channel is left in each layer, and the output


def test_the_whole_output_may_be_constant_and_stays() -> None:
    network = build(one=nn.Conv2d(3, 4, 3, padding=1, bias=False), norm=nn.BatchNorm2d(4))
    with torch.no_grad():
        network.one.weight[2:] = 0
    thin, counts = run(network)
    assert counts == {"active": 2, "constant": 2}
    assert thin.one.out_channels == 4


class Residual(nn.Module):
    """x = stem; x = relu(x + two(one(x))); a 1x1 head without padding."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.one, self.two = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.head = nn.Conv2d(4, 2, 1)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        x_NCHW = self.stem(x_NCHW)
        out = self.two(torch.relu(self.one(x_NCHW)))
        out += x_NCHW
        return self.head(torch.relu(out))


def residual() -> Any:
    draws = torch.Generator().manual_seed(0)
    network = Residual().eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=draws))
    return network


def test_a_channel_of_a_residual_stream_stays_while_one_side_is_needed() -> None:
    network = residual()
    with torch.no_grad():
        network.two.weight[1], network.two.bias[1] = 0, 3.0
    thin, counts = run(network)
    assert counts == {"active": 13, "tied": 1}
    assert torch.equal(thin.two.bias[1], torch.tensor(3.0))


def test_a_channel_of_a_residual_stream_goes_if_both_sides_are_dead() -> None:
    network = residual()
    with torch.no_grad():
        network.two.weight[1] = network.stem.weight[1] = 0
        network.two.bias[1], network.stem.bias[1] = 3.0, -1.0
        network.one.weight[:, 1] = 0
    thin, counts = run(network)  # the constant 2 behind the sum folds into the 1x1 head
    assert counts == {"removed": 2, "active": 12}
    assert torch.allclose(thin.head.bias, network.head.bias + 2 * network.head.weight[:, 1, 0, 0])
    with torch.no_grad():
        network.one.weight[0, 1, 0, 0] = 1.0  # but a padded convolution that reads the stem's -1 keeps it
    assert run(network)[1] == {"active": 12, "constant": 2}


def test_a_channel_goes_through_a_sum_if_nothing_reads_it() -> None:
    network = residual()
    with torch.no_grad():
        network.head.weight[:, 2] = 0
        network.one.weight[:, 2] = 0
    thin, counts = run(network)
    assert counts == {"removed": 2, "active": 12}
    assert thin.stem.out_channels == thin.one.in_channels == thin.two.out_channels == thin.head.in_channels == 3


def test_depthwise_channels_go_with_their_inputs() -> None:
    network = build(
        one=nn.Conv2d(3, 4, 1, bias=False),
        relu=nn.ReLU(),
        depth=nn.Conv2d(4, 8, 3, padding=1, groups=4, bias=False),
        two=nn.Conv2d(8, 2, 1),
    )
    with torch.no_grad():
        network.one.weight[1] = 0  # a dead input, so both of its outputs are
        network.depth.weight[4:6] = 0  # dead outputs, so their input is for nothing
        network.depth.weight[6] = 0  # only one of two: it stays beside its other half
    thin, counts = run(network)
    assert counts == {"removed": 6, "active": 7, "tied": 1}
    assert (thin.depth.groups, thin.depth.in_channels, thin.depth.out_channels) == (2, 2, 4)


def test_groups_stay_alike() -> None:
    network = build(one=nn.Conv2d(3, 6, 1), grouped=nn.Conv2d(6, 6, 3, padding=1, groups=3, bias=False), two=nn.Conv2d(6, 2, 1))
    with torch.no_grad():
        network.grouped.weight[0:2] = 0  # all of group 0
        network.grouped.weight[2] = 0  # half of group 1
    thin, counts = run(network)
    assert counts == {"removed": 4, "active": 9, "tied": 1}
    assert (thin.grouped.groups, thin.grouped.in_channels) == (2, 4)


def test_a_norm_of_weight_zero_is_constant_whatever_it_reads() -> None:
    network = two_convolutions(-1.0)
    with torch.no_grad():
        network.norm.weight[2], network.norm.bias[2] = 0, -0.5
    assert run(network)[1] == {"removed": 2, "active": 4}


def test_a_norm_without_weights_takes_its_constants_from_the_layer_before() -> None:
    network = build(one=nn.Conv2d(3, 3, 3, padding=1), norm=nn.BatchNorm2d(3, affine=False), two=nn.Conv2d(3, 2, 3, padding=1))
    with torch.no_grad():
        network.one.weight[1], network.one.bias[1] = 0, 2.0
    thin, counts = run(network)
    assert counts == {"active": 4, "constant": 1}
    assert thin.one.bias[1] == 2.0


@pytest.mark.parametrize(
    ("pool", "stays"),
    [
        (nn.MaxPool2d(3, 2, 1), False),
        (nn.AvgPool2d(2), False),
        (nn.AvgPool2d(3, 2, 1), True),
        (nn.AvgPool2d(3, 2, 1, count_include_pad=False), False),
        (nn.Upsample(scale_factor=2.0, mode="bilinear"), False),
        (nn.ZeroPad2d(1), True),
    ],
)
def test_pooling_keeps_a_constant_unless_it_averages_padding(pool: nn.Module, stays: bool) -> None:
    network = build(one=nn.Conv2d(3, 4, 3, padding=1), pool=pool, two=nn.Conv2d(4, 2, 1))
    with torch.no_grad():
        network.one.weight[1] = 0
    assert run(network)[0].one.out_channels == 3 + stays


class Odd(nn.Module):
    """Two convolutions around an operation that a test chooses; channel 1 of the first is zero."""

    def __init__(self, operation: Any) -> None:
        super().__init__()
        self.one, self.two, self.operation = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 2, 1), operation
        with torch.no_grad():
            self.one.weight[1] = self.one.bias[1] = 0

    def forward(self, x_NCHW: Tensor) -> Tensor:
        return self.two(self.operation(self.one(x_NCHW)))


class Branches(nn.Module):
    def forward(self, x_NCHW: Tensor) -> Tensor:
        return -x_NCHW if float(x_NCHW.mean()) > 0 else x_NCHW + 1


class Doubled(nn.Conv2d):
    def forward(self, x_NCHW: Tensor) -> Tensor:  # type: ignore[override]
        return 1 + super().forward(x_NCHW)


def _overwrites(x_NCHW: Tensor) -> Tensor:
    y_NCHW = x_NCHW[:, :, 1:]
    y_NCHW.add_(1.0)
    return x_NCHW


@pytest.mark.parametrize(
    "operation",
    [
        nn.LayerNorm(6),
        nn.PReLU(4),
        nn.GroupNorm(2, 4),
        nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect"),
        nn.ConvTranspose2d(4, 4, 2),
        nn.ChannelShuffle(2),
        Doubled(4, 4, 1),
        Branches(),
        _overwrites,
        lambda x: x.flip(1),
        lambda x: x.softmax(1),
        lambda x: x.reshape(2, 4, 36).unsqueeze(3),
        lambda x: x + x.shape[1],
        lambda x: functional.pad(x, (0, 0, 0, 0, 1, 1))[:, 1:5],
        lambda x: x.cumsum(1),
    ],
    ids=lambda operation: type(operation).__name__,
)
def test_what_is_not_understood_keeps_its_channels(operation: Any) -> None:
    network = Odd(operation).eval()
    done = compact(network, images())
    assert done.counts["removed"] == 0
    assert sum(done.opaque.values()) >= 4
    with torch.no_grad():
        assert torch.allclose(network(images()), done.network(images()), atol=1e-5)


def test_a_layer_that_runs_twice_and_weights_that_are_shared_stay_whole() -> None:
    class Twice(Odd):
        def forward(self, x_NCHW: Tensor) -> Tensor:
            return self.two(self.operation(self.operation(self.one(x_NCHW))))

    for operation in (nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)):
        done = compact(Twice(operation).eval(), images())
        assert done.counts["removed"] == 0
        assert done.opaque == {"operation": 8}
    network = Odd(nn.Conv2d(4, 4, 1))
    network.add_module("same", nn.Conv2d(4, 4, 1))
    network.same.weight = network.operation.weight  # type: ignore[union-attr]
    assert compact(network.eval(), images()).opaque == {"operation": 4}


def test_torchs_own_pruning_hooks_are_seen() -> None:
    """A module whose weight a hook computes anew cannot be cut; what is around it can."""
    network = two_convolutions(-1.0)
    prune.random_unstructured(network.two, "weight", 0.5)
    with pytest.raises(InputError, match="cannot be copied"):
        compact(network, images())
    with torch.no_grad():
        network(images())  # the weight is no result of a graph any more
    done = compact(network, images())
    assert done.opaque == {"two": 4}
    with torch.no_grad():
        assert torch.allclose(network(images()), done.network(images()), atol=1e-5)


def test_what_cannot_be_traced_or_run_is_refused() -> None:
    with pytest.raises(InputError, match="cannot be traced"):
        compact(Branches(), images())
    with pytest.raises(InputError, match="does not pass"):
        compact(two_convolutions(1.0), images(channels=4))
    broken = two_convolutions(1.0)
    with torch.no_grad():
        broken.two.weight[0, 0, 0, 0] = float("nan")
    with pytest.raises(RunError, match="not finite"):
        compact(broken, images())


def test_a_layer_with_another_forward_pass_is_seen() -> None:
    class Other(nn.ReLU):
        def forward(self, x_NCHW: Tensor) -> Tensor:  # type: ignore[override]
            return x_NCHW + 3

    Other.__module__ = "torch.nn.modules.activation"
    patched = nn.ReLU()
    patched.forward = lambda x_NCHW: x_NCHW + 3  # type: ignore[method-assign]
    for activation in (Other(), patched):
        network = two_convolutions(-1.0)
        network.relu = activation
        assert compact(network, images()).opaque == {"relu": 4}


def test_a_wrong_reading_does_not_get_out() -> None:
    """torch.fx does not see that `y += 3` changes x as well; the check on the example refuses the result."""

    def add_unseen(x_NCHW: Tensor) -> Tensor:
        y_NCHW = x_NCHW
        y_NCHW += 3.0
        return x_NCHW

    with pytest.raises(RunError, match="differ"):
        compact(Odd(add_unseen).eval(), images())
