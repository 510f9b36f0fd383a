"""What one job on a cluster does: some runs of one folder, one after another. Runs on the node that the cluster chose."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

from common.studies.workers import ONE_THREAD


@dataclass(frozen=True)
class Chunk:
    """Runs of one folder.

    Attributes:
        folder: the package that runs them.
        processes: 1: all runs in a process `python -m FOLDER --jobs JOBS`; more: each run by torchrun, in so many processes.
        jobs: file with their command lines, a JSON list of words in each line.
        reports: file that gets one line of JSON about each, at least {"job", "code"}.
        directory: where the study was started, which relative paths are of.
    """

    folder: str
    processes: int
    jobs: str
    reports: str
    directory: str

    def __call__(self) -> int:
        """Do the runs; those that are done already say so at once. Returns 0 where every run ended well, else 1."""
        with open(os.path.join(self.directory, self.reports), "w", encoding="utf-8") as out:
            if self.processes == 1:
                return int(self._start(["-m", self.folder, "--jobs", self.jobs], out) != 0)
            worst = 0
            with open(os.path.join(self.directory, self.jobs), encoding="utf-8") as lines:
                for number, line in enumerate(lines):
                    code = self._start([*self._launcher(), "-m", self.folder, *json.loads(line)], None)
                    out.write(json.dumps({"job": number, "code": code}) + "\n")
                    out.flush()
                    worst = max(worst, int(code != 0))
            return worst

    def _launcher(self) -> list[str]:
        return ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={self.processes}"]

    def _start(self, words: list[str], out: Any) -> int:
        env = {**os.environ, **ONE_THREAD, "PYTHONUNBUFFERED": "1"}
        command = [sys.executable, *words]
        return subprocess.run(command, stdin=subprocess.DEVNULL, stdout=out, cwd=self.directory, env=env, check=False).returncode

    def checkpoint(self) -> Any:
        """Be queued again, as it is, when time runs out or the job is preempted: its runs go on where they were."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)
