"""A ticket into a model: the right tensors, in place, and no change at all where it does not fit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from common.models.backbones import build_backbone
from common.tickets.errors import TicketError
from common.tickets.rewind import capture
from common.tickets.scope import find_scope
from common.tickets.ticket import Ticket, apply, load_ticket, save_ticket
from common.tickets.trained import save_trained_weights
from common.tickets.weights_file import NetworkState

torchvision = pytest.importorskip("torchvision")


def _bytes(model: nn.Module) -> dict[str, bytes]:
    return {n: t.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes() for n, t in model.state_dict().items()}


def _refused(ticket: Ticket, model: nn.Module, match: str, **settings: Any) -> None:
    before = _bytes(model)
    with pytest.raises(TicketError, match=match) as error:
        ticket.apply_to(model, **settings)
    assert "\n" not in str(error.value)
    assert _bytes(model) == before


def _expect(model: nn.Module, ticket: Ticket, weights: Any, skip: tuple[str, ...] = ()) -> None:
    """Check every tensor of a backbone: the stored value, times the mask where there is one."""
    for name, tensor in model.state_dict().items():
        if name.startswith(skip):
            continue
        expected = weights[name].numpy()
        if name in ticket.mask:
            assert (tensor.numpy()[ticket.mask[name].numpy()] == expected[ticket.mask[name].numpy()]).all()
            assert not tensor.numpy()[~ticket.mask[name].numpy()].any()
        else:
            assert (tensor.numpy() == expected).all(), name


@pytest.fixture(scope="module")
def resnet18(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a ResNet-18 ticket (7x7 stem) whose norm statistics are not the fresh ones."""
    model = build_backbone("resnet18", seed=1)
    draws = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, buffer in model.named_buffers():
            if "running" in name:
                buffer.copy_(torch.rand(buffer.shape, generator=draws) + 0.5)
    return _ticket_of(model, tmp_path_factory.mktemp("resnet18"), {})


def _ticket_of(model: nn.Module, folder: Path, arch: dict[str, Any], embed: bool = True) -> Path:
    from common.tickets.mask import Mask
    from common.tickets.ticket import Description

    draws = torch.Generator().manual_seed(1)
    mask = Mask({n: torch.rand(p.shape, generator=draws) < 0.3 for n, p in find_scope(model).parameters(model).items()})
    origin = dict.fromkeys(("folder", "objective", "data", "split", "recipe", "config", "seed", "round", "run", "importer"))
    spec = dict.fromkeys(("size", "channels", "range", "mean", "std", "interpolation"))
    scope = {"include": ["Conv2d:*"], "exclude": ["@stem"]}
    described = Description({**model.arch, **arch}, scope, origin, {"to": None, "at": None}, spec)  # type: ignore[dict-item]
    weights = NetworkState(capture(model), {}) if embed else None
    return save_ticket(folder / "ticket.safetensors", mask, described, weights=weights).path


def test_into_our_own_backbone(run: Any) -> None:
    ticket = run.ticket()
    model = build_backbone("resnet_digits", seed=9)
    parameters = {n: (id(p), p.data_ptr()) for n, p in model.named_parameters()}
    mask = ticket.apply_to(model)
    assert mask == ticket.mask
    _expect(model, ticket, run.rewind.backbone)
    assert parameters == {n: (id(p), p.data_ptr()) for n, p in model.named_parameters()}
    with torch.no_grad():
        model.get_parameter("conv1.weight").fill_(7)
    assert not (load_ticket(ticket.path).rewind_point().backbone["conv1.weight"] == 7).any()


def test_into_torchvisions_resnet18_leaving_its_classifier(resnet18: Path) -> None:
    ticket = load_ticket(resnet18)
    model = torchvision.models.resnet18(num_classes=5)
    head = model.fc.weight.detach().clone()
    mask = ticket.apply_to(model)
    assert len(mask) == 19
    _expect(model, ticket, ticket.rewind_point().backbone, skip=("fc.",))
    assert torch.equal(model.fc.weight, head)


@pytest.mark.parametrize("prefix", ["encoder.", "encoder", "encoder.."])
def test_behind_a_prefix(prefix: str, run: Any) -> None:
    ticket = run.ticket()
    model = nn.ModuleDict({"encoder": build_backbone("resnet_digits", seed=9), "decoder": nn.Conv2d(3, 3, 1)})
    before = model.get_parameter("decoder.weight").detach().clone()
    mask = ticket.apply_to(model, prefix=prefix)
    assert set(mask) == {f"encoder.{name}" for name in ticket.mask}
    _expect(model["encoder"], ticket, run.rewind.backbone)
    assert torch.equal(model.get_parameter("decoder.weight"), before)
    _refused(ticket, model, "no part 'trunk'; its parts are encoder, decoder", prefix="trunk.")
    _refused(ticket, model, "decoder|no such parameter", prefix="decoder.")
    _refused(ticket, model, "no such parameter")


@pytest.mark.parametrize("name", ["resnet34", "resnet50"])
@pytest.mark.parametrize("weights", ["rewind", "none"])
def test_another_architecture_is_refused(name: str, weights: str, resnet18: Path) -> None:
    """ResNet-18's names are a subset of ResNet-34's, with equal shapes."""
    ticket = load_ticket(resnet18)
    model = getattr(torchvision.models, name)()
    if name == "resnet34":
        assert all(model.get_parameter(n).shape == m.shape for n, m in ticket.mask.items())
    _refused(ticket, model, "another architecture|is a ticket of resnet18", weights=weights)
    if name == "resnet34":
        own = build_backbone(name, seed=0)
        _refused(ticket, own, "ticket of resnet18.*the model is resnet34", weights=weights)


