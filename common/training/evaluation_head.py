"""The head of what `--evaluate` was given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from torch import Tensor

from common.errors import InputError
from common.models.start import read_start_weights
from common.models.start_head import load_classifier_
from common.tickets.ticket import Ticket
from common.training.task import Task

if TYPE_CHECKING:
    from common.training.evaluation import Subject


def load_head_(task: Task, subject: Subject, ticket: Ticket | None, data: str) -> None:
    """Put a subject's own head into a task's network: a run's always, a ticket's or a file's where the task judges with it.

    Args:
        task: its backbone is the subject's already.
        subject: what is judged.
        ticket: the subject's, a run's last one; None for a file of weights.
        data: name of the data set that it is judged on.

    Raises:
        InputError: the task judges with a head, and the subject has none, or one of other classes.
    """
    if subject.run is not None and ticket is not None:
        task.network.head.load_state_dict(dict(ticket.trained_weights().head))
    elif not task.judges_head:
        return
    elif ticket is not None:
        found_on = ticket.header["origin"]["data"]
        if found_on not in (None, data):
            raise _refusal(subject, f"has a head for the classes of {found_on}, not of {data}")
        _load_fitting_(task, subject, ticket.rewind_point().head)
    else:
        report = load_classifier_(task.network.head, task.backbone, read_start_weights(subject.path))  # type: ignore[arg-type]
        if not report.taken:
            raise _refusal(subject, f"cannot be judged as a classifier: {report.text}")


def _load_fitting_(task: Task, subject: Subject, head: Mapping[str, Tensor]) -> None:
    own = {name: tuple(tensor.shape) for name, tensor in task.network.head.state_dict().items()}
    given = {name: tuple(tensor.shape) for name, tensor in head.items()}
    if own != given:
        raise _refusal(subject, f"has no head that fits: got {given or 'none'}, expected {own}")
    task.network.head.load_state_dict(dict(head))


def _refusal(subject: Subject, why: str) -> InputError:
    return InputError(f"--evaluate: {subject.path} {why}; judge its features with Downstream --evaluate")
