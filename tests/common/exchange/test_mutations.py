"""Files are hostile until proven otherwise: what importers make of damaged ones is an error or what they made of the whole one.

Bytes. A zip archive (torch's, numpy's) has a checksum over every content, so any change of bytes either is refused or changes
nothing at all: mask, weights and head are compared bit for bit. torch's older stream has none. There a change before the storages
(names, sizes, strides, keys) is refused or changes nothing. A change inside the storages may give other legal numbers, which
nobody can tell; then names and shapes stay. For formats whose weights are 0 where the mask is (`wrapped`, `distiller`) the mask
still prunes no weight that is not 0, so the network stays what its weights are, and one changed byte leaves the mask as it was;
for `zeros` it is what the zeros in the file now say.

Contents. A change that a writer could have made (a tensor dropped, renamed, of another type, shape or value, or none at all) is
refused, or every mask that is left is the old one.
"""

from __future__ import annotations

import pickletools
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from common.errors import InputError
from common.exchange.import_ticket import Content, Request, read_content
from common.exchange.importers.table import IMPORTERS
from common.models.layouts.moco import QUERY
from common.models.resnet import SmallResNet
from tests.common.exchange import foreign_files
from tests.common.exchange.foreign_networks import SmallNet, random_mask, randomised

WIDTHS = (2, 4, 5, 6)  # no layer whose weight keeps its shape when it is transposed


@dataclass(frozen=True)
class Case:
    """A format's file, and how it is read.

    Attributes:
        write: writes it in small; keywords go to torch.save.
        backbone: builds what names and shapes are matched with.
        settings: of the request.
        name: the file's.
    """

    write: Callable[..., object]
    backbone: Callable[[], nn.Module] = lambda: SmallResNet(WIDTHS, 1, 3, "B")
    settings: tuple[tuple[str, Any], ...] = ()
    name: str = "model.pth"


def _pruned_state() -> dict[str, Tensor]:
    model = randomised(SmallNet(widths=WIDTHS))
    for seed, (name, tensor) in enumerate(model.state_dict().items()):
        if tensor.ndim == 4 and name != "conv1.weight":
            tensor.mul_(random_mask(tensor.shape, seed))
    return model.state_dict()


def _masks(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: (t != 0).float() for name, t in state.items() if t.ndim == 4 and name != "conv1.weight"}


def _write_distiller(path: Path, **settings: Any) -> None:
    state = _pruned_state()
    masks = {name: _masks(state).get(name) for name in state}
    torch.save({"arch": "resnet20_cifar", "state_dict": state, "compression_sched": {"masks_dict": masks}}, path, **settings)


def _write_masks(path: Path, **settings: Any) -> None:
    state = _pruned_state()
    torch.save({name.replace("weight", "weight_mask"): mask for name, mask in _masks(state).items()}, path, **settings)
    torch.save(state, path.parent / "model.pth", **settings)


def _write_zeros(path: Path, **settings: Any) -> None:
    torch.save({"epoch": 3, "state_dict": _pruned_state()}, path, **settings)


def _write_plain(path: Path, **settings: Any) -> None:
    torch.save(randomised(SmallNet(widths=WIDTHS)).state_dict(), path, **settings)


def _write_moco(path: Path, **settings: Any) -> None:
    torch.save({"state_dict": {f"module.{QUERY}{name}": tensor for name, tensor in _pruned_state().items()}}, path, **settings)


def _rigls_backbone() -> nn.Module:
    from timm.models.resnet import Bottleneck, ResNet

    return ResNet(Bottleneck, (1, 1, 1, 1), num_classes=0, channels=(2, 4, 8, 16))


def _small(writer: Callable[..., object]) -> Callable[..., object]:
    return lambda path, **settings: writer(path, widths=WIDTHS, **settings)


