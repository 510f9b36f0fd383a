"""Layouts that are a table of patterns: every name of the file has one canonical name."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from torch import Tensor

from common.errors import InputError
from common.models.layouts.layout import Parts

NORM = "(weight|bias|running_mean|running_var|num_batches_tracked)"


def reader(layout: str, table: Sequence[tuple[str, str]]) -> Callable[[Mapping[str, Tensor], str], Parts]:
    """Return what reads a layout whose names match patterns.

    Args:
        layout: what the layout is, for messages.
        table: (regular expression of the whole name, canonical name with groups), the first match counts.
    """
    patterns = [(re.compile(pattern), name) for pattern, name in table]

    def canonical(name: str, what: str) -> str:
        for pattern, wanted in patterns:
            match = pattern.fullmatch(name)
            if match is not None:
                return match.expand(wanted)
        raise InputError(f"{what} looks like {layout}, but {name!r} is no name of it")

    def read(tensors: Mapping[str, Tensor], what: str) -> Parts:
        state: dict[str, Tensor] = {}
        for name, tensor in tensors.items():
            wanted = canonical(name, what)
            if wanted in state:
                raise InputError(f"{what} holds {wanted!r} under two names, one of them {name!r}")
            state[wanted] = tensor
        return Parts(state)

    return read
