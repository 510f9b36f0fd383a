"""Formats that write two tensors for every pruned weight, its values and its mask, under names that replace the weight's."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor

from common.errors import InputError

Rename = Callable[[str], str | None]
"""From a name in the file, the name of the weight that it belongs to; None where it is not of this kind."""


def split_pairs(
    tensors: Mapping[str, Tensor],
    values: Rename,
    masks: Rename,
    what: str,
    *,
    masks_may_lack: Callable[[str], bool] = lambda _: False,
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Take a state dict of such pairs apart.

    Args:
        tensors: by the file's names.
        values: names the weight that a tensor holds the values of.
        masks: names the weight that a tensor is the mask of.
        what: the file's name, for messages.
        masks_may_lack: says for which weights the format may write values without a mask.

    Returns:
        Every tensor that is no mask, by the weights' names, and the masks by the names of their weights.

    Raises:
        InputError: values without a mask, a mask without values, or two tensors for one weight.
    """
    weights: dict[str, Tensor] = {}
    found: dict[str, Tensor] = {}
    paired: set[str] = set()
    for name, tensor in tensors.items():
        masked, valued = masks(name), values(name)
        target, wanted = (found, masked) if masked is not None else (weights, valued if valued is not None else name)
        if wanted in target:
            raise InputError(f"{what} holds two tensors for {wanted!r}, one of them {name!r}; it is not clear which is meant")
        target[wanted] = tensor
        if masked is None and valued is not None:
            paired.add(wanted)
    unmasked = sorted(name for name in paired - set(found) if not masks_may_lack(name))
    if unmasked:
        raise InputError(
            f"{what} holds values of {unmasked[0]!r} without their mask ({len(unmasked)} such); expected both of each"
        )
    alone = sorted(set(found) - set(weights))
    if alone:
        raise InputError(f"{what} holds a mask of {alone[0]!r} without its values ({len(alone)} such); expected both of each")
    return weights, found