def test_a_smaller_architecture_is_refused(tmp_path: Path) -> None:
    ticket = load_ticket(_ticket_of(build_backbone("resnet32", seed=0), tmp_path, {}))
    _refused(ticket, build_backbone("resnet20", seed=0), "resnet32")


def test_shortcuts_a_and_b_are_different_architectures(tmp_path: Path) -> None:
    ticket = load_ticket(_ticket_of(build_backbone("resnet20_a", seed=0), tmp_path, {}))
    _refused(ticket, build_backbone("resnet20", seed=0), "resnet20_a")


def test_another_variant_is_refused(tmp_path: Path) -> None:
    ticket = load_ticket(_ticket_of(build_backbone("resnet20", seed=0), tmp_path, {"variant": "compact"}))
    _refused(ticket, build_backbone("resnet20", seed=0), "variant")


@pytest.mark.parametrize("weights", ["rewind", "none"])
def test_another_stem(weights: Any, resnet18: Path) -> None:
    ticket = load_ticket(resnet18)
    model = build_backbone("resnet18", stem="3x3", seed=3)
    own = model.get_parameter("conv1.weight").detach().clone()
    _refused(ticket, model, "stem 7x7.*stem 3x3.*ticket.stem fresh", weights=weights)
    ticket.apply_to(model, stem="fresh", weights=weights)
    assert torch.equal(model.get_parameter("conv1.weight"), own)
    if weights == "rewind":
        _expect(model, ticket, ticket.rewind_point().backbone, skip=("conv1.",))


def test_another_stem_of_a_foreign_model(resnet18: Path) -> None:
    ticket = load_ticket(resnet18)
    model = torchvision.models.resnet18()
    model.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    own = model.conv1.weight.detach().clone()
    _refused(ticket, model, r"conv1\.weight.*ticket.stem fresh")
    ticket.apply_to(model, stem="fresh")
    assert torch.equal(model.conv1.weight, own)


def test_other_channels(run: Any) -> None:
    ticket = run.ticket()
    model = build_backbone("resnet_digits", in_chans=1, seed=0)
    _refused(ticket, model, "in_chans 3, the model has in_chans 1")
    own = model.get_parameter("conv1.weight").detach().clone()
    ticket.apply_to(model, stem="fresh")
    assert torch.equal(model.get_parameter("conv1.weight"), own)


def test_weights_none_only_zeroes(run: Any) -> None:
    ticket = run.ticket()
    model = build_backbone("resnet_digits", seed=9)
    own = capture(model)
    ticket.apply_to(model, weights="none")
    _expect(model, ticket, own)


def test_weights_trained_and_given(run: Any) -> None:
    ticket = run.ticket()
    model = build_backbone("resnet_digits", seed=9)
    _refused(ticket, model, r"trained\.safetensors is missing", weights="trained")
    zeroed = {n: t * ticket.mask[n] if n in ticket.mask else t for n, t in run.round0.backbone.items()}
    save_trained_weights(ticket, NetworkState(zeroed, {}))
    ticket.apply_to(model, weights="trained")
    _expect(model, ticket, run.round0.backbone)
    ticket.apply_to(model, weights=run.rewind)
    _expect(model, ticket, run.rewind.backbone)


def test_a_mask_without_weights(tmp_path: Path) -> None:
    ticket = load_ticket(_ticket_of(build_backbone("resnet20", seed=0), tmp_path, {}, embed=False))
    model = build_backbone("resnet20", seed=5)
    _refused(ticket, model, "mask without weights")
    own = capture(model)
    ticket.apply_to(model, weights="none")
    _expect(model, ticket, own)


@pytest.mark.parametrize(
    "change",
    [
        lambda s: {n: t for n, t in s.items() if n != "bn1.running_var"},
        lambda s: {n: t for n, t in s.items() if n != "layer1.0.conv1.weight"},
        lambda s: {**s, "layer9.weight": torch.ones(1)},
        lambda s: {**s, "bn1.bias": torch.ones(3)},
    ],
)
def test_weights_that_do_not_fit(change: Callable[[dict[str, Tensor]], dict[str, Tensor]], run: Any) -> None:
    state = NetworkState(change(dict(run.rewind.backbone)), {})
    _refused(run.ticket(), build_backbone("resnet_digits", seed=9), "another architecture|has shape", weights=state)


def test_a_controls_mask(run: Any) -> None:
    from common.tickets.controls import control_mask

    ticket = run.ticket()
    model = build_backbone("resnet_digits", seed=9)
    control = control_mask(ticket, "random", 0)
    assert apply(ticket, control, model) == control
    for name, kept in control.items():
        expected = run.rewind.backbone[name].numpy() * kept.numpy()
        assert (model.get_parameter(name).detach().numpy() == expected).all()


def test_the_head_is_never_copied(run: Any) -> None:
    ticket = run.ticket()
    model = nn.Module()
    model.backbone = build_backbone("resnet_digits", seed=9)
    model.head = nn.Linear(64, 6)
    before = model.head.weight.detach().clone()
    ticket.apply_to(model, prefix="backbone.")
    assert torch.equal(model.head.weight, before)
