"""What is kept: masks that are checked against a backbone, masks of zeros, and the mask of everything."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from common.errors import InputError
from common.exchange.match import Matched, Named, check_shape, without_kernel
from common.tickets.errors import TicketError
from common.tickets.mask import Mask
from common.tickets.scope import DEFAULT_EXCLUDE, DEFAULT_INCLUDE, find_scope, prunable_weights

FEW = 0.01
"""Fraction of exact zeros below which weights do not look pruned: training gives a few by chance."""
TOLERANCE = 0.01
"""How far a density may be from the one that is expected: this much, and no more than a tenth of it."""


@dataclass(frozen=True)
class Kept:
    """Which weights of a backbone are kept, and of its head.

    Attributes:
        mask: by canonical name.
        scope: {"include", "exclude"}: the default patterns where the mask is over just their tensors, else its names.
        head: bool tensors by the head's names; empty where its weights are all kept.
        left_out: names of masks of other parts, such as a detector's heads, which a ticket does not hold.
    """

    mask: Mask
    scope: Mapping[str, list[str]]
    head: Mapping[str, Tensor]
    left_out: tuple[str, ...] = ()


def kept_by_masks(named: Named, backbone: nn.Module, matched: Matched | None, what: str) -> Kept:
    """Check masks that a file holds, and take them.

    Args:
        named: the masks by canonical name, 0 or 1 everywhere.
        backbone: tells names and shapes.
        matched: the weights, whose head a mask may be of; None without weights, where a classifier's mask is left out.
        what: the file's name, for messages.

    Raises:
        InputError: a mask of no weight of the backbone, of another shape, of other values than 0 and 1, that prunes a norm or a
            bias; or nothing is kept.
    """
    weights, own = prunable_weights(backbone), backbone.state_dict()
    heads = _head_names(named, backbone, matched)
    taken: dict[str, Tensor] = {}
    head: dict[str, Tensor] = {}
    for name, mask in named.masks.items():
        kept = as_bool(name, mask, what)
        if name in weights:
            check_shape(name, tuple(kept.shape), tuple(own[name].shape), f"{what}: the mask of ")
            taken[name] = kept
        elif name in heads:
            head[heads[name]] = without_kernel(kept)
        elif name not in own or not bool(kept.all()):  # a bias or a norm may have a mask that keeps everything
            raise _no_weight(name, weights, name in own, what)
    if not taken:
        raise InputError(f"{what}: none of its {len(named.masks)} masks is of a weight of the backbone; see --arch")
    if matched is None:
        return _kept(taken, backbone, {}, (*named.masks_left_out, *head), what)
    for name, kept in head.items():
        check_shape(f"head.{name}", tuple(kept.shape), tuple(matched.head[name].shape), f"{what}: the mask of ")
    return _kept(taken, backbone, head, named.masks_left_out, what)


def _head_names(named: Named, backbone: nn.Module, matched: Matched | None) -> dict[str, str]:
    """Return the names that masks of a head have in the file, and those of the head's tensors."""
    if matched is None:
        own, width = backbone.state_dict(), getattr(backbone, "num_features", None)
        others = {name: without_kernel(mask) for name, mask in named.masks.items() if name not in own}
        return {name: name for name, mask in others.items() if mask.ndim == 2 and mask.shape[1] == width}
    layer = "head" if matched.classifier is None else matched.classifier
    return {f"{layer}.{name}": name for name in matched.head}


def _no_weight(name: str, weights: Iterable[str], is_own: bool, what: str) -> InputError:
    known = ", ".join(list(weights)[:2])
    if is_own:
        return InputError(f"{what} prunes {name!r}, which is no convolution or linear layer; a ticket holds masks of {known} ...")
    return InputError(f"{what} has a mask of {name!r}, which the backbone has not; it has {known} ...; see --arch")


def as_bool(name: str, mask: Tensor, what: str) -> Tensor:
    """Return a mask of any real type as bool, True where it is 1.

    Raises:
        InputError: it is no dense real tensor, is empty, or is not 0 or 1 everywhere.
    """
    if mask.layout != torch.strided or mask.is_quantized or mask.is_complex() or mask.numel() == 0:
        raise InputError(
            f"{what}: the mask of {name!r} is of {mask.dtype}, {mask.layout}, shape {tuple(mask.shape)}, expected 0 and 1"
        )
    kept = mask.detach() == 1
    odd = kept.logical_not() & (mask.detach() != 0)
    if bool(odd.any()):
        raise InputError(
            f"{what}: the mask of {name!r} holds {mask.detach()[odd][0].item()!r} ({int(odd.sum()):,} of {odd.numel():,} values "
            f"are neither 0 nor 1); a mask of other values cannot be taken"
        )
    return kept


def kept_by_zeros(state: Mapping[str, Tensor], backbone: nn.Module, what: str, *, explicit: bool) -> Kept:
    """Take weights that are exactly 0 for pruned ones.

    The scope is the default one, with the stem where that was pruned too.

    Args:
        state: every tensor of the backbone.
        backbone: tells the scope.
        what: the file's name, for messages.
        explicit: the user says that zeros are the mask; else a few are refused, for training gives some by chance.

    Raises:
        InputError: no weight is 0, or so few.
    """
    names = set(_default_scope(backbone))
    names |= {name for name in prunable_weights(backbone) if zero_fraction(state, [name]) >= FEW}
    zeros, size = count_zeros(state, names), sum(state[name].numel() for name in names)
    if zeros == 0:
        raise InputError(f"{what} holds no weight that is 0, so zeros tell no mask; --dense takes it as a ticket of density 1")
    if zeros < FEW * size and not explicit:
        raise few_zeros(zeros, size, what)
    return _kept({name: state[name] != 0 for name in names}, backbone, {}, (), what)


