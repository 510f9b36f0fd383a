"""Batch norms of a decoder, and what they do with one value per channel."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional


class OneValueBatchNorm2d(nn.BatchNorm2d):
    """A batch norm that lets a last batch of one image through a branch that pools it to one pixel.

    One value has no variance, and torch raises. Here the running statistics norm it, as in eval mode, and stay as they are; the
    norm's weight and bias train. Whatever has two values or more per channel is normed as ever.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Return (N, C, H, W), normed."""
        if not self.training or input.numel() > input.shape[1]:
            return super().forward(input)
        return functional.batch_norm(input, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps)


def take_single_values_(module: nn.Module) -> None:
    """Replace every batch norm in a module by one that takes single values, in place; parameters stay the same objects."""
    for name, child in module.named_children():
        if type(child) is nn.BatchNorm2d:
            norm = OneValueBatchNorm2d(child.num_features, child.eps, child.momentum)
            norm.weight, norm.bias = child.weight, child.bias
            norm.load_state_dict(child.state_dict())
            setattr(module, name, norm)
        else:
            take_single_values_(child)


def set_momentum_(module: nn.Module, momentum: float | None) -> None:
    """Set how fast the running statistics of a module's batch norms follow, in (0, 1]; None: they stay torch's."""
    for child in module.modules():
        if momentum is not None and isinstance(child, nn.modules.batchnorm._BatchNorm):
            child.momentum = momentum
