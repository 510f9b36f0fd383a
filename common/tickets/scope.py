"""Scope: which tensors of a model are prunable, chosen by module type and name patterns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from torch import Tensor, nn

from common.tickets.errors import TicketError

STEM = "@stem"
PRUNABLE_TYPES = ("Conv1d", "Conv2d", "Conv3d", "Linear")
DEFAULT_INCLUDE = ("Conv2d:*",)
DEFAULT_EXCLUDE = (STEM,)


@dataclass(frozen=True)
class Scope:
    """The prunable tensors of one model.

    Attributes:
        names: parameter names in sorted order, the order in which ties are broken.
        include: the patterns that took tensors in.
        exclude: the patterns that took tensors out again.
    """

    names: tuple[str, ...]
    include: tuple[str, ...]
    exclude: tuple[str, ...]

    def parameters(self, model: nn.Module) -> dict[str, nn.Parameter]:
        """Return the scope's parameters of `model`, sorted by name.

        Raises:
            TicketError: the model lacks one of them.
        """
        own = dict(model.named_parameters())
        missing = [name for name in self.names if name not in own]
        if missing:
            raise TicketError(
                f"the model has no parameter {missing[0]!r} ({len(missing)} of the scope's {len(self.names)} are missing)"
            )
        return {name: own[name] for name in self.names}


def find_scope(model: nn.Module, include: Sequence[str] = DEFAULT_INCLUDE, exclude: Sequence[str] = DEFAULT_EXCLUDE) -> Scope:
    """Find the prunable tensors of a model: weights of its convolutions and linear layers that match the patterns.

    The default is every Conv2d but the stem, as in Chen et al. 2021 (arXiv:2012.06908).

    Args:
        model: the backbone.
        include: patterns `GLOB` or `TYPE:GLOB` over parameter names, for example "Conv2d:*" or "layer4.*". TYPE is one of
            Conv1d, Conv2d, Conv3d, Linear.
        exclude: patterns taken out again; "@stem" is the first convolution in order of registration.

    Raises:
        TicketError: a pattern matches nothing, names an unknown type, or nothing is left.
    """
    candidates = prunable_weights(model)
    stem = next((name for name, kind in candidates.items() if kind.startswith("Conv")), None)
    taken = _union(include, candidates, stem)
    left_out = _union(exclude, candidates, stem)
    names = tuple(sorted(taken - left_out))
    if not names:
        raise TicketError(f"the scope is empty: {list(exclude)} takes out everything that {list(include)} takes in")
    return Scope(names, tuple(include), tuple(exclude))


def prunable_weights(model: nn.Module) -> dict[str, str]:
    """Return {parameter name: module type} of every convolution and linear weight, in order of registration."""
    found = {}
    for prefix, module in model.named_modules():
        kind = _kind(module)
        if kind is not None and isinstance(getattr(module, "weight", None), Tensor):
            found[f"{prefix}.weight" if prefix else "weight"] = kind
    return found


def stem_name(model: nn.Module) -> str | None:
    """Return the name of the first convolution's module, in order of registration; None if there is none."""
    weights = prunable_weights(model).items()
    return next((name.removesuffix(".weight") for name, kind in weights if kind.startswith("Conv")), None)


def _kind(module: nn.Module) -> str | None:
    """Name the prunable type of a module; subclasses (such as timm's) count as the torch type that they extend."""
    for kind in PRUNABLE_TYPES:
        if isinstance(module, getattr(nn, kind)):
            return kind
    return None


def _union(patterns: Iterable[str], candidates: dict[str, str], stem: str | None) -> set[str]:
    return {name for pattern in patterns for name in _matches(pattern, candidates, stem)}


def _matches(pattern: str, candidates: dict[str, str], stem: str | None) -> list[str]:
    if pattern == STEM:
        if stem is None:
            raise TicketError(
                f"scope pattern {STEM!r} matches nothing: the model has no convolution; leave it out of prune.exclude"
            )
        return [stem]
    kind, colon, glob = pattern.rpartition(":")
    if colon and kind not in PRUNABLE_TYPES:
        raise TicketError(f"scope pattern {pattern!r}: unknown module type {kind!r}; known: {', '.join(PRUNABLE_TYPES)}")
    found = [name for name, own in candidates.items() if (not colon or own == kind) and fnmatchcase(name, glob)]
    if not found:
        known = ", ".join(list(candidates)[:6]) or "none"
        raise TicketError(f"scope pattern {pattern!r} matches no prunable tensor; the model's {len(candidates)} are {known} ...")
    return found
