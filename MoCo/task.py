"""The MoCo task: a query encoder that trains, a key encoder that follows it, and a queue of keys.

Shapes: N images of this process, M of the whole batch, D projection width, K keys in the queue.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from itertools import count, islice
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from common.config import TrainConfig
from common.data.datasets import Dataset
from common.data.transfer import to_device
from common.models.heads import Network, projection_head
from common.randomness import generator
from common.tickets.rewind import capture, restore_
from common.training.distributed import gather_rows, is_first, share
from common.training.given_head import load_projection_
from common.training.precision import autocast
from common.training.pretraining import Setting
from common.training.pretraining_task import PretrainingTask
from common.training.views import TrainViews
from MoCo.config import MoCoConfig
from MoCo.key_queue import KeyQueue
from MoCo.objective import info_nce
from MoCo.split_norm import agree_on_statistics_, check_splits, split_norms_

ShuffledBatch = tuple[tuple[Tensor, ...], Tensor, Tensor]


def build_task(setting: Setting) -> MoCoTask:
    """Put a projection head on the backbone and make the task."""
    head = projection_head(int(setting.backbone.num_features), setting.config.objective.head, seed=setting.seed)
    load_projection_(head, setting.start, setting.config.start.head, "moco")
    network = Network(setting.backbone, head.to(setting.device))
    return MoCoTask(setting.config, network, setting.dataset, setting.device, setting.seed)


class MoCoTask(PretrainingTask):
    """Momentum contrast (He et al. 2020, algorithm 1); labels only judge the k-NN classifier, never the weights.

    The key encoder starts as a copy of the query encoder and, after every step, moves its parameters towards it; its norms
    keep statistics of their own. A rewind makes it a copy again. Where both hold zeros, as pruned weights do, so does the mean
    of both: the query's mask is the key's mask too, at every step.

    Args:
        config: objective, queue, norms, views, batch size, evaluation.
        network: backbone and head, on the device: the query encoder.
        dataset: images.
        device: where everything is computed.
        seed: the search's seed.

    Raises:
        InputError: the norms cannot be split as asked.
    """

    config: MoCoConfig
    sync_norms = False

    def __init__(self, config: MoCoConfig, network: Network, dataset: Dataset, device: torch.device, seed: int) -> None:
        super().__init__(config, network, dataset, device, seed, views=2)
        check_splits(network, config.norm.splits)
        self.device = device
        self.key_encoder = copy.deepcopy(network).requires_grad_(False).train()
        self._key_call: Any = self.key_encoder
        self._parameters = list(self.key_encoder.parameters()), list(network.parameters())
        self.queue = KeyQueue(config.queue.size, config.objective.head[-1], device)
        self._to_fill: str | None = config.queue.start
        self._stored_queue: Mapping[str, Any] | None = None
        self._new_keys: list[Tensor] = []

    def prepare_(self, config: TrainConfig) -> None:
        """Split the norms and lay out both encoders; distribute the query encoder, the only one with gradients."""
        for encoder in (self.network, self.key_encoder):
            split_norms_(encoder, self.config.norm.splits)
        super().prepare_(config)
        if config.channels_last:
            self.key_encoder.to(memory_format=torch.channels_last)
        if config.compile:
            self._key_call = torch.compile(self.key_encoder)
        images = len(self.images["train"])
        if len(self.queue) > images and is_first():
            print(f"queue.size {len(self.queue)} is more than the {images} training images: each is among its own negatives")

    def train_batches(self, round: int, epoch: int, first: int) -> Iterator[ShuffledBatch]:
        """Yield ((view, view), labels, order) from step `first` on, after filling a queue that is to be filled.

        The order is a permutation of the whole batch, int64 (M,), the same on every process: the one that keys are computed in.
        """
        if self._to_fill is not None:
            self._fill_queue_(round)
        start = first * self.config.train.accumulate
        for number, (views, labels) in enumerate(super().train_batches(round, epoch, first), start=start):
            yield views, labels, self._permutation(round, epoch, number)

    def _permutation(self, *position: int) -> Tensor:
        draws = generator(self.seed, "shuffle", *position)
        return to_device(torch.randperm(self.config.train.batch_size, generator=draws), self.device)

    def loss(self, batch: ShuffledBatch) -> dict[str, Tensor]:
        """Return {"total": InfoNCE} of this process's queries against their keys and the queue."""
        (first, second), _, order_M = batch
        pairs = [(first, second), (second, first)] if self.config.objective.symmetric else [(first, second)]
        return {"total": torch.stack([self._contrast(query, key, order_M) for query, key in pairs]).mean()}

    def _contrast(self, query_NCHW: Tensor, key_NCHW: Tensor, order_M: Tensor) -> Tensor:
        """Return InfoNCE of one view's queries and the other view's keys; the keys go into the queue with the step."""
        keys_MD = self._keys(key_NCHW, order_M)
        self._new_keys.append(keys_MD)
        own = share(len(keys_MD))
        q_ND, k_ND = self.forward(query_NCHW), keys_MD[own.start : own.stop]
        return info_nce(q_ND, k_ND, self.queue.keys_KD, temperature=self.config.objective.temperature)

    @torch.no_grad()
    def _keys(self, view_NCHW: Tensor, order_M: Tensor) -> Tensor:
        """Return the keys of the whole batch, in its order, computed in another; unit length, float32 (M, D)."""
        own = share(len(order_M))
        shuffled_NCHW = gather_rows(view_NCHW)[order_M[own.start : own.stop]]
        keys_ND = functional.normalize(self._key_call(self.laid_out(shuffled_NCHW)).float(), dim=1)
        return gather_rows(keys_ND)[order_M.argsort()]

    @torch.no_grad()
    def after_step(self) -> None:
        """Move the key encoder towards the query encoder (He et al. 2020, eq. 2), and the step's keys into the queue."""
        keys, queries = self._parameters
        torch._foreach_lerp_(keys, queries, 1 - self.config.objective.key_momentum)
        for keys_MD in self._new_keys:
            self.queue.push_(keys_MD)
        self._new_keys.clear()
        agree_on_statistics_((self.network, self.key_encoder))

    def _fill_queue_(self, round: int) -> None:
        """Fill the queue with random unit vectors, or with keys of training images by the key encoder as it is now."""
        if self._to_fill == "random":
            self.queue.fill_randomly_(generator(self.seed, "queue", round))
        else:
            self.queue.clear_()
            images = self.config.train.batch_size
            with autocast(self.device, self.config.train.precision):
                for view in islice(self._fill_views(round), -(-len(self.queue) // images)):
                    self.queue.push_(self._keys(view, torch.arange(images, device=self.device)))
        self._to_fill = None

    def _fill_views(self, round: int) -> Iterator[Tensor]:
        """Yield one view of every training image, epoch after epoch, from streams of their own."""
        config, images = self.config, self.images["train"]
        streams = {"order": "queue_order", "stream": "queue_views"}
        views = TrainViews(images, self.views.input, config.augment, config.train, seed=self.seed, views=1, **streams)
        for epoch in count():
            for (view,), _ in views.batches(round, epoch, 0):
                yield view

    def at_rewind_point(self) -> None:
        """Keep the queue as it is, where rewinds are to restore it."""
        if self.config.rewind.queue == "stored":
            if self._to_fill is not None:
                self._fill_queue_(0)
            self._stored_queue = self.queue.state_dict()

    def rewound(self) -> None:
        """Copy the rewound, masked query encoder into the key encoder; bring the queue to what `rewind.queue` says."""
        restore_(self.key_encoder, self.network.state_dict())
        if self.config.rewind.queue == "refill":
            self._to_fill = "keys"
        elif self._stored_queue is not None:
            self.queue.load_state_dict(self._stored_queue)

    def state_dict(self) -> Mapping[str, Any]:
        """Return the key encoder, the queue, and what is yet to become of it."""
        return {
            "key_encoder": capture(self.key_encoder),
            "queue": self.queue.state_dict(),
            "to_fill": self._to_fill,
            "stored_queue": self._stored_queue,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what `state_dict` returned."""
        restore_(self.key_encoder, state["key_encoder"])
        self.queue.load_state_dict(state["queue"])
        self._to_fill, self._stored_queue = state["to_fill"], state["stored_queue"]