CASES = {
    "torch-prune": Case(_small(foreign_files.write_torch_prune)),
    "wrapped": Case(_small(foreign_files.write_wrapped)),
    "str-threshold": Case(_small(foreign_files.write_str)),
    "rigl": Case(lambda path: foreign_files.write_rigl(path, depths=(1, 1, 1, 1), width=2), _rigls_backbone, name="rigl.npz"),
    "open_lth": Case(
        lambda path, **settings: foreign_files.write_open_lth(path, widths=(2, 4, 5), **settings),
        lambda: SmallResNet((2, 4, 5), 3, 3, "B"),
        (("weights", "model.pth"),),
        "mask.pth",
    ),
    "turboprune": Case(_small(foreign_files.write_turboprune)),
    "parametrize": Case(_small(foreign_files.write_parametrize)),
    "distiller": Case(_write_distiller),
    "masks": Case(_write_masks, settings=(("weights", "model.pth"),), name="masks.pt"),
    "zeros": Case(_write_zeros),
    "plain": Case(_write_plain, settings=(("dense", True),)),
    "zeros of moco": Case(_write_moco),
}


def test_every_importer_is_here() -> None:
    assert {name.partition(" ")[0] for name in CASES} == set(IMPORTERS)


def _read(case: Case, folder: Path, backbone: nn.Module, **more: Any) -> Content:
    settings = {key: folder / value if key == "weights" else value for key, value in case.settings}
    request = Request(folder / case.name, "none", folder / "none.safetensors", **{"input": "unit", **settings, **more})
    return read_content(request, backbone)


def _attempt(case: Case, folder: Path, backbone: nn.Module, **more: Any) -> Content | None:
    """Read a file; return None where it is refused in one line. Any other exception is a failure."""
    try:
        return _read(case, folder, backbone, **more)
    except InputError as error:
        said = str(error)
    assert "\n" not in said
    return None


def _bits(content: Content) -> dict[str, bytes]:
    """Return all that a ticket would hold, bit for bit."""
    matched = content.matched
    parts = {"mask": dict(content.kept.mask), "weight": matched.state if matched else {}, "head": matched.head if matched else {}}
    return {f"{part}/{name}": tensor.numpy().tobytes() for part, tensors in parts.items() for name, tensor in tensors.items()}


def _mutated(content: bytes, draw: random.Random) -> bytes:
    """Change bytes in one of the ways in which files go bad, or are made bad."""
    start, length = draw.randrange(len(content)), draw.randint(1, 16)
    end = min(start + length, len(content))
    other = draw.randrange(len(content))
    return draw.choice(
        (
            lambda: content[:start] + bytes([content[start] ^ (1 << draw.randrange(8))]) + content[start + 1 :],
            lambda: content[:start] + bytes([draw.randrange(256)]) + content[start + 1 :],
            lambda: content[:start] + bytes(end - start) + content[end:],
            lambda: content[:start] + b"\xff" * (end - start) + content[end:],
            lambda: content[:start],
            lambda: content[:start] + content[end:],
            lambda: content[:start] + draw.randbytes(length) + content[start:],
            lambda: content[:start] + content[other : other + length] + content[start + len(content[other : other + length]) :],
        )
    )()


def _byte_mutations(case: Case, folder: Path, count: int) -> tuple[int, int]:
    """Mutate a file of checksums; return how often it was refused, and how often nothing changed."""
    backbone = case.backbone()
    whole = (folder / case.name).read_bytes()
    expected = _bits(_read(case, folder, backbone))
    draw, refused, same = random.Random(len(whole)), 0, 0
    for number in range(count):
        (folder / case.name).write_bytes(_mutated(whole, draw))
        found = _attempt(case, folder, backbone)
        if found is None:
            refused += 1
        else:
            assert _bits(found) == expected, number
            same += 1
    return refused, same


@pytest.mark.parametrize("format", CASES)
def test_bytes_of_archives(format: str, tmp_path: Path) -> None:
    CASES[format].write(tmp_path / CASES[format].name)
    refused, same = _byte_mutations(CASES[format], tmp_path, 500)
    assert refused > 300
    assert refused + same == 500


