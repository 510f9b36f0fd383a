"""What does not belong together is refused in one line, and nothing is written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from common.errors import InputError
from common.exchange.formats import FORMATS
from common.exchange.importers.table import IMPORTERS
from common.exchange.mask_rules import as_bool, check_density
from common.tickets import Mask, Ticket

Import, Refused, States = Callable[..., Ticket], Callable[..., str], Callable[..., dict[str, Tensor]]
NAME = "layer2.1.conv1.weight"


def pruned(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A file of torch.nn.utils.prune's layout in which one layer lost every second weight."""
    kept = (torch.arange(state[NAME].numel()) % 2).reshape(state[NAME].shape).float()
    return {**{name: tensor for name, tensor in state.items() if name != NAME}, f"{NAME}_orig": state[NAME], f"{NAME}_mask": kept}


def changed(state: dict[str, Tensor], name: str, value: Any) -> dict[str, Tensor]:
    return {**state, name: value(state[name].clone())}


def without(state: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    return {other: tensor for other, tensor in state.items() if other != name}


def _set(value: float) -> Callable[[Tensor], Tensor]:
    def change(tensor: Tensor) -> Tensor:
        tensor.view(-1)[7] = value
        return tensor

    return change


HOSTILE: dict[str, tuple[Callable[[dict[str, Tensor]], Any], str]] = {
    "half a weight in the mask": (lambda s: changed(s, f"{NAME}_mask", _set(0.5)), "holds 0.5 (1 of 9,216 values"),
    "NaN in the mask": (lambda s: changed(s, f"{NAME}_mask", _set(float("nan"))), "holds nan (1 of 9,216 values"),
    "a mask of another shape": (lambda s: changed(s, f"{NAME}_mask", lambda t: t[:5]), "has shape (5, 32, 3, 3)"),
    "an empty mask": (lambda s: changed(s, f"{NAME}_mask", lambda t: t[:0]), "shape (0, 32, 3, 3), expected 0 and 1"),
    "a complex mask": (lambda s: changed(s, f"{NAME}_mask", lambda t: t.to(torch.complex64)), "tensor of torch.complex64"),
    "a mask of float8": (lambda s: changed(s, f"{NAME}_mask", lambda t: t.to(torch.float8_e4m3fn)), "of torch.float8_e4m3fn"),
    "a mask without values": (lambda s: changed(s, f"{NAME}_mask", lambda t: t.to("meta")), ", meta), expected a"),
    "a mask of any size": (lambda s: changed(s, f"{NAME}_mask", lambda t: t[0, 0, 0, :1].expand(2**40)), "(1099511627776, cpu)"),
    "nothing kept": (lambda s: changed(s, f"{NAME}_mask", torch.zeros_like), "keeps no weight at all"),
    "NaN in a weight": (lambda s: changed(s, f"{NAME}_orig", _set(float("nan"))), "values that are not finite"),
    "more than float32 holds": (lambda s: changed(s, f"{NAME}_orig", lambda t: t.double() * 1e300), "values that are not finite"),
    "infinity in the head": (lambda s: changed(s, "fc.weight", _set(float("inf"))), "'head.weight' holds values that are"),
    "a weight of another shape": (lambda s: changed(s, "conv1.weight", lambda t: t[:, :1]), "has shape (16, 1, 3, 3)"),
    "integers for weights": (lambda s: changed(s, "conv1.weight", lambda t: t.long()), "is of torch.int64"),
    "a tensor missing": (lambda s: without(s, "layer3.2.bn1.running_var"), "'layer3.2.bn1.running_var'"),
    "a tensor left over": (lambda s: {**s, "extra.gamma": torch.ones(3)}, "holds 'extra.gamma' (1 such tensors)"),
    "a second classifier": (lambda s: {**s, "linear.weight": torch.ones(4, 64)}, "several classifiers (fc, linear)"),
    "a bias of other classes": (lambda s: {**s, "fc.bias": torch.ones(4)}, "'fc.bias' has shape (4,)"),
    "a mask of a norm": (
        lambda s: {**without(s, "bn1.bias"), "bn1.bias_orig": torch.ones(16), "bn1.bias_mask": torch.zeros(16)},
        "prunes 'bn1.bias', which is no convolution",
    ),
    "a mask of the head of another shape": (
        lambda s: {**without(s, "fc.weight"), "fc.weight_orig": s["fc.weight"], "fc.weight_mask": torch.ones(1, 64)},
        "the mask of 'head.weight' has shape (1, 64)",
    ),
    "a mask of nothing": (
        lambda s: {**s, "extra.weight_orig": torch.ones(2, 2), "extra.weight_mask": torch.ones(2, 2)},
        "holds 'extra.weight'",
    ),
    "another architecture": (lambda s: {n.replace("layer", "stage"): t for n, t in s.items()}, "tensors are missing"),
    "no name of it": (lambda s: {f"net.{n}": t for n, t in s.items()}, "none of its tensors is one of the backbone's"),
    "two state dicts": (lambda s: {"state_dict": s, "model": s}, "holds several state dicts (state_dict, model)"),
    "some prefixes": (lambda s: {**s, "module.fc.weight": s["fc.weight"]}, "it is not clear which belong together"),
    "no tensors": (lambda s: {"epoch": 3, "lr": 0.1}, "is in no known format; considered: torch-prune, distiller"),
    "a list": (lambda s: [1, 2], "holds no tensors by name (it is a list)"),
    "two formats": (
        lambda s: {"state_dict": s, "compression_sched": {"masks_dict": {NAME: s[f"{NAME}_mask"]}}},
        "is in several formats: torch-prune (*.weight_orig and *.weight_mask) and distiller",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", HOSTILE)
def test_what_does_not_fit_is_refused(what: str, cifar_state: States, refused: Refused, tmp_path: Path) -> None:
    change, said = HOSTILE[what]
    torch.save(change(pruned(cifar_state())), tmp_path / "FILE.pt")
    line = refused(tmp_path / "FILE.pt")
    assert said in line
    assert "FILE.pt" in line


def test_a_sparse_mask_is_refused() -> None:
    with pytest.raises(InputError, match=r"FILE: the mask of 'w' is of torch.float32, torch.sparse_coo, shape \(3, 3\)"):
        as_bool("w", torch.sparse_coo_tensor([[0], [1]], [1.0], (3, 3), check_invariants=True), "FILE")


def test_a_low_density_is_expected_more_closely() -> None:
    mask = Mask({"w": torch.arange(1000) < 20})
    check_density(mask, 0.0185, "FILE")
    with pytest.raises(InputError, match=r"has density 0.0200 .* expected 0.0179 within 0.00179"):
        check_density(mask, 0.0179, "FILE")


def test_files_that_cannot_be_read(refused: Refused, tmp_path: Path) -> None:
    assert "cannot read" in refused(tmp_path / "absent.pt")
    for name in ("empty.pt", "text.pth.tar", "text.safetensors"):
        (tmp_path / name).write_bytes(b"" if name == "empty.pt" else b"these are words, and no checkpoint")
        assert name in refused(tmp_path / name)
    torch.save({"state_dict": {}, "object": Path("x")}, tmp_path / "object.pt")
    assert "could run code and is not loaded" in refused(tmp_path / "object.pt")


def test_options_that_contradict_the_file(cifar_state: States, import_file: Import, refused: Refused, tmp_path: Path) -> None:
    file = tmp_path / "f.pt"
    torch.save(pruned(cifar_state()), file)
    assert "--input" in refused(file, input=None)
    assert "expected unit, imagenet, half" in refused(file, input="none")
    assert "expected auto or one of torch-prune, distiller" in refused(file, "--format=other")
    assert "is in the format torch-prune" in refused(file, "--format=distiller")
    assert "leave --dense out" in refused(file, "--dense")
    assert "has density 0.5000" in refused(file, "--expect-density=0.45")
    assert "expected 0.45 within 0.01" in refused(file, "--expect-density=0.45")
    assert import_file(file, "--expect-density=0.51").density == 0.5
    assert "in (0, 1]" in refused(file, "--expect-density=1.5")
    assert "unknown backbone" in refused(file, arch="resnet21")
    assert "has shape" in refused(file, arch="resnet20", input=str(_grey(tmp_path)))
    ticket = import_file(file)
    assert "exists; choose another file" in _exists(file, ticket.path)


def _grey(folder: Path) -> Path:
    spec = {"size": 32, "channels": 1, "range": [0, 1], "mean": [0.5], "std": [0.5], "interpolation": None}
    (folder / "grey.json").write_text(json.dumps(spec))
    return folder / "grey.json"


def _exists(file: Path, output: Path) -> str:
    import contextlib
    import io

    from common.exchange.__main__ import main

    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        assert main(["import", str(file), "--arch=resnet20", "--input=half", "-o", str(output)]) == 2
    return said.getvalue()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("size: 32", "expected the fields"),
        ("[1, 2]", "expected the fields"),
        ("a: [", "cannot be read as JSON or YAML"),
        ("{size: 32, channels: 3, range: [0, 1], mean: [0, 0, 0], std: [0, 1, 1], interpolation: null}", "std"),
    ],
)
def test_a_file_of_the_input_is_checked(text: str, said: str, cifar_state: States, refused: Refused, tmp_path: Path) -> None:
    torch.save(pruned(cifar_state()), tmp_path / "f.pt")
    (tmp_path / "input.yaml").write_text(text)
    assert said in refused(tmp_path / "f.pt", input=str(tmp_path / "input.yaml"))


def test_the_input_of_a_file_and_of_a_data_set(cifar_state: States, import_file: Import, tmp_path: Path) -> None:
    torch.save(pruned(cifar_state()), tmp_path / "f.pt")
    text = "{size: 40, channels: 3, range: [0, 255], mean: [1, 2, 3], std: [4, 5, 6], interpolation: bicubic}"
    (tmp_path / "input.yaml").write_text(text)
    spec = import_file(tmp_path / "f.pt", input=str(tmp_path / "input.yaml")).header["input"]
    assert (spec["size"], spec["range"], spec["mean"], spec["std"]) == (40, [0, 255], [1, 2, 3], [4, 5, 6])
    spec = import_file(tmp_path / "f.pt", input="cifar10").header["input"]
    assert spec["mean"] == pytest.approx([0.4914, 0.4822, 0.4465], abs=1e-3)


def test_the_names_of_the_formats_are_those_of_the_table() -> None:
    assert list(FORMATS) == list(IMPORTERS)
    assert all(name == importer.name for name, importer in IMPORTERS.items())
