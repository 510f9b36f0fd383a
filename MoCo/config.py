"""MoCo's configuration schema."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from common.canonical import Rules
from common.config import RewindConfig, option, require
from common.training.pretraining_config import PretrainingConfig


@dataclass(frozen=True)
class ObjectiveConfig:
    """The contrastive objective and its two encoders."""

    temperature: float = option(0.2, "temperature of the similarities, > 0 (MoCo v2: 0.2; MoCo: 0.07)")
    key_momentum: float = option(0.999, "m in key encoder := m key + (1 - m) query after every step, in [0, 1)")
    symmetric: bool = option(False, "both views are queries in turn and the loss is the mean; twice the work of a step")
    head: tuple[int, ...] = option((512, 128), "widths of the projection head's layers; the last is a key's (v2: [2048, 128])")

    def __post_init__(self) -> None:
        require(self.temperature > 0, "objective.temperature", self.temperature, "a number > 0")
        require(0 <= self.key_momentum < 1, "objective.key_momentum", self.key_momentum, "a number in [0, 1)")
        require(bool(self.head) and min(self.head) >= 1, "objective.head", list(self.head), "at least one width >= 1")


@dataclass(frozen=True)
class QueueConfig:
    """The queue of negatives."""

    size: int = option(65536, "K, the keys in the queue, >= 1; a multiple of the batch or not")
    start: Literal["keys", "random"] = option(
        "keys", "what fills the queue before the first step: keys of training images, or random unit vectors (He et al. 2020)"
    )

    def __post_init__(self) -> None:
        require(self.size >= 1, "queue.size", self.size, "an integer >= 1")


@dataclass(frozen=True)
class NormConfig:
    """Batch norm in training."""

    splits: int = option(8, "parts of a batch, over all processes, that batch norms take their statistics of, >= 1; v2: 8 GPUs")

    def __post_init__(self) -> None:
        require(self.splits >= 1, "norm.splits", self.splits, "an integer >= 1")


@dataclass(frozen=True)
class MoCoRewindConfig(RewindConfig):
    """Where a round starts from, queue included."""

    queue: Literal["refill", "stored", "keep"] = option(
        "refill", "the queue after a rewind: filled anew with keys of the rewound encoder, as it was at the rewind point, or left"
    )


def _queue_after_rewind(config: MoCoConfig) -> str:
    """Where nothing is rewound, the queue of the rewind point is the one that is there."""
    stays = config.rewind.to == "final" and config.rewind.queue == "stored"
    return "keep" if stays else config.rewind.queue


def _is_dense(config: MoCoConfig) -> bool:
    return config.prune.rounds == 0


@dataclass(frozen=True)
class MoCoConfig(PretrainingConfig):
    """A search for tickets with MoCo."""

    RULES: ClassVar[Rules] = Rules(forms={"rewind.queue": _queue_after_rewind}, unused=(("rewind.queue", _is_dense),))

    objective: ObjectiveConfig = option(ObjectiveConfig, "the contrastive objective")
    queue: QueueConfig = option(QueueConfig, "the negatives")
    norm: NormConfig = option(NormConfig, "batch norm in training")
    rewind: MoCoRewindConfig = option(MoCoRewindConfig, "where a round starts from")

    def __post_init__(self) -> None:
        super().__post_init__()
        images, splits = self.train.batch_size, self.norm.splits
        expected = f"a multiple of norm.splits ({splits}) with at least 2 images in each part"
        require(images % splits == 0 and images >= 2 * splits, "train.batch_size", images, expected)