@pytest.mark.slow
@pytest.mark.parametrize("format", CASES)
def test_more_bytes_of_archives(format: str, tmp_path: Path) -> None:
    CASES[format].write(tmp_path / CASES[format].name)
    refused, same = _byte_mutations(CASES[format], tmp_path, 2000)
    assert refused > 1200
    assert refused + same == 2000


def _start_of_storages(content: bytes) -> int:
    """Return where torch's stream leaves its five pickles."""
    import io

    file = io.BytesIO(content)
    for _ in range(5):
        list(pickletools.genops(file))
    return file.tell()


def _stream_mutations(case: Case, folder: Path, count: int, **more: Any) -> int:
    """Mutate a file without checksums; return how often it was refused."""
    backbone = case.backbone()
    case.write(folder / case.name, _use_new_zipfile_serialization=False)
    whole = (folder / case.name).read_bytes()
    expected = _read(case, folder, backbone, **more)
    start, bits = _start_of_storages(whole), _bits(expected)
    draw, refused = random.Random(len(whole)), 0
    for number in range(count):
        # Half of the changes before the storages, which are most of the file.
        changed = _mutated(whole, draw) if number % 2 else _mutated(whole[:start], draw) + whole[start:]
        (folder / case.name).write_bytes(changed)
        found = _attempt(case, folder, backbone, **more)
        if found is None:
            refused += 1
            continue
        first = next((place for place, (a, b) in enumerate(zip(whole, changed)) if a != b), min(len(whole), len(changed)))
        if first < start:
            assert _bits(found) == bits, number
            continue
        shapes, wanted = dict(found.kept.mask.shapes), dict(expected.kept.mask.shapes)
        if found.found.rule == "zeros":  # whose scope takes the stem in where 1% of it is 0, as a change may make it
            shapes = {name: shape for name, shape in shapes.items() if name in wanted}
        assert shapes == wanted, number
        assert found.matched is not None
        alive = {name: found.matched.state[name] != 0 for name in found.kept.mask}
        if found.found.rule == "zeros":
            assert all(torch.equal(mask, alive[name]) for name, mask in found.kept.mask.items()), number
        else:
            assert not any(bool((alive[name] & ~mask).any()) for name, mask in found.kept.mask.items()), number
            if len(changed) == len(whole) and sum(a != b for a, b in zip(whole[start:], changed[start:])) == 1:
                assert found.kept.mask == expected.kept.mask, number
    return refused


@pytest.mark.parametrize("legacy_pickle", [True, False])
@pytest.mark.parametrize("format", ["wrapped", "distiller", "zeros"])
def test_bytes_of_streams(format: str, legacy_pickle: bool, tmp_path: Path) -> None:
    assert _stream_mutations(CASES[format], tmp_path, 250, legacy_pickle=legacy_pickle) > 60


@pytest.mark.slow
@pytest.mark.parametrize("legacy_pickle", [True, False])
@pytest.mark.parametrize("format", ["wrapped", "distiller", "zeros"])
def test_more_bytes_of_streams(format: str, legacy_pickle: bool, tmp_path: Path) -> None:
    assert _stream_mutations(CASES[format], tmp_path, 2000, legacy_pickle=legacy_pickle) > 1000


OTHERS: tuple[Any, ...] = (
    *(None, 3, "text", [1.0], {"a": torch.ones(1)}, torch.ones(0), torch.tensor(1.0), torch.ones(2, 2)),
    *(torch.ones(2, 3, dtype=torch.complex64), torch.eye(2).to_sparse(), torch.ones(1, 1).expand(1000, 1000)),
)
CHANGES: tuple[Callable[[Tensor], Any], ...] = (
    *(lambda t: t.flatten(), lambda t: t.transpose(0, -1), lambda t: t[:1], lambda t: t[None], lambda t: torch.cat([t, t])),
    *(lambda t: t * 2, lambda t: t + 0.5, lambda t: -t, lambda t: t * torch.nan, lambda t: t / 0, lambda t: t.double() * 1e300),
    *(lambda t: t.half(), lambda t: t.double(), lambda t: t.long(), lambda t: t.bool(), lambda t: t.to(torch.bfloat16)),
    *(lambda t: torch.zeros_like(t), lambda t: torch.ones_like(t), lambda t: t.to(torch.int8)),
)


