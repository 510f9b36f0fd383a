"""The canonical form: one for all spellings of a run, and never one for two runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args, get_origin

import pytest
import torch
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from torch import nn

from common.canonical import canonical, config_hash
from common.cli import Command, resolve
from common.config import as_tree, from_tree, leaves
from common.data.augment import apply
from common.data.augment_draw import draw
from common.data.datasets import load_data
from common.errors import InputError
from common.randomness import generator
from common.tickets.mask import Mask
from common.training.first_round import FirstRound, round_steps
from common.training.optim import build_optimizer, build_schedule
from common.values import types_of
from Downstream.main import COMMAND as DOWNSTREAM
from MoCo.main import COMMAND as MOCO
from SimCLR.main import COMMAND as SIMCLR
from Supervised.main import COMMAND as SUPERVISED

SGD, ADAMW, LARS = (f"--optim.name={name}" for name in ("sgd", "adamw", "lars"))
MULTISTEP, STEP = "--optim.schedule=multistep", ("--rewind.to=step", "--prune.epochs=null")
FILE, FULL, KNN, BY_SGD = "--ticket.file=t@3", "--protocol=full", "--protocol=knn", "--linear.solver=sgd"
SWEEP = (FULL, "--data.labels=null")
DENSE, HALF = Mask({"w": torch.ones(4, dtype=torch.bool)}), Mask({"w": torch.arange(4) < 2})
IMAGES = load_data("digits_clean:0-1").validation.images[:24]


def hashed(command: Command, *words: str) -> str:
    return config_hash(command.folder, resolve(command, list(words)).config)


L2 = "--linear.l2=[1,10]"
CHOOSING, NO_CHOOSING = ("--data.labels=40", "--data.validation_labels=4"), "--data.validation_labels=0"
MEASURED = "--evaluation.split=validation"

ALIKE = [
    (DOWNSTREAM, [], ["--evaluation.neighbours=5"]),
    (DOWNSTREAM, [FULL], [FULL, "--evaluation.neighbours=5"]),
    (SIMCLR, ["--data.name=digits:6-9"], ["--data.name=digits:6,7,8,9"]),
    (SIMCLR, ["--data.name=digits:6-9"], ["--data.name=digits: 9,6 ,7-8,8"]),
    (SIMCLR, ["--data.name=digits"], ["--data.name=digits:0-9"]),
    (SIMCLR, ["--data.name=cifar100"], ["--data.name=cifar100:0-99"]),
    (SIMCLR, ["--data.name=folder:0-2", "--data.root=/d"], ["--data.name=folder:0,1,2", "--data.root=/e/../d/"]),
    (SIMCLR, [], ["--data.size=16"]),
    (SIMCLR, [], ["--data.storage=memory"]),
    (SIMCLR, [], ["--data.crop=square", "--data.interpolation=bicubic"]),
    (SIMCLR, ["--data.name=imagenet"], ["--data.name=imagenet", "--data.crop=margin"]),
    (SIMCLR, ["--data.name=pets"], ["--data.name=pets", "--data.crop=margin", "--data.size=224", "--data.validation=tenth"]),
    (SIMCLR, ["--data.name=visda"], ["--data.name=visda:0-11", "--data.crop=square"]),
    (SIMCLR, ["--data.name=cifar10", "--data.size=64"], ["--data.name=cifar10", "--data.size=64", "--data.crop=fit"]),
    (SIMCLR, ["--data.name=list", "--data.root=/d"], ["--data.name=list", "--data.root=/e/../d/", "--data.cache=/c"]),
    (SIMCLR, ["--data.name=digits"], ["--data.name=digits", "--data.input=unit"]),
    (SIMCLR, ["--data.name=imagenet"], ["--data.name=imagenet", "--data.input=imagenet"]),
    (SIMCLR, ["--data.name=imagenet"], ["--data.name=imagenet:0-999", "--data.size=224", "--data.storage=files"]),
    (SIMCLR, ["--model.stem=native"], ["--model.stem=3x3"]),
    (SIMCLR, [], ["--rewind.to=round0"]),
    (SIMCLR, ["--start.weights=w"], ["--start.weights=w", "--rewind.to=pretrained"]),
    (SIMCLR, ["--prune.epochs=null"], ["--prune.epochs=80"]),
    (SIMCLR, ["--optim.warmup=0it"], ["--optim.warmup=0ep"]),
    (SIMCLR, ["--optim.warmup=5ep"], ["--optim.warmup= 005ep"]),
    (SIMCLR, [*STEP, "--rewind.step=2ep"], [*STEP, "--rewind.step=02ep"]),
    (SIMCLR, [], ["--optim.milestones=[3ep]", "--optim.gamma=0.5"]),
    (SIMCLR, [MULTISTEP, "--optim.milestones=[3ep,50it]"], [MULTISTEP, "--optim.milestones=[50it,3ep]"]),
    (SIMCLR, [SGD], [SGD, "--optim.betas=[0.5,0.6]", "--optim.eps=0.1", "--optim.trust_coefficient=1"]),
    (SIMCLR, [ADAMW], [ADAMW, "--optim.momentum=0", "--optim.trust_coefficient=1"]),
    (SIMCLR, [LARS], [LARS, "--optim.betas=[0.5,0.6]", "--optim.eps=0.1"]),
    (SIMCLR, [SGD], [SGD, "--optim.decay_norms=true"]),
    (SIMCLR, [ADAMW], [ADAMW, "--optim.decay_norms=false"]),
    (SIMCLR, [LARS], [LARS, "--optim.decay_norms=false"]),
    (SIMCLR, ["--optim.weight_decay=0", "--optim.decay_norms=false"], ["--optim.weight_decay=-0.0", "--optim.decay_norms=true"]),
    (SIMCLR, ["--augment.pad=2"], ["--augment.pad=2", "--augment.crop_scale=[0.1,0.2]", "--augment.crop_ratio=[1,1]"]),
    (SIMCLR, ["--augment.blur_probability=0"], ["--augment.blur_probability=0", "--augment.blur_kernel=3"]),
    (SIMCLR, ["--augment.jitter_probability=0"], ["--augment.jitter_probability=0", "--augment.hue=0.3"]),
    (SIMCLR, ["--prune.rounds=0"], ["--prune.rounds=0", "--prune.rate=0.5", "--prune.epochs=1", "--prune.score=random"]),
    (SIMCLR, ["--prune.score=random"], ["--prune.score=random", "--prune.schedule=one_shot"]),
    (MOCO, ["--prune.rounds=0"], ["--prune.rounds=0", "--rewind.queue=keep"]),
    (MOCO, ["--rewind.to=final", "--rewind.queue=stored"], ["--rewind.to=final", "--rewind.queue=keep"]),
    (SUPERVISED, [], ["--start.head=fresh"]),
    (DOWNSTREAM, [FILE], [FILE, "--ticket.control=ticket", "--ticket.norm_statistics=reestimate"]),
    (DOWNSTREAM, [FILE, FULL], [FILE, FULL, "--ticket.norm_statistics=stored"]),
    (DOWNSTREAM, [FILE, "--ticket.weights=trained"], [FILE, "--ticket.weights=trained", "--ticket.norm_statistics=stored"]),
    (DOWNSTREAM, [], ["--ticket.control=scratch", "--ticket.stem=fresh"]),
    (DOWNSTREAM, ["--start.weights=w"], ["--start.weights=w", "--ticket.control=dense"]),
    (DOWNSTREAM, [], ["--data.metric=top1"]),
    (DOWNSTREAM, ["--data.labels=null"], ["--data.labels=null", "--data.validation_labels=3"]),
    (DOWNSTREAM, [], ["--train.epochs=7", "--optim.lr=3", "--augment.flip=1", "--select=best", "--data.validation_labels=0"]),
    (DOWNSTREAM, [FULL], [FULL, "--linear.l2=[3]", "--linear.folds=9"]),
    (DOWNSTREAM, ["--linear.l2=[1,10]"], ["--linear.l2=[10,1]"]),
    (DOWNSTREAM, ["--linear.l2=[2]"], ["--linear.l2=[2]", "--linear.folds=9"]),
    (DOWNSTREAM, ["--data.labels=null", L2], ["--data.labels=null", L2, "--linear.folds=9"]),
    (DOWNSTREAM, [*CHOOSING, L2], [*CHOOSING, L2, "--linear.folds=9"]),
    (DOWNSTREAM, ["--keep.trained=last"], ["--keep.trained=all"]),
    (DOWNSTREAM, [KNN, "--keep.trained=last"], [KNN, "--keep.trained=none", "--linear.l2=[3]", "--train.epochs=7"]),
    (DOWNSTREAM, [BY_SGD, "--linear.l2=[1,2]"], [BY_SGD, "--linear.max_iterations=7", "--linear.folds=9", "--augment.flip=1"]),
    (DOWNSTREAM, [*SWEEP, "--optim.sweep=[0.1,0.2]"], [*SWEEP, "--optim.sweep=[0.2,0.1]", "--optim.lr=3"]),
    (DOWNSTREAM, [], ["--features.engine=compacted"]),
]  # fmt: skip


@pytest.mark.parametrize(("command", "one", "other"), ALIKE)
def test_two_spellings_of_a_run_are_one_run(command: Command, one: list[str], other: list[str]) -> None:
    assert hashed(command, *one) == hashed(command, *other)


APART = [
    (SIMCLR, ["--data.name=digits:6-9"], ["--data.name=digits:6-8"]),
    (SIMCLR, ["--data.name=digits"], ["--data.name=digits_clean", "--data.size=8"]),
    (SIMCLR, ["--data.name=folder", "--data.root=/a"], ["--data.name=folder", "--data.root=/b"]),
    (SIMCLR, ["--data.name=folder", "--data.size=16"], ["--data.name=folder", "--data.size=32"]),
    (SIMCLR, ["--data.name=folder", "--data.storage=files"], ["--data.name=folder", "--data.storage=memory"]),
    (SIMCLR, ["--data.name=imagenet"], ["--data.name=imagenet", "--data.size=160"]),
    (SIMCLR, ["--data.name=cifar10"], ["--data.name=cifar10", "--data.size=224"]),
    (SIMCLR, ["--data.name=cifar10", "--data.size=64"], ["--data.name=cifar10", "--data.size=64", "--data.crop=margin"]),
    (SIMCLR, ["--data.name=pets"], ["--data.name=pets", "--data.interpolation=bicubic"]),
    (SIMCLR, ["--data.name=pets", "--data.storage=memory"], ["--data.name=pets", "--data.storage=memory", "--data.crop=fit"]),
    (SIMCLR, ["--data.name=dtd"], ["--data.name=dtd", "--data.validation=tenth"]),
    (SIMCLR, ["--data.name=list", "--data.root=/a"], ["--data.name=list", "--data.root=/b"]),
    (SIMCLR, ["--data.name=cifar10"], ["--data.name=cifar10", "--data.input=unit"]),
    (SIMCLR, ["--data.name=imagenet"], ["--data.name=imagenet", "--data.storage=memory"]),
    (SIMCLR, ["--model.name=resnet18", "--model.stem=native"], ["--model.name=resnet18", "--model.stem=3x3"]),
    (SIMCLR, ["--rewind.to=round0"], ["--rewind.to=init"]),
    (SIMCLR, ["--start.weights=w"], ["--start.weights=v"]),
    (SIMCLR, ["--start.weights=w"], ["--start.weights=w", "--rewind.to=round0"]),
    (SIMCLR, ["--prune.epochs=null"], ["--prune.epochs=null", "--train.epochs=79"]),
    (SIMCLR, ["--optim.warmup=1it"], ["--optim.warmup=1ep"]),
    (SIMCLR, [MULTISTEP, "--optim.milestones=[3ep]"], [MULTISTEP, "--optim.milestones=[3ep,3ep]"]),
    (SIMCLR, ["--optim.schedule=cosine"], ["--optim.schedule=constant"]),
    (SIMCLR, [SGD, "--optim.momentum=0.8"], [SGD]),
    (SIMCLR, [LARS, "--optim.momentum=0.8"], [LARS]),
    (SIMCLR, [ADAMW, "--optim.decay_norms=true"], [ADAMW]),
    (SIMCLR, ["--prune.rounds=0"], ["--prune.rounds=1"]),
    (SIMCLR, ["--prune.rounds=0", "--prune.include=[layer4.*]"], ["--prune.rounds=0"]),
    (SIMCLR, ["--prune.schedule=one_shot"], ["--prune.schedule=iterative"]),
    (SIMCLR, ["--augment.hue=0", "--augment.saturation=0"], ["--augment.hue=0", "--augment.saturation=0.1"]),
    (MOCO, ["--rewind.queue=stored"], ["--rewind.queue=keep"]),
    (MOCO, ["--rewind.to=final", "--rewind.queue=refill"], ["--rewind.to=final", "--rewind.queue=keep"]),
    (SUPERVISED, ["--start.weights=w"], ["--start.weights=w", "--start.head=fresh"]),
    (DOWNSTREAM, [FILE], [FILE, "--ticket.norm_statistics=stored"]),
    (DOWNSTREAM, [FILE], [FILE, "--ticket.weights=trained"]),
    (DOWNSTREAM, [FILE], [FILE, "--ticket.control=dense"]),
    (DOWNSTREAM, [], ["--ticket.norm_statistics=stored"]),
    (DOWNSTREAM, [], [FULL]),
    (DOWNSTREAM, [], ["--data.metric=mean_per_class"]),
    (DOWNSTREAM, [FULL, "--train.epochs=7"], [FULL]),
    (DOWNSTREAM, ["--keep.trained=none"], ["--keep.trained=last"]),
    (DOWNSTREAM, [L2, NO_CHOOSING], [L2, NO_CHOOSING, "--linear.folds=9"]),
    (DOWNSTREAM, [*CHOOSING, MEASURED, L2], [*CHOOSING, MEASURED, L2, "--linear.folds=9"]),
    (DOWNSTREAM, ["--data.labels=null", MEASURED, L2], ["--data.labels=null", MEASURED, L2, "--linear.folds=9"]),
    (DOWNSTREAM, [], [KNN]),
    (DOWNSTREAM, [KNN], [KNN, "--evaluation.neighbours=5"]),
    (DOWNSTREAM, [], [BY_SGD]),
    (DOWNSTREAM, [BY_SGD], [BY_SGD, "--train.epochs=7"]),
    (DOWNSTREAM, [BY_SGD, "--linear.standardise=false"], [BY_SGD]),
    (DOWNSTREAM, [*SWEEP, "--optim.sweep=[0.1,0.2]"], [*SWEEP, "--optim.sweep=[0.1,0.3]"]),
    (DOWNSTREAM, [*SWEEP, "--optim.sweep=[0.1,0.2]"], [*SWEEP, "--optim.lr=0.1"]),
]  # fmt: skip


@pytest.mark.parametrize(("command", "one", "other"), APART)
def test_two_runs_are_two_runs(command: Command, one: list[str], other: list[str]) -> None:
    assert hashed(command, *one) != hashed(command, *other)


def test_a_strength_given_twice_is_refused() -> None:
    with pytest.raises(
        InputError, match=r"linear\.l2: got \[1\.0, 10\.0, 10\.0\], expected at least one number > 0, all different"
    ):
        hashed(DOWNSTREAM, "--linear.l2=[1,10,10]")


def test_two_folders_never_share_a_hash() -> None:
    config = resolve(SIMCLR, []).config
    assert config_hash("SimCLR", config) != config_hash("MoCo", config)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("--data.name=digitz", "unknown data set 'digitz'"),
        ("--data.name=digits:7-12", "7-12 is out of range, the classes are 0-9"),
        ("--optim.warmup=5", r"optim\.warmup: expected a duration"),
    ],
)
def test_what_has_no_canonical_form_is_refused(word: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        hashed(SIMCLR, word)


# A configuration of each folder in which every option has an effect, and values for options that another type's would not fit.
EVERYTHING_COUNTS = {
    "SimCLR": ["--optim.weight_decay=1e-3", "--augment.blur_probability=0.5", "--augment.blur_kernel=3"],
    "MoCo": ["--optim.weight_decay=1e-3", "--augment.blur_probability=0.5", "--augment.blur_kernel=3"],
    "Supervised": ["--start.weights=v", "--augment.blur_probability=0.5", "--augment.blur_kernel=3"],
    "Downstream": [
        FULL, FILE, "--data.validation_labels=4", "--optim.weight_decay=1e-3", "--augment.pad=null",
        "--augment.jitter_probability=0.5", "--augment.blur_probability=0.5",
    ],
}  # fmt: skip
VALUES: dict[str, Any] = {
    "evaluation.head": "ticket",  # auto stands for knn until an evaluation knows its ticket
    "data.name": "digits:1-2",
    "data.size": None,  # one size only, but for folders (see APART)
    "data.storage": None,  # the same
    "data.input": "half",
    "model.name": "resnet20",
    "model.stem": None,  # one stem only (see APART)
    "optim.name": "lars",
    "optim.sweep": [0.1, 0.2],
    "optim.nesterov": True,
    "optim.decay_norms": False,
    "optim.schedule": "constant",
    "optim.warmup": "1ep",
    "optim.milestones": ["4ep"],
    "train.batch_size": 256,
    "norm.splits": 4,
    "rewind.step": None,  # with rewind.to alone (see below)
    "rewind.keep": ["norms"],
    "augment.crop_scale": [0.3, 0.9],
    "augment.crop_ratio": [0.5, 0.9],
    "augment.blur_sigma": [0.3, 0.9],
    "augment.blur_kernel": 5,
    "ticket.file": "other@3",
    "start.weights": "w",
    "start.input": "unit",
    "ticket.control": "dense",
    "ticket.norm_statistics": "reestimate",
    "evaluation.bank": 30,
    "keep.trained": "none",
    "data.source": "art",
    "data.target": "art",
}
FOLDER = {"data.name": "folder", "data.root": "/d", "data.storage": "memory"}
DOMAINS = {"data.name": "domains", "data.root": "/d", "data.source": "photo", "data.target": "sketch"}
CONTEXT = {
    "data.crop": FOLDER,
    "data.interpolation": FOLDER,
    "data.source": DOMAINS,
    "data.target": DOMAINS,
    **{f"start.{name}": {"start.weights": "w"} for name in ("format", "input", "stem", "head", "train")},
    "prune.early_bird_window": {"prune.early_bird": 0.1},
    "ticket.equal": {"ticket.control": "small_dense"},
    "optim.betas": {"optim.name": "adamw"},
    "optim.eps": {"optim.name": "adamw"},
    "optim.trust_coefficient": {"optim.name": "lars"},
    "optim.milestones": {"optim.schedule": "multistep", "optim.milestones": ["3ep"]},
    "optim.gamma": {"optim.schedule": "multistep", "optim.milestones": ["3ep"]},
    "optim.power": {"optim.schedule": "poly"},
    "linear.solver": {"protocol": "linear"},
    "linear.standardise": {"protocol": "linear"},
    "linear.l2": {"protocol": "linear"},
    "linear.folds": {"protocol": "linear", "linear.l2": [1.0, 2.0], "data.validation_labels": 0},
    "linear.max_iterations": {"protocol": "linear"},
}


def another(value: Any, kind: Any) -> Any:
    """Return a value of a field's type other than the one it has."""
    kinds = get_args(kind) if get_origin(kind) not in (None, tuple, Literal) else (kind,)
    choices = [item for kind in kinds if get_origin(kind) is Literal for item in get_args(kind)]
    if choices:
        return next(choice for choice in reversed(choices) if choice != value)
    if isinstance(value, bool) or bool in kinds:
        return not value
    if isinstance(value, list):
        return [*value[:-1], value[-1] * 0.5 if isinstance(value[-1], float) else value[-1] * 2]
    return value * 0.5 or 0.25 if isinstance(value, float) else (value or 0) + 1


