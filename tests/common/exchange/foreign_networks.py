"""Networks of other systems, written out with torch alone from papers and file layouts: what importers are tested against."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

Conv = Callable[..., nn.Module]
WIDTHS = (16, 24, 40, 64)


class WrappedLayer(nn.Module):
    """A layer whose weight is multiplied by its mask before each forward pass (AC/DC, WoodFisher, GMP)."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self._layer = layer
        self.register_buffer("_weight_mask", torch.ones_like(layer.weight))
        if layer.bias is not None:
            self.register_buffer("_bias_mask", torch.ones_like(layer.bias))

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            self._layer.weight.mul_(self._weight_mask)
        return self._layer(x)


class ThresholdConv(nn.Conv2d):
    """STR: soft threshold of the weight, learned for each layer."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.sparseThreshold = nn.Parameter(torch.full((1, 1), -4.0))

    def forward(self, x: Tensor) -> Tensor:
        weight = torch.sign(self.weight) * torch.relu(torch.abs(self.weight) - torch.sigmoid(self.sparseThreshold))
        return functional.conv2d(x, weight, None, self.stride, self.padding, self.dilation, self.groups)


class MaskedConv(nn.Conv2d):
    """TurboPrune: a buffer `mask` of the weight's shape."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.register_buffer("mask", torch.ones_like(self.weight))

    def forward(self, x: Tensor) -> Tensor:
        weight = self.mask * self.weight
        return functional.conv2d(x, weight, None, self.stride, self.padding, self.dilation, self.groups)


class MaskedConv1d(nn.Conv1d):
    """TurboPrune's linear layer."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 1)
        self.register_buffer("mask", torch.ones_like(self.weight))

    def forward(self, x_ND: Tensor) -> Tensor:
        return functional.conv1d(x_ND[:, :, None], self.mask * self.weight, self.bias)[:, :, 0]


class Block(nn.Module):
    """Two 3x3 convolutions, and a 1x1 convolution where the shape changes."""

    def __init__(self, conv: Conv, inputs: int, outputs: int, stride: int, shortcut: str) -> None:
        super().__init__()
        self.conv1 = conv(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = conv(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.side = shortcut if inputs != outputs else None
        if self.side:
            self.add_module(shortcut, nn.Sequential(conv(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)))

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu(self.bn1(self.conv1(x)))
        return functional.relu(self.bn2(self.conv2(y)) + (self.get_submodule(self.side)(x) if self.side else x))


class SmallNet(nn.Module):
    """The project's `resnet_digits` under torchvision's names, with layers of another system."""

    def __init__(
        self,
        conv: Conv = nn.Conv2d,
        linear: Callable[[int, int], nn.Module] = nn.Linear,
        widths: tuple[int, ...] = WIDTHS,
    ) -> None:
        super().__init__()
        self.conv1, self.bn1, self.stages = conv(3, widths[0], 3, 1, 1, bias=False), nn.BatchNorm2d(widths[0]), len(widths)
        for stage, width in enumerate(widths):
            block = Block(conv, widths[max(stage - 1, 0)], width, 1 if stage == 0 else 2, "downsample")
            self.add_module(f"layer{stage + 1}", nn.Sequential(block))
        self.fc = linear(widths[-1], 5)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.bn1(self.conv1(x)))
        for stage in range(self.stages):
            x = self.get_submodule(f"layer{stage + 1}")(x)
        return self.fc(x.mean((2, 3)))


class PointConv(nn.Module):
    """STR's classifier: a 1x1 convolution without bias on pooled features."""

    def __new__(cls, inputs: int, outputs: int) -> Any:
        class Pointwise(ThresholdConv):
            def forward(self, x_ND: Tensor) -> Tensor:
                return super().forward(x_ND[:, :, None, None])[:, :, 0, 0]

        return Pointwise(inputs, outputs, 1, bias=False)


