"""Start a task from a ticket or from one of its controls."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from torch import nn

from common.config import StartConfig, TicketConfig
from common.data.annotated.catalogue import ANNOTATED
from common.data.catalogue import OWN_IMAGES
from common.data.inputs import InputSpec, accept_input
from common.data.splits import MANY_CLASSES, base_name, parse_classes
from common.errors import InputError
from common.tickets.controls import FRESH, NARROW, REWIND, START, control_mask, find_control
from common.tickets.errors import TicketError
from common.tickets.mask import Mask
from common.tickets.ticket import Ticket, apply, load_ticket
from common.tickets.weights_file import NetworkState
from common.training.given_weights import fill_backbone_, source_of
from common.training.small_dense import Narrower

LABELLED_OBJECTIVES = ("supervised", "classification", "detection", "segmentation")
_PASCAL = ("voc0712", "voc2012_segmentation", "voc2012_augmented")
_SAME_IMAGES = {"digit_scenes": "digits", "coco_keypoints": "coco", **dict.fromkeys(_PASCAL, "PASCAL VOC")}


class Target(Protocol):
    """What a transfer looks at of its data set, before any image."""

    @property
    def name(self) -> str:
        """Its canonical name."""
        ...

    @property
    def input(self) -> InputSpec:
        """What a network trained on it expects."""
        ...

    @property
    def split_hash(self) -> str:
        """Which images are in which split."""
        ...


@dataclass(frozen=True)
class Start:
    """What a task starts from, after its backbone was filled.

    Attributes:
        control: what the arm is called.
        mask: what is kept, by canonical name; None without a ticket, where the backbone is dense.
        ticket: the ticket, if any.
        norm_statistics: "reestimate" or "stored".
        flags: what a reader of the result must know.
        given: what is recorded of start.weights: layout, input, what matched.
        narrower: the network of control small_dense.
    """

    control: str
    mask: Mask | None
    ticket: Ticket | None
    norm_statistics: str
    flags: tuple[str, ...]
    given: Mapping[str, Any] | None = None
    narrower: Narrower | None = None

    @property
    def density(self) -> float:
        """Kept fraction of the scope; 1 without a ticket; the narrower network's part of the ticket's scope."""
        if self.narrower is not None:
            return self.narrower.density
        return self.mask.density if self.mask is not None else 1.0

    @property
    def importer(self) -> str | None:
        """The importer that the ticket comes from; None for a ticket of a search, and without one."""
        return self.ticket.header["origin"]["importer"] if self.ticket is not None else None

    @property
    def source(self) -> Mapping[str, Any] | None:
        """Which search the ticket comes from."""
        if self.ticket is None:
            return None
        return source_of(self.ticket.header["origin"])


def start_(
    backbone: nn.Module,
    config: TicketConfig,
    dataset: Target,
    *,
    seed: int,
    given: StartConfig,
    protocol: str,
    accept_mismatch: bool,
    narrower: Narrower | None = None,
) -> Start:
    """Fill a freshly initialised backbone as the recipe's ticket and control say.

    Args:
        backbone: with fresh random weights of the run's seed, which the controls scratch and reinit keep.
        config: ticket file, control, which weights, norm statistics, stem.
        dataset: the target, for its input specification and classes.
        seed: the run's task seed, for the draws of a control.
        given: the recipe's start.weights, and how they are read.
        protocol: full, linear or knn; it decides the default of norm_statistics.
        accept_mismatch: use weights that expect another input, and flag the result.
        narrower: what the backbone was built as, for control small_dense.

    Raises:
        TicketError: the ticket, or a file that the control needs, is missing, damaged or of another architecture.
        InputError: options that contradict one another, or weights of another input.
    """
    if config.file is None:
        return _without_ticket(backbone, config, given, dataset, accept_mismatch, protocol)
    ticket = load_ticket(config.file)
    name = config.arm(given.weights)
    control = find_control(name)
    if control.weights != NARROW and (control.weights == START) != (given.weights is not None):
        needs = "needs start.weights" if control.weights == START else "takes no start.weights; only mask_only and small_dense do"
        raise InputError(f"ticket.control {name} {needs}")
    if config.weights == "trained" and name not in ("ticket", "dense"):
        raise InputError(
            f"ticket.weights trained: expected control ticket or dense, got {name}, whose mask was never trained; use rewind"
        )
    if control.weights == NARROW:
        return _narrow(backbone, ticket, config, given, dataset, accept_mismatch, protocol, narrower)
    mask = control_mask(ticket, name, seed)
    flags, start = (*source_flags(ticket.header["origin"], dataset), *_less_trained(ticket, name, config)), None
    if control.weights == FRESH:
        apply(ticket, mask, backbone, weights="none", stem=config.stem)
    elif control.weights == START:
        start, seen = _fill_given(backbone, given, dataset, accept_mismatch)
        flags += tuple(flag for flag in seen if flag not in flags)
        apply(ticket, mask, backbone, weights="none", stem=config.stem)
    else:
        flags += accept_input(config.file, ticket.header["input"], dataset.input, accept_mismatch=accept_mismatch)
        apply(ticket, mask, backbone, weights=_weights(ticket, name, config), stem=config.stem)
    return Start(name, mask, ticket, config.statistics(protocol), flags, start)


def _weights(ticket: Ticket, control: str, config: TicketConfig) -> NetworkState:
    """Return what a control puts under its mask: the ticket's rewind point, or weights at the end of a round."""
    if config.weights == "trained":
        return _trained_densely(ticket) if control == "dense" else ticket.trained_weights()
    return ticket.rewind_point() if control == "ticket" else ticket.dense_weights()


