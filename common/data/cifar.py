"""CIFAR-10 and CIFAR-100 through torchvision, split as the field does: the last 5,000 training images validate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from common.data.catalogue import Request
from common.data.datasets import Dataset, Images, content_fingerprint, renumbered
from common.data.splits import canonical_name, parse_name, split_hash
from common.errors import InputError

_TRAIN, _LABELLED = 45_000, 50_000


def load_cifar(request: Request, kind: str) -> Dataset:
    """Read a CIFAR set whole.

    Args:
        request: `root` holds `cifar-10-batches-py` or `cifar-100-python`, or receives it with `download`.
        kind: torchvision's name, "CIFAR10" or "CIFAR100".

    Raises:
        InputError: no root, the root does not hold the set intact, the download failed, or an unknown class.
    """
    if request.download and request.root is not None:
        folder = Path(request.root).expanduser()
    else:
        folder = request.folder()
    labelled, test = (_read(request, kind, folder, train) for train in (True, False))
    images_NCHW = torch.cat([torch.from_numpy(part.data) for part in (labelled, test)]).permute(0, 3, 1, 2)
    labels_N = torch.tensor([*labelled.targets, *test.targets], dtype=torch.int64)
    name, classes = parse_name(request.name, len(labelled.classes))
    chosen_N = torch.isin(labels_N, torch.tensor(classes))
    bounds = {"train": (0, _TRAIN), "validation": (_TRAIN, _LABELLED), "test": (_LABELLED, len(labels_N))}
    indices = {split: chosen_N[low:high].nonzero().flatten() + low for split, (low, high) in bounds.items()}
    splits = {
        split: Images(images_NCHW[index].contiguous(), renumbered(labels_N[index], classes)) for split, index in indices.items()
    }
    return Dataset(
        name=canonical_name(name, classes, len(labelled.classes)),
        classes=tuple(labelled.classes[label] for label in classes),
        input=request.input,
        splits=splits,
        split_hash=split_hash(indices),
        fingerprint=content_fingerprint(splits),
    )


def _read(request: Request, kind: str, folder: Path, train: bool) -> Any:
    """Return torchvision's data set, its files checked against their published sums."""
    from torchvision import datasets

    try:
        return getattr(datasets, kind)(folder, train=train, download=request.download)
    except OSError as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{request.name} cannot be read from or fetched into data.root {request.root}: {reason}") from error
    except (RuntimeError, EOFError, ValueError) as error:
        raise InputError(
            f"data.root {request.root} does not hold {request.name} intact; give the one that does, or --data.download true"
        ) from error
