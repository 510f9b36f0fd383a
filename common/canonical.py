"""The canonical form of a configuration: what a run *is*, the same however it was written. Imports no torch.

Configurations that make the same run have the same form, and so the same run directory, as far as the configuration alone can
tell: a null and the value it stands for, two spellings of a class subset or a duration, options that nothing reads.
Different runs never have the same form: a field is left out, or its value replaced, only where no result can depend on it.

What is not told apart from the configuration alone stays two runs: `1ep` and as many `it`, every class of a set whose classes are
known once it is read, `model.stem native` and the stem that a timm model has of its own, patterns of `prune.include` that match
the same tensors.

A new option needs nothing here unless it can be written in two ways, or has no effect beside some value of another.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from common.config import as_tree
from common.data.catalogue import OWN_IMAGES, entry_of
from common.data.inputs import NORMALISATIONS
from common.data.splits import MANY_CLASSES, canonical_name, parse_name
from common.durations import canonical_duration
from common.errors import InputError
from common.files import canonical_json, sha256_bytes
from common.models.names import OWN

CONFIG_VERSION = 2

Form = Callable[[Any], Any]
"""From a configuration, the value that stands for a field's."""
Condition = Callable[[Any], bool]
"""Whether a field has no effect in a configuration."""


@dataclass(frozen=True)
class Rules:
    """How fields are written in canonical form; a folder's schema may have its own, as a class attribute `RULES`.

    Both read the configuration as it was given, never one another's outcome, and read nothing but other identity fields.

    Attributes:
        forms: by dotted name, the value that is written; every other field is written as it is.
        unused: pairs of a dotted name, or a pattern such as "optim.*", and when its fields are left out.
    """

    forms: Mapping[str, Form] = field(default_factory=dict)
    unused: tuple[tuple[str, Condition], ...] = ()


def canonical(config: Any) -> dict[str, Any]:
    """Return the canonical form of a configuration: nested dictionaries of JSON values, fields without effect left out.

    A ticket or a file of weights that it names must have been replaced by what names its content (`common.identity`).

    Raises:
        InputError: an unknown data set or class, or an ill-typed duration.
    """
    return _canonical(as_tree(config, identity_only=True), config, _rules_of(type(config)), "")


def config_hash(folder: str, config: Any) -> str:
    """Return the identity of a configuration: 12 hex digits of SHA-256 over [version, folder, canonical form].

    Errors as `canonical`.
    """
    return sha256_bytes(canonical_json([CONFIG_VERSION, folder, canonical(config)]).encode())[:12]


def _rules_of(schema: type) -> Rules:
    own = getattr(schema, "RULES", Rules())
    return Rules({**COMMON.forms, **own.forms}, (*COMMON.unused, *own.unused))


def _canonical(tree: Mapping[str, Any], config: Any, rules: Rules, group: str) -> dict[str, Any]:
    form: dict[str, Any] = {}
    for key, value in tree.items():
        name = group + key
        if isinstance(value, dict):
            form[key] = _canonical(value, config, rules, f"{name}.")
        elif not any(fnmatchcase(name, pattern) and condition(config) for pattern, condition in rules.unused):
            form[key] = _plain(rules.forms[name](config) if name in rules.forms else value)
    return form


def _plain(value: Any) -> Any:
    """Return a value as JSON has it, with one zero."""
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value + 0.0 if isinstance(value, float) else value


def _data_name(config: Any) -> str:
    """Write a class subset as ranges; images of one's own are named by their folder, which is what says which they are."""
    data, entry = config.data, entry_of(config.data.name)
    base, classes = parse_name(data.name, entry.num_classes or MANY_CLASSES)
    name = canonical_name(base, classes, entry.num_classes or MANY_CLASSES)
    return f"{name}@{Path(data.root).expanduser().resolve()}" if base in OWN_IMAGES and data.root is not None else name


def _data_size(config: Any) -> int | None:
    entry = entry_of(config.data.name)
    return config.data.size or entry.input.size or entry.size


def _storage(config: Any) -> str:
    """Sets of one size are kept in memory."""
    entry = entry_of(config.data.name)
    if entry.input.size is not None:
        return "memory"
    return entry.storage if config.data.storage == "auto" else config.data.storage


def _is_framed(config: Any) -> bool:
    """Images of one size are resized only where another is asked for."""
    entry = entry_of(config.data.name)
    return entry.input.size is None or config.data.size not in (None, entry.input.size)


def _crop(config: Any, asked: str) -> str:
    """Return what a crop stands for; auto where only the images' number decides."""
    entry = entry_of(config.data.name)
    own = entry.crop if asked == "auto" else asked
    return {"memory": "fit", "files": "margin"}.get(_storage(config), own) if own == "auto" else own


def _has_own_crop(config: Any) -> bool:
    return not _is_framed(config) or _crop(config, config.data.crop) == _crop(config, "auto")


