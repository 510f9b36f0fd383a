"""The configuration groups that folders compose, as frozen dataclasses.

A folder's schema is a frozen dataclass whose fields are these groups and its own; `common.cli` fills it from recipe, files and
flags. Every field is declared with `option`, which carries its help text and whether it is part of what a run *is*
(`common.canonical` says which values of it are the same run).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from common.errors import InputError
from common.option import option, require
from common.prune_config import PruneConfig, RewindConfig
from common.start_config import SearchStartConfig
from common.start_config import StartConfig as StartConfig


@dataclass(frozen=True)
class DataConfig:
    """Which images."""

    name: str = option("digits", "data set, with an optional class subset: digits, digits:0-5, cifar10:6-9")
    root: str | None = option(None, "folder that holds the data set", identity=False)
    download: bool = option(False, "fetch a torchvision data set that is not in data.root", identity=False)
    source: str | None = option(None, "domains: folder below data.root whose images train and choose")
    target: str | None = option(None, "domains: folder below data.root whose images test")
    size: int | None = option(
        None, "side in pixels that a network sees; null: the data set's own (see --list); needed for images of your own"
    )
    crop: Literal["auto", "margin", "fit", "square"] = option(
        "auto",
        "what is evaluated of an image: margin: shorter side to size * 256 / 224, then the centre; fit: shorter side to size, "
        "then the centre; square: both sides to size; auto: the data set's own, else fit in memory and margin in files",
    )
    interpolation: Literal["bilinear", "bicubic"] = option("bilinear", "of every resize, in training and evaluation, antialiased")
    validation: Literal["own", "tenth"] = option(
        "own",
        "own: a set's own validation images validate, where it has any; tenth: they train too, and a fixed tenth of every class "
        "of both validates",
    )
    storage: Literal["auto", "memory", "files"] = option(
        "auto",
        "memory: decode once, at data.size; files: crop from the whole image each time; auto: imagenet files, folder by size",
    )
    workers: int | None = option(
        None,
        "processes that read image files for each training process; null: its share of the cores, at most 16",
        identity=False,
    )
    decode: Literal["auto", "cpu", "cuda"] = option(
        "auto", "what decodes the JPEGs of training views that stay in files; auto: cpu", identity=False
    )
    cache: str | None = option(
        None, "folder of decoded images: what is evaluated is decoded once for all runs, at most 224 px", identity=False
    )
    skip_unreadable: bool = option(
        False, "leave images out that cannot be read, and record them; false: they are an error", identity=False
    )
    input: Literal["own", "unit", "imagenet", "half", "cifar100_pixels"] = option(
        "own",
        "how pixels in [0, 1] are normalised, to match given weights: own: the data set's mean and std; unit: not at all; "
        "imagenet: ImageNet's mean and std; half: (x - .5) / .5; cifar100_pixels: those of the sparse-transfer study",
    )
    accept_input_mismatch: bool = option(False, "use a ticket whose input specification differs; the result is flagged")

    def __post_init__(self) -> None:
        require(bool(self.name), "data.name", self.name, "the name of a data set (see --list)")
        require(self.size is None or self.size >= 1, "data.size", self.size, "a side in pixels, >= 1")
        require(self.workers is None or self.workers >= 0, "data.workers", self.workers, "a number of processes >= 0, or null")
        given = (self.source is not None, self.target is not None)
        require(given[0] == given[1], "data.source and data.target", [self.source, self.target], "both or neither")

    @property
    def domains(self) -> tuple[str, str] | None:
        """The source's and the target's folder."""
        return None if self.source is None or self.target is None else (self.source, self.target)


@dataclass(frozen=True)
class LabelledDataConfig(DataConfig):
    """Which images, and how many of their labels may be used."""

    labels: int | float | None = option(
        None,
        "labels in all, for training and for choosing: a number, or a fraction in (0, 1) of the training images; "
        "null: every label of train and validation",
    )
    balanced: bool = option(
        True, "data.labels are spread as evenly over the classes as they allow; false: every image is as likely as any other"
    )
    validation_labels: int = option(0, "how many of data.labels choose (epoch, learning rate, L2) instead of training")
    metric: Literal["own", "top1", "mean_per_class"] = option(
        "own", "what the target is judged and chosen by; own: the catalogue's for the data set (see --list)"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        is_fraction = isinstance(self.labels, float)
        require(
            self.labels is None or (0 < self.labels < 1 if is_fraction else self.labels >= 1),
            "data.labels",
            self.labels,
            "a number of labels (an integer >= 1), a fraction in (0, 1), or null",
        )
        require(self.validation_labels >= 0, "data.validation_labels", self.validation_labels, "a number of labels >= 0")
        if self.labels is not None and not is_fraction:
            require(
                self.validation_labels < self.labels,
                "data.validation_labels",
                self.validation_labels,
                f"fewer than data.labels ({self.labels}), which it is a part of",
            )


@dataclass(frozen=True)
class ModelConfig:
    """Which backbone."""

    name: str = option("resnet18", "backbone: a name of --list, or any timm model")
    stem: Literal["3x3", "7x7", "native"] = option(
        "3x3", "3x3: stride 1, no max-pool (small images); 7x7: ImageNet's; native: the model's own"
    )
    patch: int | None = option(None, "side of a ViT's patches in pixels; null: the model's own")
    width: float = option(1.0, "channels of a ResNet's stages, as a multiple of the model's own, in (0, 1]")
    variant: Literal["tf_same", "relu"] | None = option(
        None,
        "another network under the same names, for published weights: tf_same (ResNets of RigL: TensorFlow's max-pool), "
        "relu (MobileNetV1 of Distiller, STR and AC/DC); null: the model's own",
    )

    def __post_init__(self) -> None:
        require(0 < self.width <= 1, "model.width", self.width, "a multiple in (0, 1]")
        require(self.patch is None or self.patch >= 1, "model.patch", self.patch, "a side in pixels, >= 1, or null")


@dataclass(frozen=True)
class OptimConfig:
    """How weights move."""

    name: Literal["sgd", "adamw", "lars"] = option("sgd", "optimizer: SGD with momentum, AdamW, or LARS")
    lr: float = option(0.1, "peak learning rate, > 0")
    momentum: float = option(0.9, "momentum, in [0, 1)")
    nesterov: bool = option(False, "Nesterov momentum")
    weight_decay: float = option(1e-4, "weight decay, >= 0: L2 for sgd and lars, decoupled for adamw")
    decay_norms: bool | None = option(None, "weight decay on norms and biases too; null: yes for sgd, no for adamw and lars")
    betas: tuple[float, float] = option((0.9, 0.999), "adamw: decay of the two moments, in [0, 1)")
    eps: float = option(1e-8, "adamw: added to the root of the second moment, > 0")
    trust_coefficient: float = option(0.001, "lars: eta of You et al. 2017, > 0")
    clip: float | None = option(None, "largest norm of all gradients together, masked first, > 0; null: none")
    schedule: Literal["constant", "cosine", "multistep", "poly"] = option("cosine", "learning rate after the warm-up")
    warmup: str = option("0it", "linear warm-up from 0, such as 1ep or 100it")
    milestones: tuple[str, ...] = option((), "multistep: where the rate is multiplied by gamma, such as [91ep, 136ep]")
    gamma: float = option(0.1, "multistep: factor at each milestone, in (0, 1]")
    end: float = option(0.0, "cosine: lowest rate, poly: the rate is no lower; a fraction of lr in [0, 1)")
    power: float = option(0.9, "poly: power of what is left of the training, > 0")

    def __post_init__(self) -> None:
        require(self.lr > 0, "optim.lr", self.lr, "a number > 0")
        require(0 <= self.momentum < 1, "optim.momentum", self.momentum, "a number in [0, 1)")
        require(self.weight_decay >= 0, "optim.weight_decay", self.weight_decay, "a number >= 0")
        require(0 < self.gamma <= 1, "optim.gamma", self.gamma, "a number in (0, 1]")
        require(all(0 <= beta < 1 for beta in self.betas), "optim.betas", list(self.betas), "two numbers in [0, 1)")
        require(0 <= self.end < 1, "optim.end", self.end, "a fraction of optim.lr in [0, 1)")
        require(self.power > 0, "optim.power", self.power, "a number > 0")
        require(self.eps > 0, "optim.eps", self.eps, "a number > 0")
        require(self.trust_coefficient > 0, "optim.trust_coefficient", self.trust_coefficient, "a number > 0")
        require(self.clip is None or self.clip > 0, "optim.clip", self.clip, "a number > 0, or null")
        require(not self.nesterov or self.name == "sgd", "optim.nesterov", self.nesterov, "false: only sgd has it")
        require(not self.nesterov or self.momentum > 0, "optim.nesterov", self.nesterov, "false where optim.momentum is 0")
        if self.schedule == "multistep":
            require(bool(self.milestones), "optim.milestones", list(self.milestones), "at least one duration for multistep")

    @property
    def decays_norms(self) -> bool:
        """Whether norms and biases decay: what `decay_norms` says or, where it is null, stands for."""
        return self.name == "sgd" if self.decay_norms is None else self.decay_norms


@dataclass(frozen=True)
class TrainConfig:
    """How long, in what portions, and on what."""

    epochs: int = option(100, "epochs of round 0 or of the task, >= 1")
    batch_size: int = option(128, "images per batch, over all processes together, >= 2")
    accumulate: int = option(1, "batches whose mean gradient makes one optimizer step, >= 1")
    precision: Literal["fp32", "tf32", "bf16"] = option("fp32", "fp32; tf32: products in TF32 on GPUs; bf16: autocast, and TF32")
    channels_last: bool = option(False, "lay images and weights out channels last, which GPUs prefer")
    compile: bool = option(False, "compile the network (torch.compile); the first steps take minutes")
    device: str = option("auto", "auto (cuda where there is one), cpu, cuda, cuda:N", identity=False)
    threads: int | None = option(
        None, "CPU threads; null: torch's choice. A resumed run keeps the number it began with", identity=False
    )
    checkpoint_every: str = option("1ep", "how often the run's state is saved, such as 1ep or 200it", identity=False)
    log_every: int = option(20, "optimizer steps between two readings of the loss", identity=False)

    def __post_init__(self) -> None:
        require(self.epochs >= 1, "train.epochs", self.epochs, "an integer >= 1")
        require(self.batch_size >= 2, "train.batch_size", self.batch_size, "an integer >= 2")
        require(self.accumulate >= 1, "train.accumulate", self.accumulate, "an integer >= 1")
        require(self.threads is None or self.threads >= 1, "train.threads", self.threads, "an integer >= 1, or null")
        require(self.log_every >= 1, "train.log_every", self.log_every, "an integer >= 1")


@dataclass(frozen=True)
class TicketConfig:
    """Which ticket a task starts from, and as what."""

    file: str | None = option(None, "ticket file")
    control: str | None = option(
        None,
        "what is made of it: ticket, dense, scratch, random ...; null: ticket if a file is given, else fresh or start.weights",
    )
    weights: Literal["rewind", "trained"] = option("rewind", "the ticket's rewind point, or the weights at the end of its round")
    norm_statistics: Literal["reestimate", "stored"] | None = option(
        None, "norm statistics under linear and k-NN; null: reestimate for rewound weights, stored for trained ones"
    )
    stem: Literal["same", "fresh"] = option(
        "same", "fresh: keep this model's own random stem, which may then differ from the ticket's"
    )
    equal: Literal["parameters", "macs"] = option(
        "parameters", "small_dense: what the narrower network has no more of than the ticket: prunable weights, or their products"
    )

    def arm(self, start_weights: str | None) -> str:
        """Return the control, of the ticket or without one: what `control` says or, where it is null, stands for."""
        if self.control is not None:
            return self.control
        return "ticket" if self.file is not None else "scratch" if start_weights is None else "dense"

    def statistics(self, protocol: str) -> Literal["reestimate", "stored"]:
        """Return how the backbone gets its norm statistics: what `norm_statistics` says or, where it is null, stands for.

        Rewound weights carry the dense network's, which a masked network must replace before it is judged frozen.
        """
        if self.norm_statistics is not None:
            return self.norm_statistics
        return "reestimate" if protocol != "full" and self.weights == "rewind" else "stored"


@dataclass(frozen=True)
class SeedConfig:
    """Where randomness comes from."""

    ticket: int | None = option(
        None, "seed of the search: initialisation, order, views; a task takes it from its ticket", identity=False
    )
    task: int = option(0, "seed of the task: head, order, labelled subset, draws of a control", identity=False)

    def __post_init__(self) -> None:
        require(self.ticket is None or self.ticket >= 0, "seed.ticket", self.ticket, "an integer >= 0")
        require(self.task >= 0, "seed.task", self.task, "an integer >= 0")


@dataclass(frozen=True)
class KeepConfig:
    """What stays on disk beside tickets and results."""

    trained: Literal["none", "last", "all"] = option("none", "trained weights of the rounds after round 0")


@dataclass(frozen=True)
class LogConfig:
    """What is written for eyes."""

    tensorboard: bool = option(True, "write TensorBoard event files", identity=False)
    wandb: bool = option(False, "write to Weights & Biases too (pip install wandb); WANDB_MODE=offline holds", identity=False)
    wandb_project: str | None = option(
        None, "project in Weights & Biases; null: WANDB_PROJECT, else pretraining-tickets", identity=False
    )
    progress: bool = option(True, "show progress on the terminal", identity=False)


def leaves(schema: type, prefix: str = "") -> dict[str, dataclasses.Field[Any]]:
    """Return the dotted names of a schema's fields, groups opened, in order of declaration."""
    found: dict[str, dataclasses.Field[Any]] = {}
    for item in dataclasses.fields(schema):
        group = item.default_factory
        if isinstance(group, type) and dataclasses.is_dataclass(group):
            found.update(leaves(group, f"{prefix}{item.name}."))
        else:
            found[prefix + item.name] = item
    return found