def changed(config: Any, values: Mapping[str, Any]) -> Any:
    """Return a configuration with other values, by dotted name."""
    tree = as_tree(config)
    for name, value in values.items():
        *groups, last = name.split(".")
        part = tree
        for group in groups:
            part = part[group]
        part[last] = value
    return from_tree(type(config), tree)


def get(config: Any, name: str) -> Any:
    for part in name.split("."):
        config = getattr(config, part)
    return list(config) if isinstance(config, tuple) else config


NAMES = [
    (command, name)
    for command in (SIMCLR, MOCO, SUPERVISED, DOWNSTREAM)
    for name, item in leaves(command.schema).items()
    if item.metadata["identity"] and not (name in VALUES and VALUES[name] is None)
]


@pytest.mark.parametrize(("command", "name"), NAMES, ids=lambda value: value if isinstance(value, str) else value.folder)
def test_an_option_that_counts_changes_the_hash(command: Command, name: str) -> None:
    found_on_task = command is DOWNSTREAM and name.startswith(("prune.", "rewind.", "start.head", "start.train"))
    context = CONTEXT.get(name, {}) | ({"ticket.file": None, "prune.rounds": 2} if found_on_task else {})
    context |= {"protocol": "knn"} if command is DOWNSTREAM and name == "evaluation.neighbours" else {}
    base = changed(resolve(command, EVERYTHING_COUNTS[command.folder]).config, context)
    value = VALUES[name] if name in VALUES else another(get(base, name), types_of(command.schema)[name])
    assert value != get(base, name)
    assert config_hash("F", changed(base, {name: value})) != config_hash("F", base)


