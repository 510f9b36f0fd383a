"""Which weights are kept: against torch.nn.utils.prune on real backbones, and by hand."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import prune

from common.models.backbones import build_backbone
from common.tickets.allocation import keep_global, keep_layerwise
from common.tickets.errors import TicketError
from common.tickets.mask import Mask
from common.tickets.schedule import kept_counts
from common.tickets.scope import find_scope
from common.tickets.scores import magnitude

ROUNDS, RATE = 18, 0.2


def _torch_masks(model: nn.Module, names: tuple[str, ...]) -> dict[str, Tensor]:
    return {name: dict(model.named_buffers())[f"{name}_mask"].bool() for name in names}


@pytest.mark.parametrize("name", ["resnet_digits", "resnet20"])
def test_global_magnitude_equals_torch_over_18_rounds(name: str) -> None:
    ours, theirs = build_backbone(name, seed=3), build_backbone(name, seed=3)
    scope = find_scope(ours)
    modules = [(theirs.get_submodule(n.removesuffix(".weight")), "weight") for n in scope.names]
    for module, weight in modules:
        prune.identity(module, weight)
    mask = Mask.dense({n: p.shape for n, p in scope.parameters(ours).items()})
    counts = kept_counts(mask.size, RATE, ROUNDS)
    for round_ in range(1, ROUNDS + 1):
        draws = torch.Generator().manual_seed(round_)
        with torch.no_grad():
            for n, parameter in scope.parameters(ours).items():
                noise = torch.randn(parameter.shape, generator=draws) * 0.05
                parameter.add_(noise)
                module = theirs.get_submodule(n.removesuffix(".weight"))
                module.weight_orig.copy_(parameter)  # type: ignore[operator, union-attr]
                module.weight = module.weight_orig * module.weight_mask  # type: ignore[operator]
        mask = keep_global(magnitude(scope.parameters(ours)), mask, counts[round_])
        prune.global_unstructured(modules, pruning_method=prune.L1Unstructured, amount=RATE)
        expected = _torch_masks(theirs, scope.names)
        assert mask.kept == sum(int(m.sum()) for m in expected.values())
        for n in scope.names:
            assert torch.equal(mask[n], expected[n]), (round_, n)


def test_layerwise_magnitude_equals_torch_per_tensor() -> None:
    ours, theirs = build_backbone("resnet_digits", seed=4), build_backbone("resnet_digits", seed=4)
    scope = find_scope(ours)
    parameters = scope.parameters(ours)
    mask = Mask.dense({n: p.shape for n, p in parameters.items()})
    for _ in range(3):
        counts = {n: kept - round(0.3 * kept) for n, kept in mask.kept_per_tensor.items()}
        mask = keep_layerwise(magnitude(parameters), mask, counts)
        for n in scope.names:
            prune.l1_unstructured(theirs.get_submodule(n.removesuffix(".weight")), "weight", amount=0.3)
        expected = _torch_masks(theirs, scope.names)
        assert all(torch.equal(mask[n], expected[n]) for n in scope.names)


def test_weights_in_channels_last_rank_in_the_same_order() -> None:
    weight = torch.ones(3, 4, 2, 2)
    plain = keep_global({"a": weight}, Mask.dense({"a": weight.shape}), 7)
    other = keep_global({"a": weight.to(memory_format=torch.channels_last)}, Mask.dense({"a": weight.shape}), 7)
    assert plain["a"].reshape(-1).tolist() == [True] * 7 + [False] * 41
    assert plain == other


@pytest.mark.parametrize(
    ("b", "a", "count", "kept_a", "kept_b"),
    [
        ([2.0, 2.0], [1.0, 2.0, 3.0], 2, [0, 1, 1], [0, 0]),  # a comes before b; the first of the equal 2s is kept
        ([2.0, 2.0], [1.0, 2.0, 3.0], 3, [0, 1, 1], [1, 0]),
        ([5.0, 5.0], [5.0, 5.0, 5.0], 4, [1, 1, 1], [1, 0]),  # all equal
        ([0.0, 0.0], [0.0, 0.0, 0.0], 1, [1, 0, 0], [0, 0]),  # zeros
        ([0.0, 9.0], [0.0, 0.0, 0.0], 2, [1, 0, 0], [0, 1]),
        ([1.0, 2.0], [3.0, 4.0, 5.0], 5, [1, 1, 1], [1, 1]),  # density 1
        ([1.0, 7.0], [3.0, 4.0, 5.0], 1, [0, 0, 0], [0, 1]),  # one weight
        ([float("inf"), 1.0], [float("inf"), 0.0, 2.0], 2, [1, 0, 0], [1, 0]),
        ([-0.0, 0.0], [0.0, -0.0, -1.0], 3, [1, 1, 0], [1, 0]),
    ],
)
def test_ties_are_broken_by_position(b: list[float], a: list[float], count: int, kept_a: list[int], kept_b: list[int]) -> None:
    scores = {"b": torch.tensor(b), "a": torch.tensor(a)}
    mask = keep_global(scores, Mask.dense({"a": (3,), "b": (2,)}), count)
    assert mask["a"].int().tolist() == kept_a
    assert mask["b"].int().tolist() == kept_b


def test_pruned_weights_never_come_back_however_large() -> None:
    within = Mask({"a": torch.tensor([True, False, True, True])})
    mask = keep_global({"a": torch.tensor([1.0, 99.0, 2.0, 3.0])}, within, 2)
    assert mask["a"].tolist() == [False, False, True, True]
    with pytest.raises(TicketError, match="3 are left"):
        keep_global({"a": torch.ones(4)}, within, 4)


@pytest.mark.parametrize("keep", [keep_global, lambda s, w, n: keep_layerwise(s, w, {"a": n})])
def test_broken_scores_are_refused(keep: Callable[..., Mask]) -> None:
    dense = Mask.dense({"a": (2, 2)})
    with pytest.raises(TicketError, match="NaN"):
        keep({"a": torch.tensor([[1.0, float("nan")], [0.0, 0.0]])}, dense, 2)
    with pytest.raises(TicketError, match="expected shape"):
        keep({"a": torch.ones(4)}, dense, 2)
    with pytest.raises(TicketError, match="got nothing"):
        keep({"b": torch.ones(2, 2)}, dense, 2)
    with pytest.raises(TicketError, match="cannot keep"):
        keep({"a": torch.ones(2, 2)}, dense, 5)


def test_a_global_mask_keeps_at_least_one_and_a_tensor_may_keep_none() -> None:
    dense = Mask.dense({"a": (3,), "b": (2,)})
    scores = {"a": torch.ones(3), "b": torch.zeros(2)}
    with pytest.raises(TicketError):
        keep_global(scores, dense, 0)
    assert keep_layerwise(scores, dense, {"a": 1, "b": 0}).kept_per_tensor == {"a": 1, "b": 0}
    assert keep_global(scores, dense, 3).kept_per_tensor == {"a": 3, "b": 0}
