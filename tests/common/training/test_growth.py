"""What a further round costs: as many operations as the round before, and a few megabytes of disk."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from common.cli import resolve
from common.models.heads import Network, projection_head
from common.training.pretraining import Setting, run_search
from SimCLR.main import COMMAND
from SimCLR.task import SimCLRTask


class Operations(TorchDispatchMode):
    """Count every operation that reaches a tensor, by name: forward, backward, optimizer, masks, evaluation."""

    def __init__(self) -> None:
        super().__init__()
        self.names: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names[str(func)] += 1
        return func(*args, **(kwargs or {}))


class WatchedTask(SimCLRTask):
    """The real task, which looks at the counters whenever a round is judged."""

    def watch(self, operations: Operations, flops: FlopCounterMode) -> None:
        self.counters, self.seen = (operations, flops), []

    def evaluate(self, split: str) -> dict[str, float]:
        operations, flops = self.counters
        self.seen.append((Counter(operations.names), flops.get_total_flops()))
        return super().evaluate(split)


def test_every_round_takes_as_many_operations_as_the_one_before(tmp_path: Path, small_words: tuple[str, ...]) -> None:
    """From one evaluation to the next: evaluate, prune, rewind, train. Round 1 also fills what is computed once in a process."""
    tasks: list[WatchedTask] = []

    def build(setting: Setting) -> WatchedTask:
        head = projection_head(int(setting.backbone.num_features), (8,), seed=0)
        network = Network(setting.backbone, head)
        tasks.append(WatchedTask(setting.config, network, setting.dataset, setting.device, setting.seed, views=2))
        tasks[0].watch(operations, flops)
        return tasks[0]

    invocation = resolve(COMMAND, [*small_words, f"--out={tmp_path}", "--train.epochs=1"])
    with Operations() as operations, FlopCounterMode(display=False) as flops:
        run_search(invocation, "simclr", build)
    _, (first, flops_1), (second, flops_2), (third, flops_3) = tasks[0].seen
    third.subtract(second)
    second.subtract(first)
    assert second["aten.convolution_backward.default"] > 0
    assert third == second
    assert flops_3 - flops_2 == flops_2 - flops_1 > 0


@pytest.mark.slow
def test_a_further_round_of_resnet50_takes_at_most_4_megabytes(search: Callable[..., Path]) -> None:
    run = search("--model.name=resnet50", "--model.stem=7x7", "--train.epochs=1", "--train.batch_size=256", "--keep.trained=none")
    shared = {"rewind.safetensors", "scores.safetensors"}
    sizes = {path.relative_to(run): path.stat().st_size for path in run.rglob("*") if path.is_file()}
    held: Counter[str] = Counter()
    for path, size in sizes.items():
        held[path.parts[0]] += size
    for round_ in (1, 2, 3):
        result = json.loads((run / f"round_{round_:02d}/result.json").read_text())
        assert len(result["details"]["layer_density"]) == 52
        assert 23_445_504 // 8 < held[f"round_{round_:02d}"] <= 4_000_000
    assert all(size > 90_000_000 for name, size in held.items() if name in shared)
    assert sum(size for name, size in held.items() if name not in shared and not name.startswith("round_")) < 100_000
