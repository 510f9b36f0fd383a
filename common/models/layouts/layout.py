"""Layout: what a reader of one kind of checkpoint is made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from torch import Tensor

from common.data.inputs import InputSpec


@dataclass(frozen=True)
class Parts:
    """What a layout makes of a checkpoint's tensors.

    Attributes:
        state: the backbone's by canonical name; others, such as a classifier, under the file's names.
        head: the head's, by the names of `common.models.heads`; empty where the layout does not tell.
        left_out: names that belong to the layout and to neither.
    """

    state: Mapping[str, Tensor]
    head: Mapping[str, Tensor] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class Layout:
    """One kind of checkpoint.

    Attributes:
        name: what `start.format` calls it.
        about: whose it is.
        signs: the names that it is recognised by, for messages.
        recognises: says whether a file's tensors, less wrappers' prefixes, are in this layout.
        read: maps their names; takes the file's name for messages. Raises InputError for what looks like the layout and is
            another architecture, or lacks the part that is meant.
        input: what its weights expect of their input; None where files of this layout do not agree.
        objective: what `Parts.head` was trained on; None where the layout does not tell.
        automatic: `start.format auto` considers it.
        variant: the backbone's variant (`common.models.variants`) that these networks are; None: the backbone's own form, or
            files of this layout do not tell.
    """

    name: str
    about: str
    signs: str
    recognises: Callable[[Mapping[str, Tensor]], bool]
    read: Callable[[Mapping[str, Tensor], str], Parts]
    input: InputSpec | None = None
    objective: str | None = None
    automatic: bool = True
    variant: str | None = None
