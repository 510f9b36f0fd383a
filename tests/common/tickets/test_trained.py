"""Trained weights: bound to one ticket, whole, and zero where its mask prunes."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from common.tickets.errors import TicketError
from common.tickets.ticket import Ticket, load_ticket
from common.tickets.trained import TRAINED, save_trained_weights
from common.tickets.weights_file import NetworkState, save_weights


def _zeroed(run: Any, ticket: Ticket) -> NetworkState:
    """Some weights of the architecture, zero where the ticket prunes."""
    weights = {n: t * ticket.mask[n] if n in ticket.mask else t for n, t in run.round0.backbone.items()}
    return NetworkState(weights, {"weight": torch.ones(2, 3)})


def _refused(ticket: Ticket) -> str:
    with pytest.raises(TicketError) as error:
        load_ticket(ticket.path).trained_weights()
    assert "\n" not in str(error.value)
    return str(error.value)


def test_they_come_back_as_they_were(run: Any) -> None:
    first = run.ticket(round_=0).trained_weights().backbone
    assert all(torch.equal(first[name], tensor) for name, tensor in run.round0.backbone.items())
    ticket = run.ticket(round_=2)
    assert "round_02/trained.safetensors is missing" in _refused(ticket)
    state = _zeroed(run, ticket)
    named = save_trained_weights(ticket, state)
    file = ticket.path.parent / TRAINED
    assert named == {"file": file.name, "sha256": hashlib.sha256(file.read_bytes()).hexdigest()}
    read = load_ticket(ticket.path).trained_weights()
    assert all(torch.equal(read.backbone[name], tensor) for name, tensor in state.backbone.items())
    assert torch.equal(read.head["weight"], state.head["weight"])


def test_the_file_says_whose_it_is_in_one_key_of_metadata(run: Any) -> None:
    ticket = run.ticket(round_=2)
    save_trained_weights(ticket, _zeroed(run, ticket))
    with safe_open(ticket.path.parent / TRAINED, "pt") as file:
        metadata = file.metadata()
    assert list(metadata) == ["weights"]
    said = json.loads(metadata["weights"])["ticket"]
    assert said["run"] == f"{ticket.header['origin']['run']}@2"
    assert (said["mask_digest"], said["digest"]) == (ticket.header["mask_digest"], ticket.digest)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"round_": 3, "density": 0.4}, "run"),
        ({"origin": {"round": 2, "run": "SimCLR/digits-0123456789ab/seed4-0"}}, "run"),
        ({"seed": 1}, "mask_digest"),
        ({"rewind": {"to": "init", "at": None}}, "digest"),
    ],
)
def test_those_of_another_run_round_mask_or_ticket_are_refused(
    change: dict[str, Any], named: str, run: Any, tmp_path: Path
) -> None:
    other = run.ticket(**{"density": 0.4, **change})
    save_trained_weights(other, _zeroed(run, other))
    content = (other.path.parent / TRAINED).read_bytes()
    ticket = run.ticket(density=0.4)
    (ticket.path.parent / TRAINED).write_bytes(content)
    line = _refused(ticket)
    assert "belongs to another ticket" in line
    assert f"its {named} is" in line


def test_weights_that_name_no_ticket_are_refused(run: Any) -> None:
    ticket = run.ticket()
    save_weights(ticket.path.parent / TRAINED, _zeroed(run, ticket))
    assert "does not say which ticket" in _refused(ticket)


def test_a_changed_file_is_refused(run: Any) -> None:
    ticket = run.ticket()
    save_trained_weights(ticket, _zeroed(run, ticket))
    file = ticket.path.parent / TRAINED
    content = file.read_bytes()
    for place in (10, len(content) // 2, len(content) - 1):
        damaged = bytearray(content)
        damaged[place] ^= 1
        file.write_bytes(damaged)
        _refused(ticket)
    file.write_bytes(content)
    with safe_open(file, "pt") as opened:
        metadata = opened.metadata()
    tensors = load_file(file)
    tensors["head/weight"] += 1  # an edit by a library that keeps the metadata
    save_file(tensors, file, metadata)
    assert "digest" in _refused(ticket)


def test_the_rounds_result_names_the_file(run: Any) -> None:
    ticket = run.ticket()
    state = _zeroed(run, ticket)
    named = save_trained_weights(ticket, state)
    result = ticket.path.parent / "result.json"
    result.write_text(json.dumps({"details": {"trained": named}}))
    load_ticket(ticket.path).trained_weights()
    save_trained_weights(ticket, NetworkState(state.backbone, {"weight": torch.zeros(2, 3)}))
    line = _refused(ticket)
    assert f"{result} names" in line
    result.write_text(json.dumps({"details": {}}))
    assert f"{result} names no trained weights" in _refused(ticket)


def test_weights_where_the_mask_prunes_are_refused_when_written_and_when_read(run: Any) -> None:
    ticket = run.ticket()
    dense = NetworkState(run.round0.backbone, {})
    name = next(iter(ticket.mask))
    pruned = int((~ticket.mask[name]).sum())
    with pytest.raises(TicketError, match=rf"{name}.*not zero at {pruned:,}"):
        save_trained_weights(ticket, dense)
    assert not (ticket.path.parent / TRAINED).exists()
    own = {
        "run": f"{ticket.header['origin']['run']}@2",
        "mask_digest": ticket.header["mask_digest"],
        "digest": ticket.digest,
    }
    save_weights(ticket.path.parent / TRAINED, dense, own)
    assert "not zero" in _refused(ticket)
    fewer = {key: tensor for key, tensor in _zeroed(run, ticket).backbone.items() if key != name}
    save_weights(ticket.path.parent / TRAINED, NetworkState(fewer, {}), own)
    assert "no such tensor" in _refused(ticket)
    broken = dict(_zeroed(run, ticket).backbone)
    broken[name] = torch.where(ticket.mask[name], broken[name], torch.full_like(broken[name], float("nan")))
    save_weights(ticket.path.parent / TRAINED, NetworkState(broken, {}), own)
    assert "not zero" in _refused(ticket)


def test_a_ticket_that_no_search_wrote_has_none(run: Any) -> None:
    ticket = run.ticket(origin={"round": 2, "importer": "control:random:0"})
    assert "was not written by a search" in _refused(ticket)