# What a configuration means, found without its canonical form: by building and running what it describes.


def classes_of(name: str) -> tuple[str, tuple[int, ...]]:
    base, _, subset = name.partition(":")
    every = {"digits": 10, "digits_clean": 10, "cifar100": 100}[base]
    found: set[int] = set()
    for part in subset.split(",") if subset else [f"0-{every - 1}"]:
        ends = [int(end) for end in part.split("-")]
        found |= {label for label in range(every) if ends[0] <= label <= ends[-1]}
    return base, tuple(sorted(found))


def optimizer_of(config: Any) -> Any:
    module = nn.Sequential(nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1))
    made = build_optimizer([{"params": list(module.parameters())}], config.optim)
    groups = [{key: value for key, value in group.items() if key != "params"} for group in made.param_groups]
    rates = [build_schedule(config.optim, total, each)(step) for total, each in ((12, 3), (20, 10)) for step in range(total)]
    return type(made).__name__, groups, rates, config.optim.clip


def views_of(config: Any) -> bytes:
    made = [apply(IMAGES, draw(config.augment, len(IMAGES), 8, 8, 8, generator(seed, "views"))) for seed in range(4)]
    return torch.stack(made).numpy().tobytes()


def search_of(config: Any) -> Any:
    prune, start = config.prune, config.start.weights
    firsts = (FirstRound(DENSE, False), FirstRound(HALF, True)) if start else (FirstRound(DENSE, True),)  # any file, or a ticket
    rounds = [round_steps(config, each, k, first) for first in firsts for each in (3, 7) for k in range(prune.rounds + 1)]
    kept = (prune.rate, prune.score, prune.allocation, prune.schedule if prune.score == "magnitude" else "")
    at = config.rewind.step and config.rewind.step.lstrip("0")
    point = config.rewind.to or ("pretrained" if start else "round0")
    return rounds, kept if prune.rounds else (), prune.include, prune.exclude, point, at, sorted(config.rewind.keep), start