def _changed_contents(content: dict[str, Any], draw: random.Random) -> dict[str, Any]:
    """Change one entry of a file's tree, or its name."""
    inner = [content, *(v for v in content.values() if isinstance(v, dict) and v)]
    inner += [w for v in inner[1:] for w in v.values() if isinstance(w, dict) and w]
    part = draw.choice(inner)
    name = draw.choice(list(part))
    value = part[name]
    kind = draw.randrange(5)
    if kind == 0:
        del part[name]
    elif kind == 1:
        part[draw.choice((f"{name}x", f"module.{name}", name[1:], "conv1.weight", f"{name}.0"))] = part.pop(name)
    elif kind == 2 or not isinstance(value, Tensor) or not value.ndim:
        part[name] = draw.choice(OTHERS)
    else:
        part[name] = draw.choice(CHANGES)(value)
    return content


def _content_mutations(case: Case, folder: Path, count: int) -> int:
    """Mutate what a file holds; return how often it was refused."""
    backbone = case.backbone()
    path = folder / case.name
    expected = _read(case, folder, backbone).kept.mask
    whole, draw, refused = path.read_bytes(), random.Random(count), 0
    for number in range(count):
        path.write_bytes(whole)
        if path.suffix == ".npz":
            _save_arrays(path, draw)
        else:
            torch.save(_changed_contents(torch.load(path, weights_only=True), draw), path)
        found = _attempt(case, folder, backbone)
        if found is None:
            refused += 1
            continue
        if found.found.rule == "zeros" or found.importer.name == "str-threshold":  # the weights are the mask
            assert found.matched is not None
            assert all(torch.equal(mask, found.matched.state[name] != 0) for name, mask in found.kept.mask.items()), number
        elif found.found.rule == "masks":
            _check_masks(found, expected, number)
    return refused


def _check_masks(found: Content, expected: Any, number: int) -> None:
    """Every mask that is left is the old one, or one of 0 and 1 that the file now holds under that very name."""
    for name, mask in found.kept.mask.items():
        given = found.named.masks[name]
        assert torch.equal(mask, given != 0), number
        assert bool(((given == 0) | (given == 1)).all()), number
        same = torch.equal(mask, expected[name]) if name in expected else False
        assert same or bool(mask.all()) or not bool(mask.any()), number  # CHANGES can make ones and zeros, which are legal


def _save_arrays(path: Path, draw: random.Random) -> None:
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    name = draw.choice(list(arrays))
    kind = draw.randrange(4)
    if kind == 0:
        del arrays[name]
    elif kind == 1:
        arrays[draw.choice((f"{name}x", name[1:], "block_group", "a/mask"))] = arrays.pop(name)
    elif kind == 2 or not arrays[name].ndim:
        others = (np.ones(3), np.array("text"), np.array([None]), np.ones(2, np.complex64), np.zeros((0, 2)), np.float32(1))
        arrays[name] = draw.choice(others)  # type: ignore[assignment]
    else:
        value = torch.from_numpy(arrays[name])
        changed = draw.choice([change for change in CHANGES if change is not CHANGES[15]])(value)
        arrays[name] = changed.numpy() if changed.dtype != torch.bfloat16 else value.numpy()
    np.savez(path, **arrays)  # type: ignore[arg-type]


@pytest.mark.parametrize("format", CASES)
def test_contents(format: str, tmp_path: Path) -> None:
    CASES[format].write(tmp_path / CASES[format].name)
    assert _content_mutations(CASES[format], tmp_path, 60) > 20


@pytest.mark.slow
@pytest.mark.parametrize("format", CASES)
def test_more_contents(format: str, tmp_path: Path) -> None:
    CASES[format].write(tmp_path / CASES[format].name)
    assert _content_mutations(CASES[format], tmp_path, 500) > 150
