"""The head that a ticket carries, and whether it judges a target."""

from __future__ import annotations

from torch import nn

from common.data.datasets import Dataset
from common.errors import InputError
from common.models.heads import linear_head
from common.tickets.ticket import Ticket, load_ticket
from common.training.evaluation import Subject, is_imported
from Downstream.config import DownstreamConfig


def find_head(subject: Subject, config: DownstreamConfig, dataset: Dataset) -> nn.Linear | None:
    """Return the classifier that `evaluation.head` judges a subject with; None: by k-NN.

    A head's classes must be the data's, in their order. A ticket that says what it was trained on must name the data; of one that
    does not, only the number of classes is checked.

    Args:
        subject: what is judged.
        config: `evaluation.head`, and which of the ticket's weights are judged.
        dataset: the target.

    Raises:
        InputError: a ticket's head is asked for, and there is none that fits, or no ticket.
    """
    choice = config.evaluation.head
    if choice == "knn" or (choice == "auto" and (subject.ticket is None or not is_imported(subject.ticket))):
        return None
    if subject.ticket is None:
        raise InputError(f"evaluation.head: got ticket, but {subject.path} is no ticket; expected auto or knn")
    ticket = load_ticket(subject.ticket)
    head, against = _classifier(ticket, config, dataset)
    if head is None and choice == "ticket":
        raise InputError(f"evaluation.head: got ticket, but {subject.ticket} {against}; expected auto or knn")
    return head


def _classifier(ticket: Ticket, config: DownstreamConfig, dataset: Dataset) -> tuple[nn.Linear | None, str]:
    """Return the ticket's classifier where it fits the data, else what is against it."""
    if not ticket.has_weights:
        return None, "is a mask without weights"
    trained_on = ticket.header["origin"]["data"]
    if trained_on not in (None, dataset.name):
        return None, f"has a head for the classes of {trained_on}, not of {dataset.name}"
    given = (ticket.trained_weights() if config.ticket.weights == "trained" else ticket.rewind_point()).head
    shapes = {name: tuple(tensor.shape) for name, tensor in given.items()}
    classes = len(dataset.classes)
    if set(shapes) != {"weight", "bias"} or shapes["weight"][0] != classes or shapes["bias"] != (classes,):
        return None, f"has no classifier of {classes} classes (its head is {shapes or 'none'})"
    head = linear_head(shapes["weight"][1], classes, seed=0)
    head.load_state_dict(dict(given))
    return head, ""