def transfer_of(config: Any) -> Any:
    ticket, protocol, start = config.ticket, config.protocol, config.start.weights
    control = ticket.control or ("ticket" if ticket.file else "dense" if start else "scratch")
    frozen_rewound = protocol != "full" and ticket.weights == "rewind"
    statistics = ticket.norm_statistics or ("reestimate" if frozen_rewound else "stored")
    from_ticket = (ticket.file, ticket.weights, ticket.stem) if ticket.file else ()
    labels = (config.data.labels, config.data.validation_labels, config.data.balanced) if config.data.labels else ()
    kept = config.keep.trained != "none" and protocol != "knn"
    return protocol, control, statistics, from_ticket, start, work_of(config), labels, kept


def work_of(config: Any) -> Any:
    linear, rates = config.linear, sorted(config.optim.sweep) or [config.optim.lr]
    in_steps = (config.train.epochs, config.train.batch_size, config.select, len(rates))
    if config.protocol == "full":
        return in_steps, [optimizer_of(changed(config, {"optim.lr": rate})) for rate in rates], views_of(config)
    if config.protocol == "knn":
        return config.evaluation.neighbours
    if linear.solver == "sgd":
        return linear.standardise, in_steps, [optimizer_of(changed(config, {"optim.lr": rate})) for rate in rates]
    by_folds = len(linear.l2) > 1 and config.data.labels is not None and config.data.validation_labels == 0
    return linear.standardise, sorted(linear.l2), linear.max_iterations, linear.folds if by_folds else 0


