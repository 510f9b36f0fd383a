"""`verify`: a ticket within the rounds before it and within the ticket that it was made from."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from common.tickets.__main__ import main
from common.tickets.control_file import write_control
from common.tickets.mask import Mask
from common.tickets.ticket import Description, Ticket, save_ticket


@pytest.fixture
def verify(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Return a function that verifies and returns the exit code and the one line that was printed."""

    def run(*words: str | Path) -> tuple[int, str]:
        code = main(["verify", *map(str, words)])
        out, err = capsys.readouterr()
        (line,) = (out + err).strip().splitlines()
        return code, line

    return run


def _with(mask: Mask, name: str, place: int, kept: bool) -> Mask:
    """Return the mask with one weight of a tensor changed."""
    tensors = dict(mask.items())
    tensors[name].reshape(-1)[place] = kept
    return Mask(tensors)


def _save(path: Path, mask: Mask, like: Ticket, **changes: Any) -> Ticket:
    header = {**like.header, **changes}
    parts = ("arch", "scope", "origin", "rewind", "input", "parent", "scores")
    return save_ticket(path, mask, Description(**{key: header[key] for key in parts}), weights_file=None)


def test_rounds_of_a_real_search_are_nested(small_search: Path, verify: Callable[..., tuple[int, str]]) -> None:
    files = [small_search / f"round_{k:02}" / "ticket.safetensors" for k in range(4)]
    assert "names no parent" in verify(files[0])[1]
    for k in (1, 2, 3):
        code, line = verify(files[k])
        assert (code, f"nested in round {k - 1} of its run" in line) == (0, True)
    assert "nested in round 0 of its run" in verify(files[3], "--parent", files[0])[1]
    code, line = verify(files[1], "--parent", files[2])
    assert (code, "no parent or earlier round" in line) == (2, True)


def test_one_weight_that_came_back_is_found(run: Any, verify: Callable[..., tuple[int, str]]) -> None:
    before = run.ticket(density=0.3, round_=2)
    name = next(iter(before.mask))
    place = int((~before.mask[name]).reshape(-1).nonzero()[0])
    later = _save(
        run.folder / "round_03" / "ticket.safetensors",
        _with(before.mask, name, place, True),
        before,
        origin={**before.header["origin"], "round": 3},
        scores=None,
    )
    for words in ((later.path,), (later.path, "--parent", before.path)):
        code, line = verify(*words)
        assert (code, "keeps 1 weights that are pruned there" in line, name in line) == (2, True, True)


def test_a_ticket_of_another_run_in_the_place_of_the_round_before(run: Any, verify: Callable[..., tuple[int, str]]) -> None:
    later = run.ticket(density=0.2, round_=3)
    run.ticket(density=0.3, round_=2, origin={"round": 2, "run": "SimCLR/digits-ffffffffffff"})
    code, line = verify(later.path)
    assert (code, "no parent or earlier round" in line) == (2, True)


def test_the_parent_that_a_ticket_names(run: Any, tmp_path: Path, verify: Callable[..., tuple[int, str]]) -> None:
    parent = run.ticket(density=0.3, round_=2)
    other = {"round": 1, "run": "MoCo/digits-0123456789ab"}
    child = run.ticket(density=0.1, round_=1, parent=parent.digest, origin=other)
    assert "not checked" in verify(child.path)[1]
    assert "nested in its parent" in verify(child.path, "--parent", parent.path)[1]
    stranger = run.ticket(density=0.31, round_=4)
    code, line = verify(child.path, "--parent", stranger.path)
    assert (code, parent.digest[:12] in line) == (2, True)
    small = {"name": "resnet20", "stem": "3x3", "in_chans": 3, "variant": None}
    renamed = _save(tmp_path / "renamed.safetensors", child.mask, child, arch=small, parent=parent.digest, scores=None)
    code, line = verify(renamed.path, "--parent", parent.path)
    assert (code, "of name resnet20" in line) == (2, True)


def test_a_control_names_its_ticket_and_need_not_be_nested(
    run: Any, tmp_path: Path, verify: Callable[..., tuple[int, str]]
) -> None:
    ticket = run.ticket(density=0.3)
    control = write_control(ticket.path, "random_layerwise", 5, tmp_path / "c.safetensors")
    assert not control.mask.is_within(ticket.mask)
    assert "a control (random_layerwise:5) of its parent" in verify(control.path, "--parent", ticket.path)[1]
    copied = run.folder / "round_03" / "ticket.safetensors"
    copied.parent.mkdir()
    shutil.copy(control.path, copied)
    assert "a control" in verify(copied)[1]