def _normalisation(config: Any) -> str:
    """A data set's own mean and standard deviation may be those of a name."""
    own, name = entry_of(config.data.name).input, config.data.input
    return "own" if name != "own" and NORMALISATIONS[name] == (own.mean, own.std) else name


def _has_own_metric(config: Any) -> bool:
    return config.data.metric in ("own", entry_of(config.data.name).metric)


def _stem(config: Any) -> str:
    """Backbones of our own have one stem, which goes by its name and by `native`."""
    return "native" if config.model.name in OWN else config.model.stem


def _duration(name: str, text: str) -> str:
    try:
        return canonical_duration(text)
    except InputError as error:
        raise InputError(f"{name}: {error}") from error


def _milestones(config: Any) -> list[str]:
    """How often the rate has fallen at a step depends on the milestones in any order."""
    return sorted(_duration(f"optim.milestones[{i}]", text) for i, text in enumerate(config.optim.milestones))


def _is_dense(config: Any) -> bool:
    return config.prune.rounds == 0


def _starts_fresh(config: Any) -> bool:
    start = getattr(config, "start", None)
    return start is None or start.weights is None


def _is_not_resized(config: Any) -> bool:
    return config.augment.pad is not None


def _is_not_jittered(config: Any) -> bool:
    return not config.augment.jitters


COMMON = Rules(
    forms={
        "data.name": _data_name,
        "data.size": _data_size,
        "data.storage": _storage,
        "data.input": _normalisation,
        "model.stem": _stem,
        "optim.decay_norms": lambda c: c.optim.decays_norms,
        "optim.warmup": lambda c: _duration("optim.warmup", c.optim.warmup),
        "optim.milestones": _milestones,
        "prune.epochs": lambda c: c.prune.round_epochs(c.train),
        "rewind.to": lambda c: c.rewind_point,
        "rewind.step": lambda c: None if c.rewind.step is None else _duration("rewind.step", c.rewind.step),
        "rewind.keep": lambda c: sorted(c.rewind.keep),
        "ticket.control": lambda c: c.ticket.arm(c.start.weights),
        "ticket.norm_statistics": lambda c: c.ticket.statistics(getattr(c, "protocol", "full")),
    },
    unused=(
        ("model.variant", lambda c: c.model.variant is None),  # younger than runs that have no such field
        ("data.validation_labels", lambda c: c.data.labels is None),
        ("data.metric", _has_own_metric),
        ("data.balanced", lambda c: c.data.labels is None),
        ("data.crop", _has_own_crop),
        ("data.interpolation", lambda c: not _is_framed(c) or c.data.interpolation == "bilinear"),
        ("data.validation", lambda c: c.data.validation == "own" or entry_of(c.data.name).validates == "tenth"),
        ("data.source", lambda c: c.data.source is None),
        ("data.target", lambda c: c.data.target is None),
        ("rewind.keep", lambda c: not c.rewind.keep),
        ("optim.end", lambda c: c.optim.end == 0 or c.optim.schedule not in ("cosine", "poly")),
        ("optim.power", lambda c: c.optim.schedule != "poly"),
        ("optim.momentum", lambda c: c.optim.name == "adamw"),
        ("optim.nesterov", lambda c: c.optim.name != "sgd"),
        ("optim.betas", lambda c: c.optim.name != "adamw"),
        ("optim.eps", lambda c: c.optim.name != "adamw"),
        ("optim.trust_coefficient", lambda c: c.optim.name != "lars"),
        ("optim.decay_norms", lambda c: c.optim.weight_decay == 0),
        ("optim.milestones", lambda c: c.optim.schedule != "multistep"),
        ("optim.gamma", lambda c: c.optim.schedule != "multistep"),
        ("prune.rate", _is_dense),
        ("prune.epochs", lambda c: _is_dense(c) and _starts_fresh(c)),  # a ticket's round 0 takes them too
        ("prune.score", _is_dense),
        ("prune.allocation", _is_dense),
        ("prune.schedule", lambda c: _is_dense(c) or c.prune.score == "random"),
        ("prune.early_bird*", lambda c: _is_dense(c) or c.prune.early_bird is None),
        *((f"start.{name}", _starts_fresh) for name in ("format", "input", "stem", "head", "train")),
        ("model.width", lambda c: c.model.width == 1),
        ("ticket.weights", lambda c: c.ticket.file is None),
        ("ticket.equal", lambda c: c.ticket.arm(c.start.weights) != "small_dense"),
        ("ticket.stem", lambda c: c.ticket.file is None),
        ("augment.crop_scale", _is_not_resized),
        ("augment.crop_ratio", _is_not_resized),
        ("augment.jitter_probability", _is_not_jittered),
        ("augment.brightness", _is_not_jittered),
        ("augment.contrast", _is_not_jittered),
        ("augment.saturation", _is_not_jittered),
        ("augment.hue", _is_not_jittered),
        ("augment.blur_sigma", lambda c: c.augment.blur_probability == 0),
        ("augment.blur_kernel", lambda c: c.augment.blur_probability == 0),
    ),
)
