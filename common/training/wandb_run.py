"""Curves in Weights & Biases, beside TensorBoard and under the same names; the package is imported only where it is asked for."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

from common.config import LogConfig, as_tree
from common.errors import InputError, RunError
from common.files import canonical_json, sha256_bytes
from common.provenance import version_of
from common.training.distributed import broadcast, is_first
from common.training.run import Run

PROJECT = "pretraining-tickets"
_WITHOUT = "or set log.wandb false"


def check_wandb(config: LogConfig) -> None:
    """Refuse, before anything is written and the same on every process, curves that could not be kept.

    Raises:
        InputError: the package is not installed, or nobody is logged in and WANDB_MODE is not offline.
    """
    if config.wandb:
        problem = broadcast(_problem() if is_first() else None)
        if problem is not None:
            raise InputError(f"log.wandb: {problem}, {_WITHOUT}")


def _problem() -> str | None:
    if version_of("wandb") is None:
        return "the package wandb is not installed; pip install wandb"
    import wandb

    try:
        wandb.login()
    except wandb.Error as error:
        return f"{error} To write to the disk alone set WANDB_MODE=offline"
    return None


class WandbRun:
    """A run's curves in Weights & Biases; a resumed run goes on under the identity that its first attempt had.

    Its steps are those of our rounds. What a killed attempt wrote behind its last checkpoint is written again, at the same steps
    and with the same values.

    Args:
        run: the run directory, which takes the local files.

    Raises:
        RunError: the service does not answer or refuses.
    """

    def __init__(self, run: Run) -> None:
        import wandb

        self._hooks = sys.excepthook, sys.exit
        config = run.invocation.config
        offline = wandb.setup().settings.mode in ("offline", "disabled")
        try:
            self._run = wandb.init(
                project=config.log.wandb_project or os.environ.get("WANDB_PROJECT", PROJECT),
                name=run.name,
                group=run.path.parent.name,
                id=_identity(run),
                resume=None if offline else "allow",
                dir=str(run.path),
                config=as_tree(config),
                settings=wandb.Settings(console="off", silent=offline),
            )
        except wandb.Error as error:
            self._put_back()
            raise RunError(f"log.wandb: {error}; to write to the disk alone set WANDB_MODE=offline, {_WITHOUT}") from error
        self._rounds: set[int] = set()

    def values(self, round_: int, step: int, values: Mapping[str, float]) -> None:
        """Write values at a position."""
        place, own = f"round_{round_:02d}", f"round_{round_:02d}/step"
        if round_ not in self._rounds:
            self._run.define_metric(own, hidden=True)
            self._run.define_metric(f"{place}/*", step_metric=own)
            self._rounds.add(round_)
        self._run.log({own: step, **{f"{place}/{name}": value for name, value in values.items()}})

    def close(self) -> None:
        """Send what is left; inside the handling of an error the run counts as failed."""
        self._run.finish(exit_code=0 if sys.exc_info()[0] is None else 1)
        self._put_back()

    def _put_back(self) -> None:
        """End the service's process and take its hooks off this one."""
        import wandb

        wandb.teardown()
        sys.excepthook, sys.exit = self._hooks


def _identity(run: Run) -> str:
    """Name a run for ever and apart from the same run elsewhere: by its name and where and when it was begun."""
    first = run.record["attempts"][0]
    return sha256_bytes(canonical_json([run.name, first["host"], first["pid"], first["started"]]).encode())[:16]
