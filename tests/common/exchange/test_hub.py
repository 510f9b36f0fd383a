"""Push and pull with the Hub's own client against a local server that speaks its addresses; nothing leaves the machine."""

from __future__ import annotations

import importlib
import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from common.exchange.__main__ import main
from common.files import read_json
from common.tickets.ticket import load_ticket
from tests.common.exchange.hub_server import Hub

hub_package = pytest.importorskip("huggingface_hub")
constants = importlib.import_module("huggingface_hub.constants")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    """A local Hub that the client takes for the real one."""
    server = Hub("hf_right")
    for key, value in (("HF_TOKEN", "hf_right"), ("HF_HUB_DISABLE_TELEMETRY", "1"), ("NO_PROXY", "127.0.0.1")):
        monkeypatch.setenv(key, value)
    monkeypatch.setattr(constants, "ENDPOINT", server.address)
    template = "{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", f"{server.address}/{template}")
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no_token"))
    yield server
    server.close()


@pytest.fixture
def ticket(small_search: Path) -> Path:
    return small_search / "round_02" / "ticket.safetensors"


@pytest.fixture
def fails(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Return what runs a command that must fail, and returns its one line."""

    def run(*words: str | Path, code: int = 2) -> str:
        capsys.readouterr()
        assert main([*map(str, words)]) == code
        out, err = capsys.readouterr()
        assert out == ""
        (line,) = err.strip().splitlines()
        return line

    return run


def _push(ticket: Path, *words: str) -> int:
    return main(["push", str(ticket), "user/name", "--licence", "mit", *words])


def test_what_was_pushed_comes_back(hub: Any, ticket: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _push(ticket, "--private") == 0
    printed = capsys.readouterr().out
    oid, files = hub.repos["user/name"]["main"][-1]
    assert oid in printed
    assert hub.private == {"user/name"}
    assert set(files) == {".gitattributes", "README.md", "ticket.safetensors"}
    output = tmp_path / "new" / "t.safetensors"
    assert main(["pull", "user/name", "-o", str(output), "--revision", oid]) == 0
    assert output.read_bytes() == files["ticket.safetensors"]
    mine, theirs = load_ticket(output), load_ticket(ticket)
    assert mine.mask == theirs.mask
    state = theirs.rewind_point().backbone
    assert all(torch.equal(tensor, state[name]) for name, tensor in mine.rewind_point().backbone.items())
    assert mine.digest in capsys.readouterr().out
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["t.safetensors"]


def test_the_five_lines_of_the_card(hub: Any, ticket: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert _push(ticket) == 0
    card = hub.repos["user/name"]["main"][-1][1]["README.md"].decode()
    (code,) = re.findall(r"```python\n(.*?)\n```", card, flags=re.DOTALL)
    assert code.count("\n") == 4
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(compile(code, "card", "exec"), names)
    source = load_ticket(ticket)
    weights = source.rewind_point().backbone
    assert names["mask"] == source.mask
    for name, tensor in names["model"].state_dict().items():
        assert torch.equal(tensor, weights[name] * source.mask[name] if name in source.mask else weights[name]), name


def test_the_card_says_where_the_ticket_is_from(hub: Any, ticket: Path, tmp_path: Path) -> None:
    """The Hub's own reader understands the front matter; the text has the header's facts and the results' numbers."""
    own = read_json(ticket.with_name("result.json"))
    result = tmp_path / "control.json"
    result.write_text(json.dumps({**own, "control": "random", "value": 0.125, "flags": ["at_chance"]}))
    assert _push(ticket, "--result", str(ticket.with_name("result.json")), "--result", str(result)) == 0
    text = hub.repos["user/name"]["main"][-1][1]["README.md"].decode()
    data = hub_package.ModelCard(text).data
    header = load_ticket(ticket).header
    assert data.license == "mit"
    assert {"lottery-ticket", "resnet_digits"} <= set(data.tags)
    (score,) = data.eval_results
    assert (score.dataset_name, score.metric_type) == (own["data"]["name"], own["metric"])
    assert score.metric_value == own["value"]
    for fact in (
        header["mask_digest"],
        header["origin"]["config"],
        "SimCLR, simclr",
        "digits:0-2",
        f"{own['value']:.4f}",
        "0.1250",
    ):
        assert fact in text
    assert "- at_chance: the features are no better than chance" in text
    for name, count in header["kept"].items():
        assert re.search(rf"\| `{re.escape(name)}` \| [0-9x]+ \| {count:,} \|", text)
    assert str(tmp_path) not in text


def test_a_branch_and_the_commits_of_it(hub: Any, small_search: Path, tmp_path: Path) -> None:
    for k in (1, 2):
        assert _push(small_search / f"round_{k:02}" / "ticket.safetensors", "--revision", "rounds") == 0
    commits = hub.repos["user/name"]["rounds"]
    assert "ticket.safetensors" not in hub.repos["user/name"]["main"][-1][1]
    for revision, k in (("rounds", 2), (commits[-2][0], 1), (commits[-1][0], 2)):
        output = tmp_path / f"{revision}.safetensors"
        assert main(["pull", "user/name", "-o", str(output), "--revision", revision]) == 0
        assert load_ticket(output).round == k


def test_a_file_that_was_changed_on_the_way_is_put_nowhere(
    hub: Any, ticket: Path, tmp_path: Path, fails: Callable[..., str]
) -> None:
    assert _push(ticket) == 0
    content = bytearray(hub.repos["user/name"]["main"][-1][1]["ticket.safetensors"])
    content[-7] ^= 1
    hub.commit("user/name", "main", {"ticket.safetensors": bytes(content)})
    output = tmp_path / "out" / "t.safetensors"
    assert "the file is damaged or was edited" in fails("pull", "user/name", "-o", output)
    hub.commit("user/name", "main", {"ticket.safetensors": b"\x80\x04."})
    assert "not a ticket" in fails("pull", "user/name", "-o", output)
    assert not output.exists()


def test_another_ticket_than_the_one_that_is_meant(hub: Any, ticket: Path, tmp_path: Path, fails: Callable[..., str]) -> None:
    assert _push(ticket) == 0
    output = tmp_path / "t.safetensors"
    assert f"expected {'0' * 64}; nothing was written" in fails("pull", "user/name", "-o", output, "--digest", "0" * 64)
    assert not output.exists()
    output.write_text("mine")
    assert "is another file than user/name/ticket.safetensors" in fails("pull", "user/name", "-o", output)
    assert output.read_text() == "mine"
    output.unlink()
    for _ in range(2):  # the same ticket may lie there
        assert main(["pull", "user/name", "-o", str(output)]) == 0


def test_errors_are_one_line(
    hub: Any, ticket: Path, small_search: Path, tmp_path: Path, fails: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "t.safetensors"
    push = ("push", ticket, "user/name", "--licence", "mit")
    assert "--licence" in fails("push", ticket, "user/name")
    assert "expected an identifier" in fails("push", ticket, "user/name", "--licence", "my own")
    assert "ends in .safetensors" in fails(*push, "--file", "../t.safetensors")
    other = small_search / "round_01" / "result.json"
    assert "is a result of ticket" in fails(*push, "--result", other)
    assert "is not a JSON file" in fails(*push, "--result", ticket)
    assert "takes names like user/name" in fails("push", ticket, "a/b/c", "--licence", "mit")
    assert "there is no user/name on the Hub" in fails("pull", "user/name", "-o", output)
    assert hub.repos == {}
    assert "license must be a valid id" in fails("push", ticket, "user/name", "--licence", "nonsense")
    assert _push(ticket) == 0
    assert "has no revision gone" in fails("pull", "user/name", "-o", output, "--revision", "gone")
    assert "has no file other.safetensors" in fails("pull", "user/name", "-o", output, "--file", "other.safetensors")
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    assert "HF_TOKEN" in fails(*push)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "the Hub" in fails("pull", "user/name", "-o", output, code=1)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    for words in (push, ("pull", "user/name", "-o", output)):
        assert "pip install huggingface_hub (the extra hub)" in fails(*words)
    assert not output.exists()


def test_a_mask_without_weights_is_not_shared(hub: Any, small_search: Path, tmp_path: Path, fails: Callable[..., str]) -> None:
    lost = tmp_path / "round_02" / "ticket.safetensors"
    lost.parent.mkdir()
    lost.write_bytes((small_search / "round_02" / "ticket.safetensors").read_bytes())
    assert "rewind.safetensors" in fails("push", lost, "user/name", "--licence", "mit")
    assert hub.repos == {}
