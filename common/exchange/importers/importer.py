"""Importer: what a reader of one format of sparse checkpoints is made of, and what it finds in a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor

from common.data.inputs import InputSpec
from common.exchange.source import Source


@dataclass(frozen=True)
class Found:
    """What an importer makes of a file, still under names of the field's layouts (`common.models.layouts`).

    Attributes:
        weights: tensors as a plain checkpoint would hold them (parameters, norm statistics, a classifier), with the format's own
            suffixes and transforms undone, in any layout of the table; empty where the file holds masks alone.
        masks: by the name of its weight, a tensor of that weight's shape and any real type that is 0 or 1 everywhere; a weight
            without one is dense. Empty with another rule than "masks".
        rule: "masks": they say what is kept; "zeros": weights that are not 0 are kept; "dense": everything is.
        dense_weights: the weights are a dense rewind point, of which none was pruned; else they were trained under the mask, must
            be 0 where it prunes, and become a ticket that was never rewound (`final`).
        input: what the weights expect, where this file says it; it goes before the format's.
        left_out: names in the file that are known and are no part of the network, such as thresholds.
    """

    weights: Mapping[str, Tensor]
    masks: Mapping[str, Tensor] = field(default_factory=dict)
    rule: Literal["masks", "zeros", "dense"] = "masks"
    dense_weights: bool = False
    input: InputSpec | None = None
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class Importer:
    """One format.

    Attributes:
        name: what `--format` calls it; listed in `common.exchange.formats` too.
        about: whose it is.
        signs: what it is recognised by, for messages.
        recognises: says whether a file is in this format; raises nothing, whatever the file holds.
        read: takes it apart. Raises InputError for what looks like the format and is damaged.
        input: what its weights expect of their input; None where files of this format do not agree.
        variant: the backbone's variant (`arch.variant`) that files of this format need; None: none.
        takes_weights: it reads the file that `--weights` names too (`Source.weights`).
        automatic: `--format auto` considers it at once; else only where no such format recognises the file, and when it is asked
            for by name, `read` alone says whether the file can be read so.
    """

    name: str
    about: str
    signs: str
    recognises: Callable[[Source], bool]
    read: Callable[[Source], Found]
    input: InputSpec | None = None
    variant: str | None = None
    takes_weights: bool = False
    automatic: bool = True