def meaning_of(config: Any) -> Any:
    own = transfer_of(config) if hasattr(config, "ticket") else (search_of(config), optimizer_of(config), views_of(config))
    stem = None if config.model.name in ("resnet_digits", "resnet20") else config.model.stem
    return classes_of(config.data.name), config.model.name, stem, own


BASES = {command.folder: resolve(command, []).config for command in (SIMCLR, DOWNSTREAM)}
SHARED: dict[str, list[Any]] = {
    "data.name": ["digits", "digits:0-9", "digits:6-9", "digits:9,8,7,6", "digits:6-8,8", "digits_clean:6-9", "cifar100:0-99"],
    "model.name": ["resnet_digits", "resnet20", "resnet18"],
    "model.stem": ["3x3", "native"],
    "optim.name": ["sgd", "adamw", "lars"],
    "optim.lr": [0.1, 0.2],
    "optim.momentum": [0.0, 0.9],
    "optim.nesterov": [False, True],
    "optim.weight_decay": [0.0, -0.0, 1e-3],
    "optim.decay_norms": [None, True, False],
    "optim.betas": [[0.9, 0.999], [0.5, 0.6]],
    "optim.eps": [1e-8, 0.1],
    "optim.trust_coefficient": [0.001, 0.002],
    "optim.schedule": ["constant", "cosine", "multistep"],
    "optim.warmup": ["0it", "0ep", "1ep", "01ep", "3it"],
    "optim.milestones": [["1ep"], ["1ep", "2ep"], ["2ep", "01ep"], ["3it", "3it"], ["3it"]],
    "optim.gamma": [0.1, 0.5],
    "augment.pad": [None, 1, 2],
    "augment.crop_scale": [[0.2, 1.0], [0.5, 0.6]],
    "augment.flip": [0.0, 0.5],
    "augment.jitter_probability": [0.0, 0.7],
    "augment.brightness": [0.0, 0.4],
    "augment.contrast": [0.0, 0.4],
    "augment.saturation": [0.0],  # the digits are gray: what moves colours alone is not seen
    "augment.hue": [0.0],
    "augment.gray_probability": [0.0],
    "augment.blur_probability": [0.0, 0.6],
    "augment.blur_sigma": [[0.5, 1.0], [1.0, 2.0]],
    "augment.blur_kernel": [3, 5],
}
SEARCH: dict[str, list[Any]] = {
    **SHARED,
    "train.epochs": [2, 3],
    "prune.rounds": [0, 1, 2],
    "prune.rate": [0.2, 0.4],
    "prune.epochs": [None, 2, 3],
    "prune.score": ["magnitude", "random"],
    "prune.allocation": ["global", "layerwise"],
    "prune.schedule": ["iterative", "one_shot"],
    "rewind.to": [None, "round0", "init", "pretrained", "step", "final"],
    "rewind.step": [None, "1ep", "01ep", "1it"],
    "start.weights": [None, "w"],
}
TRANSFER: dict[str, list[Any]] = {
    **SHARED,
    "protocol": ["linear", "full", "knn"],
    "linear.solver": ["lbfgs", "sgd"],
    "linear.standardise": [True, False],
    "optim.sweep": [[], [0.1, 0.3], [0.3, 0.1]],
    "data.balanced": [True, False],
    "select": ["last", "best"],
    "data.labels": [None, 40],
    "data.validation_labels": [0, 8],
    "train.epochs": [2, 3],
    "train.batch_size": [20, 30],
    "ticket.file": [None, "t@3", "t@4"],
    "ticket.control": [None, "ticket", "dense", "scratch", "random"],
    "ticket.weights": ["rewind", "trained"],
    "ticket.norm_statistics": [None, "reestimate", "stored"],
    "ticket.stem": ["same", "fresh"],
    "start.weights": [None, "w"],
    "linear.l2": [[1.0], [1.0, 2.0], [2.0, 1.0]],
    "linear.folds": [3, 5],
    "keep.trained": ["none", "last", "all"],
}


