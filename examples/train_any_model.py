"""Train any PyTorch network under a ticket's mask: a plain torchvision training loop, and two lines of ours.

    python examples/train_any_model.py                                 # generated images, and a ticket made on the spot
    python examples/train_any_model.py --ticket T.safetensors --prefix backbone.

The network is torchvision's ResNet-18; the images are torchvision's FakeData, so nothing is downloaded and nothing is learnt.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
import torchvision
from torch import nn
from torch.utils.data import DataLoader
from torchvision import transforms

from common.data.inputs import UNIT_INPUT
from common.errors import InputError
from common.tickets import Description, Mask, NetworkState, find_scope, load_ticket, save_ticket
from common.tickets.allocation import keep_global
from common.tickets.hold import hold
from common.tickets.rewind import capture
from common.tickets.scores import magnitude

ARCH = {"name": "resnet18", "stem": "7x7", "in_chans": 3, "variant": None}


class Classifier(nn.Module):
    """A network with a backbone as a part, as most projects have one."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.backbone = torchvision.models.resnet18(weights=None)
        self.backbone.fc = nn.Identity()
        self.head = nn.Linear(512, classes)

    def forward(self, x_NCHW: torch.Tensor) -> torch.Tensor:
        """Return logits (N, classes) of float images (N, 3, H, W)."""
        return self.head(self.backbone(x_NCHW))


def make_ticket(path: Path, backbone: nn.Module, density: float) -> None:
    """Write a ticket that keeps the largest weights of a backbone as it stands (one-shot magnitude pruning).

    A search (`python -m SimCLR`) writes better ones; this one shows what a ticket is made of.
    """
    scope = find_scope(backbone)
    weights = scope.parameters(backbone)
    dense = Mask.dense({name: tuple(weight.shape) for name, weight in weights.items()})
    mask = keep_global(magnitude(weights), dense, round(density * dense.size))
    empty = dict.fromkeys(("folder", "objective", "data", "split", "recipe", "config", "seed", "round", "run"))
    description = Description(
        arch=ARCH,
        scope={"include": list(scope.include), "exclude": list(scope.exclude)},
        origin={**empty, "importer": "one-shot magnitude"},
        rewind={"to": "init", "at": None},
        input=UNIT_INPUT.to_json(),
    )
    save_ticket(path, mask, description, weights=NetworkState(capture(backbone), {}))


def train(model: nn.Module, mask: Mask, epochs: int, images: int) -> float:
    """Train as ever; the two lines are marked. Returns the loss of the last batch."""
    data = torchvision.datasets.FakeData(images, (3, 32, 32), 10, transforms.ToTensor())
    batches = DataLoader(data, batch_size=16, shuffle=True)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)
    loss = torch.tensor(float("nan"))
    with hold(model, optimizer, mask):  # line two: pruned weights, gradients and momentum stay zero inside the block
        for _ in range(epochs):
            for x_NCHW, labels_N in batches:
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(x_NCHW), labels_N)
                loss.backward()
                optimizer.step()
    return float(loss.detach())


def main(argv: Sequence[str] | None = None) -> int:
    """Run the example; return 0 if the mask held."""
    parser = argparse.ArgumentParser(description="Train any PyTorch network under a ticket's mask.")
    parser.add_argument("--ticket", type=Path, help="ticket of a ResNet-18 with a 7x7 stem (default: one is made)")
    parser.add_argument("--prefix", default="backbone.", help="where the network has its backbone (default: backbone.)")
    parser.add_argument("--density", type=float, default=0.2, help="of the ticket that is made, in (0, 1] (default: 0.2)")
    parser.add_argument("--out", type=Path, default=Path("example_ticket.safetensors"), help="where it is written")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--images", type=int, default=64, help="number of generated images (default: 64)")
    words = parser.parse_args(argv)
    torch.manual_seed(0)
    model = Classifier(10)
    try:
        if words.ticket is None:
            make_ticket(words.out, model.backbone, words.density)
        mask = load_ticket(words.ticket or words.out).apply_to(model, prefix=words.prefix)  # line one: weights in, zeros in place
    except InputError as error:
        parser.exit(2, f"{error}\n")
    loss = train(model, mask, words.epochs, words.images)
    parameters = dict(model.named_parameters())
    alive = sum(int((parameters[name].detach()[~kept] != 0).sum()) for name, kept in mask.items())
    print(f"density {mask.density:.4f}, last loss {loss:.3f}, pruned weights that are not zero: {alive}")
    return 0 if alive == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