class OpenLthNet(nn.Module):
    """open_lth's CIFAR ResNet-20: a row of blocks."""

    def __init__(self, stages: tuple[int, ...] = (16, 32, 64)) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(3, stages[0], 3, 1, 1, bias=False), nn.BatchNorm2d(stages[0])
        widths = [width for width in stages for _ in range(3)]
        before = [stages[0], *widths[:-1]]
        self.blocks = nn.Sequential(
            *(Block(nn.Conv2d, a, b, 1 if a == b else 2, "shortcut") for a, b in zip(before, widths, strict=True))
        )
        self.fc = nn.Linear(stages[-1], 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(functional.relu(self.bn(self.conv(x))))
        return self.fc(functional.avg_pool2d(x, x.size()[3]).flatten(1))


class MobileNet(nn.Module):
    """MobileNetV1 as Distiller and STR write it (Howard et al. 2017, table 1), with ReLU."""

    def __init__(self, conv: Conv = nn.Conv2d, classes: int = 5, head: Any = nn.Linear) -> None:
        super().__init__()

        def norm(width: int) -> list[nn.Module]:
            return [nn.BatchNorm2d(width), nn.ReLU(inplace=True)]

        rows = [(32, 64, 1), (64, 128, 2), (128, 128, 1), (128, 256, 2), (256, 256, 1), (256, 512, 2)]
        rows += [(512, 512, 1)] * 5 + [(512, 1024, 2), (1024, 1024, 1)]
        blocks = [nn.Sequential(conv(3, 32, 3, 2, 1, bias=False), *norm(32))]
        for inputs, outputs, stride in rows:
            depthwise = conv(inputs, inputs, 3, stride, 1, groups=inputs, bias=False)
            blocks.append(nn.Sequential(depthwise, *norm(inputs), conv(inputs, outputs, 1, 1, 0, bias=False), *norm(outputs)))
        self.model = nn.Sequential(*blocks)
        self.fc = head(1024, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.model(x).mean((2, 3)))


class TensorflowBottlenecks(nn.Module):
    """RigL's bottleneck ResNet under the block names of its conversion: SAME max-pool, stride in the 3x3 convolution."""

    def __init__(self, depths: tuple[int, ...], width: int = 64, classes: int = 5) -> None:
        super().__init__()
        self.initial_conv = _unit(3, 64, 7, 2, 3)
        before, self.depths = 64, depths
        for stage, depth in enumerate(depths):
            inner = width * 2**stage
            blocks = []
            for number in range(depth):
                stride = 2 if stage and number == 0 else 1
                parts = {
                    "conv1": _unit(before, inner, 1, 1, 0),
                    "conv2": _unit(inner, inner, 3, stride, 1),
                    "conv3": _unit(inner, 4 * inner, 1, 1, 0),
                }
                if number == 0:
                    parts["shortcut"] = _unit(before, 4 * inner, 1, stride, 0)
                blocks.append(nn.ModuleDict(parts))
                before = 4 * inner
            self.add_module(f"layer{stage + 1}", nn.ModuleDict({"block": nn.ModuleList(blocks)}))
        self.fc = nn.Linear(before, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(_run(self.initial_conv, x))
        x = functional.max_pool2d(functional.pad(x, (0, 1, 0, 1), value=-torch.inf), 3, 2)  # TensorFlow pads with the least value
        for stage in range(len(self.depths)):
            for block in self.get_submodule(f"layer{stage + 1}.block"):  # type: ignore[attr-defined]
                y = functional.relu(_run(block["conv1"], x))
                y = functional.relu(_run(block["conv2"], y))
                shortcut = _run(block["shortcut"], x) if "shortcut" in block else x
                x = functional.relu(_run(block["conv3"], y) + shortcut)
        return self.fc(x.mean((2, 3)))


def _unit(inputs: int, outputs: int, kernel: int, stride: int, padding: int) -> nn.ModuleDict:
    return nn.ModuleDict({"conv": nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False), "bn": nn.BatchNorm2d(outputs)})


def _run(unit: Any, x: Tensor) -> Tensor:
    return unit["bn"](unit["conv"](x))


def randomised(model: nn.Module, seed: int = 0) -> nn.Module:
    """Give every norm statistics and parameters of its own; return the model in eval mode."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight, module.running_var):
                tensor.data.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
            for tensor in (module.bias, module.running_mean):
                tensor.data.copy_(0.3 * torch.randn(tensor.shape, generator=generator))
    return model.eval()


def random_mask(shape: Any, seed: int, density: float = 0.3) -> Tensor:
    """Return a float mask of 0 and 1 that keeps about `density`, and at least one weight."""
    mask = (torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < density).float()
    mask.view(-1)[0] = 1.0
    return mask
