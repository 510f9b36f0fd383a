"""The layout of torch.nn.utils.prune, and its masks alone: `layer1.0.conv1.weight_orig` and `layer1.0.conv1.weight_mask`."""

from __future__ import annotations

from common.exchange.exporters.container import STATE_SUFFIXES, state_dict_bytes
from common.exchange.exporters.exporter import Export, Exporter, Options, sparse_network
from common.exchange.exporters.state_dict import OWN_HEAD
from common.tickets.ticket import Ticket

_ORIGINAL, _MASK = "_orig", "_mask"


def write_torch_prune(ticket: Ticket, options: Options) -> Export:
    """Write a state dict as of a network pruned with torch.nn.utils.prune: dense originals, and masks of their type.

    Raises:
        InputError: the ticket has no such weights, or no classifier that was asked for.
    """
    network = sparse_network(ticket, options)
    prefix = options.prefix or ""
    skipped = network.stem if options.stem == "fresh" else frozenset()
    state = {}
    for name, tensor in network.backbone.items():
        if name in ticket.mask:
            state[f"{prefix}{name}{_ORIGINAL}"] = tensor
            state[f"{prefix}{name}{_MASK}"] = ticket.mask[name].to(tensor.dtype)
        elif name not in skipped:
            state[prefix + name] = tensor
    state |= {f"{prefix}{OWN_HEAD}.{name}": tensor for name, tensor in network.head.items()}
    notes = [f"{len(state)} tensors, {len(ticket.mask)} of them masks, in the layout of torch.nn.utils.prune"]
    if options.stem == "fresh":
        notes.append("the stem is left out; the receiver keeps its own")
    return Export(state_dict_bytes(state, ticket, options), tuple(notes))


def write_masks(ticket: Ticket, options: Options) -> Export:
    """Write the masks alone, bool (True = kept), under the names that torch.nn.utils.prune gives them."""
    prefix = options.prefix or ""
    state = {f"{prefix}{name}{_MASK}": kept for name, kept in ticket.mask.items()}
    return Export(state_dict_bytes(state, ticket, options), (f"{len(state)} masks, bool, True where a weight is kept",))


_LAYOUT = "the layout of torch.nn.utils.prune"
EXPORTERS = (
    Exporter("torch-prune", _LAYOUT, STATE_SUFFIXES, ("weights", "head", "stem", "prefix"), write_torch_prune),
    Exporter("masks", f"masks alone, under the names of {_LAYOUT}", STATE_SUFFIXES, ("prefix",), write_masks),
)