def kept_densely(state: Mapping[str, Tensor], backbone: nn.Module, what: str) -> Kept:
    """Keep every weight of the default scope.

    Raises:
        InputError: so many weights are 0 that they were pruned.
    """
    names = find_scope(backbone).names
    if zero_fraction(state, names) >= FEW:
        raise InputError(
            f"{what}: {zero_fraction(state, names):.1%} of its weights are exactly 0, so it was pruned; "
            f"--format zeros takes the zeros as its mask"
        )
    return _kept({name: torch.ones(state[name].shape, dtype=torch.bool) for name in names}, backbone, {}, (), what)


def few_zeros(zeros: int, size: int, what: str) -> InputError:
    """Return the error of weights of which too few are 0 to say that they were pruned."""
    return InputError(
        f"{what} holds {zeros:,} weights of {size:,} that are exactly 0, too few (under {FEW:.0%}) to tell that it was pruned; "
        f"--format zeros takes them as its mask, --format plain --dense takes every weight as kept"
    )


def zeros_of(state: Mapping[str, Tensor], backbone: nn.Module) -> tuple[int, int]:
    """Return how many of a backbone's convolution and linear weights are exactly 0, and how many there are."""
    names = list(prunable_weights(backbone))
    return count_zeros(state, names), sum(state[name].numel() for name in names)


def count_zeros(state: Mapping[str, Tensor], names: Iterable[str]) -> int:
    """Count the weights of some tensors that are exactly 0."""
    return sum(state[name].numel() - int(torch.count_nonzero(state[name])) for name in names)


def zero_fraction(state: Mapping[str, Tensor], names: Iterable[str]) -> float:
    """Return the fraction of the weights of some tensors that are exactly 0; 0 where there are none."""
    names = list(names)
    size = sum(state[name].numel() for name in names)
    return count_zeros(state, names) / size if size else 0.0


def check_pruned(kept: Kept, state: Mapping[str, Tensor], head: Mapping[str, Tensor], what: str) -> None:
    """Raise unless weights that were trained under a mask are 0 where it prunes.

    Raises:
        InputError: some are not; then mask and weights do not belong together.
    """
    pairs = [(name, mask, state[name]) for name, mask in kept.mask.items()]
    pairs += [(f"head {name}", mask, head[name]) for name, mask in kept.head.items()]
    for name, mask, weight in pairs:
        alive = int(torch.count_nonzero(weight[~mask]))
        if alive:
            raise InputError(
                f"{what}: {name!r} is not 0 at {alive:,} of the {int((~mask).sum()):,} weights that its mask prunes; mask and "
                f"weights do not belong together"
            )


def check_not_all_ones(kept: Kept, state: Mapping[str, Tensor], what: str) -> None:
    """Raise for masks that keep everything beside weights that were pruned: tools lose masks and write ones in their place.

    Raises:
        InputError: the mask is all ones, and 1% of its weights or more are exactly 0.
    """
    if kept.mask.kept == kept.mask.size and zero_fraction(state, kept.mask) >= FEW:
        raise InputError(
            f"{what}: its masks keep every weight, but {zero_fraction(state, kept.mask):.1%} of the weights are exactly 0, so "
            f"its mask was lost; save the weights alone and take the zeros with --format zeros"
        )


def check_density(mask: Mask, expected: float | None, what: str) -> None:
    """Raise if a mask's density is far from the one that is expected: more than .01, or more than a tenth of it.

    Raises:
        InputError: it is, or what is expected is no density.
    """
    if expected is None:
        return
    if not 0 < expected <= 1:
        raise InputError(f"--expect-density: got {expected}, expected a fraction of kept weights in (0, 1]")
    tolerance = min(TOLERANCE, expected / 10)
    if abs(mask.density - expected) > tolerance + 1e-9:
        raise InputError(
            f"{what} has density {mask.density:.4f} ({mask.kept:,} of {mask.size:,} weights kept, over {len(mask)} tensors), "
            f"expected {expected} within {tolerance:g}"
        )


def _default_scope(backbone: nn.Module) -> tuple[str, ...]:
    """Return the names of the default scope, of which a network without convolutions but the stem has none."""
    try:
        return find_scope(backbone).names
    except TicketError:
        return ()


def _kept(
    tensors: Mapping[str, Tensor], backbone: nn.Module, head: Mapping[str, Tensor], left_out: tuple[str, ...], what: str
) -> Kept:
    mask = Mask(tensors)
    if mask.kept == 0:
        raise InputError(f"{what}: its mask keeps no weight at all")
    if set(mask) == set(_default_scope(backbone)):
        return Kept(mask, {"include": list(DEFAULT_INCLUDE), "exclude": list(DEFAULT_EXCLUDE)}, head, left_out)
    return Kept(mask, {"include": list(mask), "exclude": []}, head, left_out)
