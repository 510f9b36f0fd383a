"""Every control recomputed by hand from the files, with numpy."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from common.errors import InputError
from common.models.backbones import build_backbone
from common.tickets.control_file import write_control
from common.tickets.controls import CONTROLS, control_mask, find_control
from common.tickets.errors import TicketError
from common.tickets.mask import Mask
from common.tickets.rewind import capture
from common.tickets.ticket import Ticket, load_ticket, save_ticket
from common.tickets.weights_file import NetworkState, save_weights

DRAWN = ("random", "random_layerwise", "random_uniform", "shuffled", "perturbed", "swapped")
OF_THE_TASK = ("mask_only", "small_dense", "dense_long")
FIXED = ("ticket", "dense", "scratch", "reversed", "reversed_matched", "one_shot", "reinit", "mask_only", "dense_long")


def _bits(mask: Mask) -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in mask.items()}


def _flat(mask: Mask) -> np.ndarray:
    return np.concatenate([array.reshape(-1) for _, array in sorted(_bits(mask).items())])


def _scores(run: Any, mask: Mask) -> np.ndarray:
    """Read s0 with the safetensors library: |parameters at the end of round 0|, by name, then C order."""
    stored = load_file(run.folder / "scores.safetensors")
    return np.concatenate([np.abs(stored[f"weight/{name}"]).reshape(-1) for name in sorted(mask)])


def _kernels(array: np.ndarray) -> Counter[bytes]:
    return Counter(array[o, i].tobytes() for o in range(array.shape[0]) for i in range(array.shape[1]))


@pytest.fixture
def ticket(run: Any) -> Ticket:
    return run.ticket(density=0.3)


def test_the_list_is_that_of_the_design() -> None:
    assert set(CONTROLS) == {*DRAWN, *FIXED, "small_dense"}
    weights = {name: control.weights for name, control in CONTROLS.items() if control.weights != "rewind"}
    assert weights == {"scratch": "fresh", "reinit": "fresh", "mask_only": "start", "small_dense": "narrow"}


@pytest.mark.parametrize("name", ["ticket", "reinit", "mask_only"])
def test_the_same_mask(name: str, ticket: Ticket) -> None:
    assert (_flat(control_mask(ticket, name, 3)) == _flat(ticket.mask)).all()


@pytest.mark.parametrize("name", ["dense", "scratch", "dense_long"])
def test_dense(name: str, ticket: Ticket) -> None:
    assert _flat(control_mask(ticket, name, 3)).all()


def test_random_keeps_k(ticket: Ticket) -> None:
    mask = control_mask(ticket, "random", 3)
    assert _flat(mask).sum() == _flat(ticket.mask).sum()
    assert mask.kept_per_tensor != ticket.mask.kept_per_tensor


def test_random_layerwise_keeps_k_per_tensor(ticket: Ticket) -> None:
    bits, own = _bits(control_mask(ticket, "random_layerwise", 3)), _bits(ticket.mask)
    assert {n: a.sum() for n, a in bits.items()} == {n: a.sum() for n, a in own.items()}
    assert any((bits[n] != own[n]).any() for n in own)


def test_random_uniform_keeps_the_density_in_every_tensor(ticket: Ticket) -> None:
    own = _flat(ticket.mask)
    for name, array in _bits(control_mask(ticket, "random_uniform", 3)).items():
        assert abs(array.sum() - own.mean() * array.size) <= 0.5, name


def test_shuffled_permutes_whole_kernels_inside_a_tensor(ticket: Ticket) -> None:
    bits, own = _bits(control_mask(ticket, "shuffled", 3)), _bits(ticket.mask)
    for name in own:
        assert _kernels(bits[name]) == _kernels(own[name])
        assert (bits[name] != own[name]).any()
    across_inputs = [n for n in own if not (bits[n].sum((1, 2, 3)) == own[n].sum((1, 2, 3))).all()]
    assert len(across_inputs) == len(own)  # over (out, in) pairs, not inside a filter only


def test_shuffled_takes_tensors_of_any_rank(run: Any, describe: Any, tmp_path: Path) -> None:
    mask = Mask({"linear": torch.arange(12).reshape(3, 4) % 3 == 0, "vector": torch.arange(7) % 2 == 0})
    shuffled = control_mask(save_ticket(tmp_path / "t.safetensors", mask, describe()), "shuffled", 1)
    assert shuffled.kept_per_tensor == mask.kept_per_tensor


def test_reversed_is_the_complement(ticket: Ticket) -> None:
    mask = control_mask(ticket, "reversed", 3)
    assert (_flat(mask) == ~_flat(ticket.mask)).all()
    assert mask.density == pytest.approx(1 - ticket.density)


@pytest.mark.parametrize(("name", "largest"), [("one_shot", True), ("reversed_matched", False)])
def test_cut_from_round_0(name: str, largest: bool, run: Any, ticket: Ticket) -> None:
    scores, kept = _scores(run, ticket.mask), int(_flat(ticket.mask).sum())
    order = np.argsort(-scores if largest else scores, kind="stable")
    expected = np.zeros(len(scores), dtype=bool)
    expected[order[:kept]] = True
    assert (_flat(control_mask(ticket, name, 3)) == expected).all()


def test_perturbed_flips_a_tenth_of_each(ticket: Ticket) -> None:
    own, flipped = _flat(ticket.mask), _flat(control_mask(ticket, "perturbed", 3))
    assert (own & ~flipped).sum() == round(0.1 * own.sum())
    assert (~own & flipped).sum() == round(0.1 * (~own).sum())


def test_perturbed_density_of_the_paper(run: Any) -> None:
    ticket = run.ticket(density=0.018)
    density = ticket.mask.density
    assert density == pytest.approx(0.018, abs=0.002)
    assert control_mask(ticket, "perturbed", 0).density == pytest.approx(0.9 * density + 0.1 * (1 - density), abs=1e-4)
    assert pytest.approx(0.114, abs=5e-4) == 0.9 * 0.018 + 0.1 * 0.982


def test_swapped_keeps_the_density(ticket: Ticket) -> None:
    own, swapped = _flat(ticket.mask), _flat(control_mask(ticket, "swapped", 3))
    assert swapped.sum() == own.sum()
    assert (own & ~swapped).sum() == (~own & swapped).sum() == round(0.1 * own.sum())


@pytest.mark.parametrize("name", DRAWN)
def test_draws_depend_on_seed_and_ticket_alone(name: str, run: Any, ticket: Ticket) -> None:
    first = control_mask(ticket, name, 3)
    torch.manual_seed(99)
    assert control_mask(load_ticket(ticket.path), name, 3) == first
    assert control_mask(ticket, name, 4) != first
    other = run.ticket(density=0.3, seed=1, round_=3)
    assert other.mask != ticket.mask
    assert control_mask(other, name, 3) != first


def test_two_tickets_of_equal_density_get_independent_random_masks(ticket: Ticket, describe: Any, tmp_path: Path) -> None:
    """Their random controls overlap as chance says, not wholly: d1 d2 / (d1 + d2 - d1 d2)."""
    changed = ticket.mask.flat()
    kept, pruned = int(changed.nonzero()[0]), int((~changed).nonzero()[0])
    changed[kept], changed[pruned] = False, True
    other = save_ticket(tmp_path / "t.safetensors", Mask.from_flat(changed, ticket.mask.shapes), describe())
    assert other.mask.kept == ticket.mask.kept
    a, b = _flat(control_mask(ticket, "random", 0)), _flat(control_mask(other, "random", 0))
    d = a.mean()
    assert (a & b).sum() / (a | b).sum() == pytest.approx(d * d / (2 * d - d * d), abs=0.02)


@pytest.mark.parametrize("name", ["random", "random_layerwise", "random_uniform"])
def test_random_masks_overlap_as_chance_says_and_cover_evenly(name: str, ticket: Ticket) -> None:
    masks = np.stack([_flat(control_mask(ticket, name, seed)) for seed in range(24)])
    density = masks[0].mean()
    pairs = [(masks[i] & masks[i + 1]).sum() / (masks[i] | masks[i + 1]).sum() for i in range(0, 24, 2)]
    assert np.mean(pairs) == pytest.approx(density / (2 - density), abs=0.01)
    per_weight = masks.sum(0)
    assert per_weight.mean() == pytest.approx(24 * density, rel=1e-6)
    assert per_weight.var() == pytest.approx(24 * density * (1 - density), rel=0.05)  # binomial over weights
    halves = masks[:, : masks.shape[1] // 2].mean()
    assert halves == pytest.approx(density, abs=0.02)


def test_flips_are_uniform(ticket: Ticket) -> None:
    own = _flat(ticket.mask)
    flips = np.stack([_flat(control_mask(ticket, "perturbed", seed)) ^ own for seed in range(30)]).sum(0)
    assert flips[own].mean() == pytest.approx(3, rel=0.01)
    assert flips.var() == pytest.approx(30 * 0.1 * 0.9, rel=0.05)


def test_errors(run: Any, ticket: Ticket, describe: Any, tmp_path: Path) -> None:
    with pytest.raises(TicketError, match=r"unknown control 'randm'.*did you mean random.*shuffled"):
        find_control("randm")
    with pytest.raises(InputError, match="seed"):
        control_mask(ticket, "random", -1)
    dense = save_ticket(tmp_path / "dense.safetensors", Mask.dense(ticket.mask.shapes), describe())
    with pytest.raises(TicketError, match="reversed has no meaning"):
        control_mask(dense, "reversed", 0)
    with pytest.raises(TicketError, match="swapped cannot be made"):
        control_mask(dense, "swapped", 0)
    assert control_mask(dense, "perturbed", 0).kept == dense.mask.size - round(0.1 * dense.mask.size)
    for name in ("one_shot", "reversed_matched"):
        with pytest.raises(TicketError, match=r"scores\.safetensors"):
            control_mask(dense, name, 0)
    (run.folder / "scores.safetensors").unlink()
    with pytest.raises(TicketError, match=r"scores\.safetensors"):
        control_mask(ticket, "one_shot", 0)


def test_round_0_weights_of_another_network(run: Any) -> None:
    run.scores_sha = save_weights(run.folder / "scores.safetensors", NetworkState({"other": torch.ones(2)}, {}))
    with pytest.raises(TicketError, match="have no tensor"):
        control_mask(run.ticket(), "one_shot", 0)
    broken = {n: t * float("nan") for n, t in run.round0.backbone.items()}
    run.scores_sha = save_weights(run.folder / "scores.safetensors", NetworkState(broken, {}))
    with pytest.raises(TicketError, match="NaN"):
        control_mask(run.ticket(), "one_shot", 0)


@pytest.mark.parametrize("name", [n for n in CONTROLS if n not in OF_THE_TASK])
def test_control_files(name: str, ticket: Ticket, run: Any, tmp_path: Path) -> None:
    written = write_control(ticket.path, name, 5, tmp_path / "control.safetensors")
    read = load_ticket(written.path)
    assert read.mask == control_mask(ticket, name, 5)
    assert read.header["parent"] == ticket.digest
    assert read.digest != ticket.digest
    state = read.rewind_point().backbone
    fresh = name in ("scratch", "reinit")
    expected = capture(build_backbone("resnet_digits", seed=5, stream="fresh")) if fresh else run.rewind.backbone
    assert set(state) == set(expected)
    assert all(torch.equal(state[n], expected[n]) for n in expected)
    assert write_control(ticket.path, name, 5, tmp_path / "again.safetensors").digest == read.digest


def test_fresh_weights_are_not_the_searchs_own_start(ticket: Ticket, tmp_path: Path) -> None:
    """Else `reinit` with the search's seed would be the winning ticket itself."""
    state = write_control(ticket.path, "reinit", 3, tmp_path / "c.safetensors").rewind_point().backbone
    start = capture(build_backbone("resnet_digits", seed=3))
    assert not any(torch.equal(state[name], start[name]) for name in ticket.mask)


@pytest.mark.parametrize(("name", "why"), zip(OF_THE_TASK, (r"start\.weights", "another, narrower network", "how long a task")))
def test_what_belongs_to_the_tasks_run_has_no_file(name: str, why: str, ticket: Ticket, tmp_path: Path) -> None:
    with pytest.raises(TicketError, match=why):
        write_control(ticket.path, name, 0, tmp_path / "c.safetensors")
    assert not (tmp_path / "c.safetensors").exists()


def test_a_control_of_a_ticket_whose_weights_are_gone(ticket: Ticket, run: Any, tmp_path: Path) -> None:
    (run.folder / "rewind.safetensors").unlink()
    with pytest.raises(TicketError, match=r"rewind\.safetensors"):
        write_control(ticket.path, "random", 0, tmp_path / "c.safetensors")
    assert load_ticket(write_control(ticket.path, "reinit", 0, tmp_path / "c.safetensors").path).mask == ticket.mask
