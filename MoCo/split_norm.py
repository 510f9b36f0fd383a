"""Batch norm over parts of a batch: what several GPUs without SyncBatchNorm compute, on any number of processes.

MoCo needs it (He et al. 2020, section 3.3): where queries and keys of a batch share their statistics, the network reads from them
which key belongs to which query. Keys are therefore computed in another order, so that other images share their statistics.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from common.errors import InputError
from common.training.distributed import mean_over_ranks, world_size


class SplitBatchNorm2d(nn.BatchNorm2d):
    """Batch norm that norms every contiguous part of a training batch by itself; in eval mode it is `BatchNorm2d`.

    The running statistics take the mean over the parts of what each part would have made of them.

    Args:
        norm: what it stands for; parameters and running statistics are shared with it.
        parts: equal parts of a batch, >= 1.
    """

    def __init__(self, norm: nn.BatchNorm2d, parts: int) -> None:
        super().__init__(norm.num_features, norm.eps, norm.momentum, norm.affine)
        self.parts = parts
        self.weight, self.bias = norm.weight, norm.bias
        self.running_mean, self.running_var = norm.running_mean, norm.running_var
        self.num_batches_tracked = norm.num_batches_tracked
        self.train(norm.training)

    def forward(self, input: Tensor) -> Tensor:
        """Norm float images (N, C, H, W).

        Raises:
            InputError: in training, N is no multiple of the parts.
        """
        if not self.training:
            return super().forward(input)
        self._check_input_dim(input)
        if len(input) % self.parts:
            raise InputError(f"norm.splits: got a batch of {len(input)} images, expected a multiple of {self.parts}")
        means_PC, variances_PC = (own.expand(self.parts, -1).clone() for own in self._running())
        factor = self._count()
        normed = [
            functional.batch_norm(part, mean_C, variance_C, self.weight, self.bias, True, factor, self.eps)
            for part, mean_C, variance_C in zip(input.chunk(self.parts), means_PC, variances_PC, strict=True)
        ]
        for own, parts_PC in zip(self._running(), (means_PC, variances_PC), strict=True):
            own.copy_(parts_PC.mean(0))
        return torch.cat(normed)

    def _running(self) -> tuple[Tensor, Tensor]:
        return self.running_mean, self.running_var

    def _count(self) -> float:
        """Count the batch; return its weight in the running statistics: the momentum, or that of a cumulative mean."""
        self.num_batches_tracked.add_(1)
        return 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum


def check_splits(module: nn.Module, splits: int) -> None:
    """Refuse parts that batch norms cannot be given.

    Args:
        module: the network.
        splits: parts of the whole batch, over all processes together.

    Raises:
        InputError: the processes cannot have equally many parts, or the module has batch norms of another kind.
    """
    if splits % world_size():
        raise InputError(f"norm.splits: got {splits}, expected a multiple of the {world_size()} processes")
    for _, _, norm in _norms(module):
        if splits > 1 and not (type(norm) is nn.BatchNorm2d and norm.track_running_stats):
            kind = type(norm).__name__
            raise InputError(
                f"norm.splits: got {splits}, but this backbone has {kind} layers, which cannot be split; set it to 1"
            )


def split_norms_(module: nn.Module, splits: int) -> None:
    """Replace the batch norms inside a module by ones over parts of the batch, in place.

    Parameters and buffers stay the same objects under the same names, so masks, optimizers and state dicts do not notice.
    Arguments and errors as `check_splits`; one part leaves everything as it is.
    """
    check_splits(module, splits)
    if splits > 1:
        for parent, name, norm in _norms(module):
            setattr(parent, name, SplitBatchNorm2d(norm, splits // world_size()))


def _norms(module: nn.Module) -> list[tuple[nn.Module, str, _BatchNorm]]:
    """Return (parent, name, norm) of every batch norm inside a module."""
    children = [(parent, name, child) for parent in module.modules() for name, child in parent.named_children()]
    return [(parent, name, child) for parent, name, child in children if isinstance(child, _BatchNorm)]


@torch.no_grad()
def agree_on_statistics_(modules: Iterable[nn.Module]) -> None:
    """Set the running statistics of every batch norm to their mean over the processes, in one exchange."""
    if world_size() == 1:
        return
    norms = [norm for module in modules for _, _, norm in _norms(module)]
    own = [tensor for norm in norms for tensor in (norm.running_mean, norm.running_var) if tensor is not None]
    agreed = mean_over_ranks(torch.cat([tensor.flatten() for tensor in own]))
    for tensor, part in zip(own, agreed.split([tensor.numel() for tensor in own]), strict=True):
        tensor.copy_(part.view_as(tensor))
