"""The head that comes with weights to start from: taken or left as `start.head` says, which is printed and recorded."""

from __future__ import annotations

from typing import Literal

from torch import nn

from common.errors import InputError
from common.models.start_head import load_classifier_
from common.models.start_weights import StartWeights
from common.training.distributed import is_first

Choice = Literal["given", "fresh"] | None


def load_projection_(head: nn.Module, start: StartWeights | None, choice: Choice, objective: str) -> None:
    """Copy the projection head of given weights into a fresh one in place, where the recipe and the weights allow it.

    Args:
        head: `common.models.heads.projection_head`, with fresh weights; unchanged where nothing is taken.
        start: what the search starts from, whose `facts` get what was done; None for fresh weights.
        choice: `start.head`: "given", which must fit; "fresh"; None to take a head that fits if it is this objective's.
        objective: such as "simclr".

    Raises:
        InputError: the choice is "given", and the weights have no head or another one.
    """
    if start is None:
        return
    another = f"the file's projection head was trained on {start.objective or 'what it does not say'}, this is {objective}"
    load_whole_head_(head, start, choice, name="projection head", against=another if start.objective != objective else None)


def load_whole_head_(head: nn.Module, start: StartWeights | None, choice: Choice, *, name: str, against: str | None) -> None:
    """Copy the head of given weights into a fresh one in place, where every tensor of it has the same shape.

    Arguments and errors as `load_projection_`; `name` is what the head is called, and `against` why it is only taken where the
    choice is "given", although it fits.
    """
    if start is None:
        return
    misfit = _against(head, start, name)
    found = misfit or (against if choice is None else None)
    taken = choice != "fresh" and found is None
    _settle(start, choice, taken, f"the head is the file's {name}" if taken else f"{found}, so the head is fresh")
    if taken:
        head.load_state_dict(dict(start.head))


def load_given_classifier_(
    head: nn.Linear, backbone: nn.Module, start: StartWeights | None, choice: Choice, *, against: str | None = None
) -> None:
    """Copy the classifier of given weights into a fresh one in place, where its shape is the head's.

    Arguments and errors as `load_projection_`; the backbone tells which tensors are its own, and `against` why the classifier is
    only taken where the choice is "given", whatever its shape.
    """
    if start is None:
        return
    if choice == "fresh" or (choice is None and against is not None):
        _settle(start, choice, False, f"{against}, so the head is fresh")
        return
    report = load_classifier_(head, backbone, start)
    _settle(start, choice, report.taken, str(report))


def _settle(start: StartWeights, choice: Choice, taken: bool, text: str) -> None:
    """Refuse a head that was asked for and is not there; else print and record what was done."""
    if choice == "given" and not taken:
        raise InputError(f"start.head: got given, but {text.removesuffix(', so the head is fresh')}; expected fresh or null")
    said = "the head is fresh, as start.head says" if choice == "fresh" else text
    start.facts["head"] = {"taken": taken, "why": said}
    if is_first():
        print(f"start.weights: {said}")


def _against(head: nn.Module, start: StartWeights, name: str) -> str | None:
    """Return what keeps a head from being taken, or None."""
    if not start.head:
        return f"there is no {name} (layout {start.layout})"
    own = {name: tuple(tensor.shape) for name, tensor in head.state_dict().items()}
    given = {name: tuple(tensor.shape) for name, tensor in start.head.items()}
    odd = next((name for name in sorted(set(own) | set(given)) if own.get(name) != given.get(name)), None)
    if odd is None:
        return None
    return f"the file's head differs ({odd!r} has shape {given.get(odd, 'none')} there and {own.get(odd, 'none')} here)"
