"""What of a study waits, what is out, and what became of the rest; whoever runs things, here or on a cluster, keeps it here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from common.studies.plan import Job, Plan, is_done
from common.studies.progress import ProgressLine

ATTEMPTS = 2
"""A job is given up when this many processes died of it."""


def jobs_left(plan: Plan) -> list[Job]:
    """Return what is to run; what a search feeds is asked again with it, since its tickets may become others."""
    left: list[Job] = []
    for job in plan.jobs:  # searches come first
        if not is_done(job) or {other.id for other in left}.intersection(job.needs):
            left.append(job)
    return left


class Ledger:
    """The jobs that are left of a plan.

    Attributes:
        failed: for every job that did not end well, why not.
        waiting: jobs that nobody has taken, by id.
        pending: ids of the jobs that have not ended: those that wait and those that are out.
    """

    def __init__(self, left: Sequence[Job], chains: Mapping[str, float]) -> None:
        """Begin with every job waiting; `chains` says for each how long what begins with it takes (`estimate.chains`)."""
        self.failed: dict[str, str] = {}
        self.waiting = {job.id: job for job in left}
        self.pending = set(self.waiting)
        self._chains = chains
        self._attempts: dict[str, int] = {}

    def ready(self) -> list[Job]:
        """Return the jobs that wait for nothing but somebody to run them, the longest chain first."""
        ready = [job for job in self.waiting.values() if not self.pending.intersection(job.needs)]
        return sorted(ready, key=lambda job: -self._chains[job.id])

    def take(self, job: Job) -> None:
        """Hand a job out."""
        del self.waiting[job.id]
        self._attempts[job.id] = self._attempts.get(job.id, 0) + 1

    def try_again(self, job: Job) -> bool:
        """Put a job back whose process died; say whether it has an attempt left, without which it stays out."""
        if self._attempts[job.id] >= ATTEMPTS:
            return False
        self.waiting[job.id] = job
        return True

    def ended(self, job: Job, error: str | None, done: str, left: float | None, progress: ProgressLine) -> None:
        """Note that a job has ended, and give up what needs one that failed.

        Args:
            job: the job.
            error: why it failed; None: it did not.
            done: what is said of one that did not, such as "done in 3 s".
            left: estimated seconds until everything has ended; None: unknown.
            progress: where it is said.
        """
        self.pending.discard(job.id)
        if error is None:
            progress.ended(job.id, done, left)
            return
        self.failed[job.id] = error
        progress.ended(job.id, f"failed: {error}", left)
        self._give_up_what_needs(job, progress)

    def _give_up_what_needs(self, job: Job, progress: ProgressLine) -> None:
        for other in [other for other in self.waiting.values() if job.id in other.needs]:
            self.waiting.pop(other.id, None)
            self.pending.discard(other.id)
            self.failed[other.id] = f"not run: it needs {job.id}, which failed"
            progress.ended(other.id, self.failed[other.id], None)
            self._give_up_what_needs(other, progress)


def what_is_wrong(job: Job, code: object, said: object) -> str | None:
    """Return in one line why a job that reported has failed, or None where it has not.

    Args:
        job: the job.
        code: the exit code of its report.
        said: the error of its report, if any.
    """
    if code != 0:
        return " ".join(str(said or f"exit code {code}").split())
    if not (job.run / "result.json").is_file():
        return f"ended without an error and without {job.run / 'result.json'}"
    return None
