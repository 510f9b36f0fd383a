"""One data set, many tickets, with and without the cache of decoded images: `python -m benchmarks.many_tickets`.

200 JPEGs of 500 x 375 px (`benchmarks.photos`, two classes), evaluated at 224 px for 8 tickets of densities .8, .64 ... As runs
of Downstream do, every ticket opens the data set anew and brings its images to a network's input. The cache begins empty in every
repeat, so that filling it counts.

`many_tickets` is the seconds of that without the cache over those with it. Beside it: the same with the network and a k-NN
classifier behind (ResNet-50 on a GPU, MobileNetV3 small at half width on a CPU), and how often image files were opened,
counted by Python's audit hook in a pass of its own. Both sides must give the same accuracies, or the benchmark fails.
"""

from __future__ import annotations

import sys
import tempfile
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.measure import arguments, interleaved, median_ratio, report
from benchmarks.photos import write_photos
from common.data.datasets import Dataset, load_data
from common.data.reading import Reading
from common.errors import RunError
from common.metrics.knn import knn_accuracy
from common.models.backbones import build_backbone
from common.tickets.allocation import keep_global
from common.tickets.mask import Mask
from common.tickets.scope import find_scope
from common.tickets.scores import magnitude
from common.training.frozen import features_of, normalised_batches

TRAIN, TEST, TICKETS, SIZE = 160, 40, 8, 224
CLASSES = ("temple", "flower")


@dataclass
class Opened:
    """Counts the image files that Python opens, while it is asked to.

    A hook stays as long as the process.
    """

    names: list[str] = field(default_factory=list)
    counts: bool = False

    def __post_init__(self) -> None:
        sys.addaudithook(self._hear)

    def _hear(self, event: str, words: tuple[Any, ...]) -> None:
        # numpy opens a file twice: once by name, once more by its descriptor's name.
        if self.counts and event == "open" and str(words[0]).endswith(".jpg"):
            self.names.append(str(words[0]))

    def during(self, action: Callable[[], object]) -> int:
        """Return how many files an action opens, a file as often as it is read."""
        self.names.clear()
        self.counts = True
        action()
        self.counts = False
        return len(self.names) // 2


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; return 0."""
    options = arguments("many_tickets", __doc__ or "", argv, repeats=3)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        places = [f"{'train' if i < TRAIN else 'test'}/{CLASSES[i % 2]}/{i:04d}.jpg" for i in range(TRAIN + TEST)]
        size = write_photos(root, places)
        reading = interleaved({name: partial(_read, root, cached) for name, cached in _CASES.items()}, options.repeats)
        network, masks = _tickets(device)
        found: dict[bool, list[float]] = {}
        whole = {name: partial(_evaluate, root, cached, network, masks, found) for name, cached in _CASES.items()}
        evaluation = interleaved(whole, 1)
        if found[True] != found[False]:
            raise RunError("the accuracies differ with and without the cache")
        opened = Opened()
        files = {name: opened.during(partial(_read, root, cached, workers=0)) for name, cached in _CASES.items()}
    other = {
        "many_tickets_evaluation": median_ratio(evaluation["without"], evaluation["with"]),
        **{f"images_opened_{name}": count for name, count in files.items()},
        "images": TRAIN + TEST,
        "tickets": TICKETS,
        "mean_jpeg_kB": size,
    }
    report({"many_tickets": median_ratio(reading["without"], reading["with"])}, other, options.json)
    return 0


_CASES = {"without": False, "with": True}


def _each_opened(root: Path, cached: bool, workers: int | None, use: Callable[[Dataset, int], Any]) -> list[Any]:
    """Open the data set for every ticket, the cache empty at first, and use it."""
    with tempfile.TemporaryDirectory() as folder:
        cache = folder if cached else None
        words: dict[str, Any] = {"size": SIZE, "storage": "files", "reading": Reading(workers), "cache": cache}
        return [use(load_data("folder", root=str(root), **words), ticket) for ticket in range(TICKETS)]


def _read(root: Path, cached: bool, workers: int | None = None) -> None:
    def use(data: Dataset, _: int) -> None:
        for part in data.splits.values():
            deque(normalised_batches(part, data.input, torch.device("cpu")), maxlen=0)

    _each_opened(root, cached, workers, use)


def _tickets(device: torch.device) -> tuple[nn.Module, list[Mask]]:
    name = "resnet50" if device.type == "cuda" else "mobilenetv3_small_050"
    backbone = build_backbone(name, stem="native", seed=0)
    parameters = find_scope(backbone).parameters(backbone)
    masks = [Mask.dense({name: parameter.shape for name, parameter in parameters.items()})]
    for _ in range(TICKETS):
        masks.append(keep_global(magnitude(parameters), masks[-1], round(0.8 * masks[-1].kept)))
    return backbone.to(device), masks[1:]


def _evaluate(root: Path, cached: bool, network: nn.Module, masks: list[Mask], found: dict[bool, list[float]]) -> None:
    """Find every ticket's k-NN accuracy on the test images."""
    device = next(network.parameters()).device
    dense = {name: network.get_parameter(name).detach().clone() for name in masks[0]}

    def use(data: Dataset, ticket: int) -> float:
        with torch.no_grad():
            for name, kept in masks[ticket].items():
                network.get_parameter(name).copy_(dense[name] * kept.to(device))
        bank, test = (features_of(network, part, data.input, device) for part in (data.train, data.test))
        return knn_accuracy(test, data.test.labels.to(device), bank, data.train.labels.to(device))

    found[cached] = _each_opened(root, cached, None, use)
    with torch.no_grad():
        for name, weight in dense.items():
            network.get_parameter(name).copy_(weight)


if __name__ == "__main__":
    sys.exit(main())
