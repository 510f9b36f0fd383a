"""Features of a frozen backbone, and norm statistics estimated anew."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from common.errors import InputError


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Put a module in eval mode without gradients inside the block, then each of its parts back into the mode that it was in."""
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for part, mode in modes.items():
            part.training = mode


def extract_features(backbone: nn.Module, batches: Iterable[Tensor]) -> Tensor:
    """Return the backbone's features in eval mode, float32 (N, D), of normalised image batches (B, C, H, W)."""
    with evaluating(backbone):
        return torch.cat([backbone(batch).float() for batch in batches])


def reestimate_norm_statistics_(backbone: nn.Module, batches: Iterable[Tensor]) -> int:
    """Replace the running statistics of batch norms by their mean over one pass, in place; no weight changes, no label is used.

    A rewound, masked network keeps the dense network's statistics, under which it looks worthless.

    Args:
        backbone: the network; every batch norm in it is reset first.
        batches: normalised image batches (B, C, H, W); each counts alike.

    Returns:
        The number of norm layers. Everything but the norms is in eval mode during the pass, so that dropout does not disturb it.

    Raises:
        InputError: there is no batch.
    """
    norms = [module for module in backbone.modules() if isinstance(module, _BatchNorm) and module.track_running_stats]
    momenta = [norm.momentum for norm in norms]
    with evaluating(backbone):
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # torch's cumulative average
            norm.train()
        try:
            for batch in batches if norms else ():
                backbone(batch)
        finally:
            for norm, momentum in zip(norms, momenta, strict=True):
                norm.momentum = momentum
    if any(int(norm.num_batches_tracked) == 0 for norm in norms if norm.num_batches_tracked is not None):
        raise InputError("norm statistics cannot be re-estimated from no images")
    return len(norms)