def as_tree(config: Any, *, identity_only: bool = False) -> dict[str, Any]:
    """Return a configuration as nested dictionaries of JSON values, in full or only what enters its identity."""
    tree: dict[str, Any] = {}
    for item in dataclasses.fields(config):
        value = getattr(config, item.name)
        if dataclasses.is_dataclass(value):
            tree[item.name] = as_tree(value, identity_only=identity_only)
        elif not identity_only or item.metadata.get("identity", True):
            tree[item.name] = list(value) if isinstance(value, tuple) else value
    return tree


def from_tree(schema: type, tree: Mapping[str, Any]) -> Any:
    """Build a configuration from what `as_tree` returned, for example the one in a run.json.

    Raises:
        InputError: a field is missing, unknown or out of its range.
    """
    values: dict[str, Any] = {}
    for item in dataclasses.fields(schema):
        if item.name not in tree:
            raise InputError(f"the recorded configuration has no field {item.name!r}; it was written by another version")
        value, group = tree[item.name], item.default_factory
        if isinstance(group, type) and dataclasses.is_dataclass(group):
            values[item.name] = from_tree(group, value)
        else:
            values[item.name] = tuple(value) if isinstance(value, list) else value
    unknown = sorted(set(tree) - set(values))
    if unknown:
        raise InputError(f"the recorded configuration has an unknown field {unknown[0]!r}; it was written by another version")
    return schema(**values)


