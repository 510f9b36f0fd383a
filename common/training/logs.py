"""Logs: losses read every n steps, metrics.jsonl, TensorBoard, Weights & Biases. Nothing here reads the device inside a step."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from common.errors import DivergenceError
from common.files import write_text
from common.training.distributed import is_first, mean_over_ranks
from common.training.run import Run
from common.training.wandb_run import WandbRun


class MetricsFile:
    """metrics.jsonl: one JSON object a line, with "round" and "step"."""

    def __init__(self, path: Path, *, resumed_at: tuple[int, int]) -> None:
        """Open for appending, after cutting off what the run will write again.

        Args:
            path: the file.
            resumed_at: (round, number of steps done in it) of the checkpoint that the run goes on from. The losses of its last
                step are at that number less one, so a line at the number itself belongs to what comes after the checkpoint.
        """
        self._path = path
        if path.exists():
            write_text(
                path, "".join(line for line in path.read_text(encoding="utf-8").splitlines(True) if _is_before(line, resumed_at))
            )
        self._file: IO[str] = open(path, "a", encoding="utf-8")  # noqa: SIM115  (closed by close)

    def write(self, values: Mapping[str, Any]) -> None:
        """Append one line."""
        self._file.write(json.dumps(values, sort_keys=True) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _is_before(line: str, position: tuple[int, int]) -> bool:
    """Say whether a line is whole and before a position."""
    if not line.endswith("\n"):
        return False
    try:
        values = json.loads(line)
        return (values["round"], values["step"]) < position
    except (ValueError, KeyError):
        return False


class Log:
    """What a run writes for eyes: metrics.jsonl always, TensorBoard and Weights & Biases if asked.

    Args:
        directory: the run directory.
        resumed_at: (round, step) of the checkpoint that the run goes on from.
        every: optimizer steps between two readings of the losses.
        tensorboard: write event files too.
        wandb: takes the same values; closed with the log.
    """

    def __init__(
        self, directory: Path, *, resumed_at: tuple[int, int], every: int, tensorboard: bool, wandb: WandbRun | None = None
    ) -> None:
        self._metrics = MetricsFile(directory / "metrics.jsonl", resumed_at=resumed_at) if is_first() else None
        self._every = every
        self._pending: list[tuple[int, int, float, dict[str, Tensor]]] = []
        self._events = _event_writer(directory / "tensorboard") if tensorboard and is_first() else None
        self._wandb = wandb

    def losses(self, round_: int, step: int, rate: float, losses: Mapping[str, Tensor]) -> None:
        """Remember a step's losses on the device; read them all every n steps.

        Raises:
            DivergenceError: a loss is not finite; names the step.
        """
        self._pending.append((round_, step, rate, {name: value.detach() for name, value in losses.items()}))
        if len(self._pending) >= self._every:
            self.read()

    def read(self) -> None:
        """Read the remembered losses, check them, and write their mean.

        Raises:
            DivergenceError: a loss is not finite; names the step.
        """
        if not self._pending:
            return
        names = list(self._pending[0][3])
        rows = mean_over_ranks(
            torch.stack([torch.stack([losses[name].float() for name in names]) for *_, losses in self._pending])
        ).tolist()
        for (round_, step, _, _), row in zip(self._pending, rows, strict=True):
            for name, value in zip(names, row, strict=True):
                if not math.isfinite(value):
                    self._pending.clear()
                    raise DivergenceError(
                        f"the loss ({name}) is {value} at step {step} of round {round_}; lower optim.lr or look at the data. "
                        f"The last good checkpoint is kept"
                    )
        round_, step, rate, _ = self._pending[-1]
        means = {f"loss/{name}": sum(row[i] for row in rows) / len(rows) for i, name in enumerate(names)}
        self.values(round_, step, {"lr": rate, **means})
        self._pending.clear()

    def values(self, round_: int, step: int, values: Mapping[str, float]) -> None:
        """Write values at a position."""
        if self._metrics is not None:
            self._metrics.write({"round": round_, "step": step, **values})
        if self._events is not None:
            for name, value in values.items():
                self._events.add_scalar(f"round_{round_:02d}/{name}", value, step)
        if self._wandb is not None:
            self._wandb.values(round_, step, values)

    def image(self, round_: int, step: int, name: str, image_3HW: Tensor) -> None:
        """Show an image, uint8 (3, H, W), in TensorBoard, where there is one."""
        if self._events is not None:
            self._events.add_image(f"round_{round_:02d}/{name}", image_3HW, step)

    def close(self) -> None:
        """Flush and close every file; losses that were not read are lost with the steps that they belong to."""
        if self._metrics is not None:
            self._metrics.close()
        if self._events is not None:
            self._events.close()
        if self._wandb is not None:
            self._wandb.close()


def open_log(run: Run, resumed_at: tuple[int, int]) -> Log:
    """Open the logs that a run's configuration asks for; see `Log` and `WandbRun`."""
    config = run.invocation.config
    curves = WandbRun(run) if config.log.wandb and is_first() else None
    return Log(run.path, resumed_at=resumed_at, every=config.train.log_every, tensorboard=config.log.tensorboard, wandb=curves)


def _event_writer(directory: Path) -> Any:
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(directory))