def _trained_densely(ticket: Ticket) -> NetworkState:
    """Return the weights at the end of round 0, unless that round had the mask of the ticket that the search started from.

    Raises:
        TicketError: it had, so there is no dense network that was trained.
    """
    state = ticket.round0_weights()
    if ticket.header["parent"] is not None and any(not bool(state.backbone[name].all()) for name in ticket.mask):
        raise TicketError(
            f"{ticket.path} is of a search that started from a ticket, so its round 0 was pruned already and nothing was trained "
            f"densely; use ticket.weights rewind with control dense"
        )
    return state


def _narrow(
    backbone: nn.Module,
    ticket: Ticket,
    config: TicketConfig,
    given: StartConfig,
    dataset: Target,
    accept_mismatch: bool,
    protocol: str,
    narrower: Narrower | None,
) -> Start:
    """Start control small_dense, whose backbone is another one: from its fresh weights, or from given ones of its width.

    Fresh weights are flagged against a ticket whose own were trained: what the narrower network loses may be that.
    """
    if narrower is None:
        raise InputError("ticket.control small_dense is another network than the ticket's; train it in a task, judge that run")
    start, seen = _fill_given(backbone, given, dataset, accept_mismatch) if given.weights is not None else (None, ())
    is_behind = given.weights is None and ticket.header["rewind"]["to"] != "init"
    behind = ("control_not_pretrained",) if is_behind else ()
    flags = dict.fromkeys((*source_flags(ticket.header["origin"], dataset), *seen, *behind))
    return Start("small_dense", None, ticket, config.statistics(protocol), tuple(flags), start, narrower)


def _without_ticket(
    backbone: nn.Module, config: TicketConfig, given: StartConfig, dataset: Target, accept_mismatch: bool, protocol: str
) -> Start:
    """Start densely: from given weights, or from the fresh random ones."""
    name = config.arm(given.weights)
    if name != ("scratch" if given.weights is None else "dense"):
        find_control(name)
        raise InputError(f"ticket.control {name} needs a ticket; name one with --ticket.file FILE")
    start, flags = _fill_given(backbone, given, dataset, accept_mismatch) if given.weights is not None else (None, ())
    return Start(name, None, None, config.statistics(protocol), flags, start)


def _fill_given(
    backbone: nn.Module, given: StartConfig, dataset: Target, accept_mismatch: bool
) -> tuple[Mapping[str, Any], tuple[str, ...]]:
    """Fill the backbone with given weights, of a ticket the dense ones; return what is recorded of them, and flags."""
    start, flags = fill_backbone_(backbone, given, dataset.input, accept_mismatch=accept_mismatch, dense=True)
    seen = source_flags(start.origin, dataset) if start.origin is not None else ()
    return start.facts, (*flags, *seen)


def source_flags(origin: Mapping[str, Any], dataset: Target) -> tuple[str, ...]:
    """Flag a source that saw the target's classes: its labels (no verdict), or its images only.

    Args:
        origin: of a ticket; see `common.tickets.Description`.
        dataset: the target; of a pair of domains both are its images, those it trains on as those it tests on.
    """
    seen = str(origin["data"])
    images, of_target = _images_of(seen, origin["split"]), _images_of(dataset.name, dataset.split_hash)
    trained_on = images[:1]  # a pair of domains trains and chooses on its first, and only tests on the second
    if not set(trained_on) & set(of_target) or not _classes(seen) & _classes(dataset.name):
        return ()
    return ("source_saw_target",) if origin["objective"] in LABELLED_OBJECTIVES else ("source_saw_images",)


def _less_trained(ticket: Ticket, control: str, config: TicketConfig) -> tuple[str, ...]:
    """Flag a control whose weights had fewer epochs behind them than the ticket's: what it loses may be training, not the mask.

    A ticket that was never rewound (`final`) has trained on since round 0, and a ticket's trained weights had a round on top of
    the rewind point; their controls start from the end of round 0. Fresh weights are no control of training, and are not flagged.
    A control that was written as a ticket file is told by its header.
    """
    origin, to = ticket.header["origin"], ticket.header["rewind"]["to"]
    kind, _, rest = str(origin["importer"]).partition(":")
    name = rest.partition(":")[0] if kind == "control" and control == "ticket" else control
    if ticket.round == 0 or name in ("ticket", "dense_long") or find_control(name).weights != REWIND:
        return ()
    behind = to == "final" or (config.weights == "trained" and to in ("round0", "pretrained"))
    return ("control_less_trained",) if behind else ()


def _images_of(name: str, split: str | None) -> tuple[str, ...]:
    """Name the images behind a data set: clean and cluttered digits and scenes show the same, SVHN's extra ones join the others.

    So do annotations of several kinds of the same images, COCO's and VOC's, whose segmentation tests on images of its detection.

    Images of one's own, in a folder or a list, have no name; their split hash tells them. A pair of domains has a hash that no
    other pair of the same images has, so its two domains, source and target, are told by their names: two of one name count as
    the same images, wherever they lie.
    """
    base = base_name(name).removesuffix("_clean").removesuffix("_extra")
    base = _SAME_IMAGES.get(base, base)
    kind, _, pair = base.partition("(")
    if pair:
        return tuple(f"{kind}({domain})" for domain in pair.removesuffix(")").split(">"))
    is_own = kind in OWN_IMAGES or (kind in ANNOTATED and ANNOTATED[kind].own_images)
    return (f"{base}@{split}" if is_own else base,)


def _classes(name: str) -> set[int]:
    """Return the classes of a data set's name, or every number where it names no subset."""
    subset = name.partition(":")[2]
    return set(parse_classes(subset, MANY_CLASSES) if subset else range(MANY_CLASSES))