def tidied(values: dict[str, Any]) -> dict[str, Any]:
    """Return options that go together, from any."""
    fixed = dict(values)
    fixed["optim.nesterov"] &= fixed["optim.name"] == "sgd" and fixed["optim.momentum"] > 0
    if "rewind.to" in fixed:
        there = {None, "round0", "final", "pretrained"} if fixed["start.weights"] else {None, "round0", "final", "init", "step"}
        fixed["rewind.to"] = fixed["rewind.to"] if fixed["rewind.to"] in there else None
        fixed["rewind.step"] = (fixed["rewind.step"] or "1it") if fixed["rewind.to"] == "step" else None
        fixed["prune.epochs"] = None if fixed["rewind.to"] == "step" else fixed["prune.epochs"]
    else:
        in_steps = fixed["protocol"] == "full" or (fixed["protocol"] == "linear" and fixed["linear.solver"] == "sgd")
        chooses = fixed["data.labels"] is None or fixed["data.validation_labels"] > 0
        fixed["select"] = fixed["select"] if chooses else "last"
        fixed["optim.sweep"] = fixed["optim.sweep"] if chooses and in_steps else []
    return fixed


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
@pytest.mark.parametrize(("command", "pools"), [(SIMCLR, SEARCH), (DOWNSTREAM, TRANSFER)], ids=["SimCLR", "Downstream"])
def test_one_form_is_one_meaning(command: Command, pools: dict[str, list[Any]], data: st.DataObject) -> None:
    """Two configurations that differ in a few options: where their forms are equal, so is what they make."""
    values = {name: data.draw(st.sampled_from(pool), label=name) for name, pool in pools.items()}
    names = data.draw(st.lists(st.sampled_from(sorted(pools)), min_size=1, max_size=4, unique=True), label="changed")
    others = {name: data.draw(st.sampled_from(pools[name]), label=f"other {name}") for name in names}
    one, other = (changed(BASES[command.folder], tidied(part)) for part in (values, {**values, **others}))
    equal = canonical(one) == canonical(other)
    event(f"forms are equal: {equal}")
    assert not equal or meaning_of(one) == meaning_of(other)