@dataclass(frozen=True)
class RunConfig:
    """What every run has; a folder's schema extends it."""

    data: DataConfig = option(DataConfig, "which images")
    model: ModelConfig = option(ModelConfig, "which backbone")
    optim: OptimConfig = option(OptimConfig, "how weights move")
    train: TrainConfig = option(TrainConfig, "how long, and on what")
    seed: SeedConfig = option(SeedConfig, "where randomness comes from")
    log: LogConfig = option(LogConfig, "what is written for eyes")
    out: str = option("runs", "folder that run directories are made in", identity=False)

    def __post_init__(self) -> None:
        require(bool(self.out), "out", self.out, "a folder")


@dataclass(frozen=True)
class SearchConfig(RunConfig):
    """A search for tickets; the schema of a paradigm, or of a task, extends it.

    Attributes:
        REWINDS_OF_GIVEN: the rewind points that a search from given weights may have, and why no others.
    """

    REWINDS_OF_GIVEN: ClassVar[tuple[tuple[str, ...], str]] = (
        ("pretrained", "round0", "final"),
        "pretrained, round0 or final: with start.weights there is no random start, and round 0 has no schedule",
    )

    prune: PruneConfig = option(PruneConfig, "how masks are found")
    rewind: RewindConfig = option(RewindConfig, "where a round starts from")
    start: SearchStartConfig = option(SearchStartConfig, "what round 0 begins with")
    keep: KeepConfig = option(KeepConfig, "what stays on disk")

    def __post_init__(self) -> None:
        super().__post_init__()
        to = self.rewind.to
        require(to != "pretrained" or self.start.weights is not None, "rewind.to", to, "start.weights to be given for it")
        known, expected = self.REWINDS_OF_GIVEN
        require(self.start.weights is None or to in (None, *known), "rewind.to", to, expected)
        require(
            to != "step" or self.prune.epochs is None,
            "prune.epochs",
            self.prune.epochs,
            "null with rewind.to step, which resumes the schedule of round 0",
        )

    @property
    def rewind_point(self) -> str:
        """The rewind point: what `rewind.to` says or, where it is null, stands for."""
        return self.rewind.point(self.start)

    @property
    def trains_round_0(self) -> bool:
        """Whether round 0 is trained where it holds no mask: what `start.train` says or, where it is null, stands for.

        Given weights were trained on a pre-training objective already, and are not.
        """
        return self.start.weights is None if self.start.train is None else self.start.train
