"""Where a run lives: what is part of its identity, and what is not."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from common.cli import Command, resolve
from common.errors import InputError
from common.identity import run_directory, ticket_seed
from Downstream.main import COMMAND as DOWNSTREAM
from SimCLR.main import COMMAND as SIMCLR


def directory(command: Command, *words: str) -> Path:
    return run_directory(resolve(command, list(words)))


def test_the_hash_is_sha256_of_version_folder_and_what_the_run_is() -> None:
    invocation = resolve(SIMCLR, ["--seed.ticket=3", "--seed.task=4"])
    left_out = {"seed", "log"}
    inner = {("data", "root"), ("data", "download"), ("train", "device"), ("train", "threads"), ("train", "checkpoint_every")}
    inner |= {("train", "log_every")}
    inner |= {("data", "workers"), ("data", "decode"), ("data", "cache"), ("data", "skip_unreadable"), ("prune", "on_alarm")}
    inner |= {("data", name) for name in ("source", "target", "crop", "interpolation", "validation")}  # at what they stand for
    # SGD with a cosine on plain digits: nothing reads these
    inner |= {("optim", name) for name in ("betas", "eps", "trust_coefficient", "milestones", "gamma", "end", "power")}
    inner |= {("rewind", "keep")}
    inner |= {("augment", "blur_sigma"), ("augment", "blur_kernel")}
    stands_for = {("data", "size"): 16, ("data", "storage"): "memory", ("model", "stem"): "native"}
    stands_for |= {("optim", "decay_norms"): True, ("rewind", "to"): "round0"}
    inner |= {("prune", "early_bird"), ("prune", "early_bird_window"), ("model", "width")}
    inner |= {("start", name) for name in ("format", "input", "stem", "head", "train")}
    inner |= {("model", "variant")}

    def values(config: object, group: str = "") -> dict:
        tree = {}
        for name, value in vars(config).items():
            if (group, name) in inner or (not group and name == "out"):
                continue
            if hasattr(value, "__dataclass_fields__"):
                tree[name] = {} if name in left_out else values(value, name)
            else:
                value = stands_for.get((group, name), value)
                tree[name] = list(value) if isinstance(value, tuple) else value
        return tree

    text = json.dumps([2, "SimCLR", values(invocation.config)], sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    expected = hashlib.sha256(text.encode()).hexdigest()[:12]
    assert run_directory(invocation) == Path(f"runs/SimCLR/digits-{expected}/seed3-4")


@pytest.mark.parametrize(
    "words",
    [["--train.device=cpu"], ["--train.threads=2"], ["--log.progress=false"], ["--data.download=true"], ["--train.log_every=7"]],
)
def test_what_does_not_change_a_result_does_not_change_the_run(words: list[str]) -> None:
    assert directory(SIMCLR, *words) == directory(SIMCLR)


@pytest.mark.parametrize("words", [["--prune.rate=0.5"], ["--optim.lr=0.3"], ["--data.name=digits:0-4"], ["--train.epochs=3"]])
def test_what_changes_a_result_changes_the_run(words: list[str]) -> None:
    assert directory(SIMCLR, *words) != directory(SIMCLR)


def test_a_ticket_enters_by_run_and_round_before_it_exists() -> None:
    search = directory(SIMCLR, "--seed.ticket=2")
    words = [f"--ticket.file={search}/round_05/ticket.safetensors"]
    assert ticket_seed(resolve(DOWNSTREAM, words).config) == 2
    found = directory(DOWNSTREAM, *words)
    assert found.name == "seed2-0"
    elsewhere = directory(DOWNSTREAM, f"--ticket.file=/elsewhere/{search}/round_05/ticket.safetensors")
    assert elsewhere == found
    other_seed = directory(DOWNSTREAM, f"--ticket.file={directory(SIMCLR, '--seed.ticket=3')}/round_05/ticket.safetensors")
    assert (other_seed.parent, other_seed.name) == (found.parent, "seed3-0")
    assert directory(DOWNSTREAM, f"--ticket.file={search}/round_06/ticket.safetensors").parent != found.parent


def test_a_ticket_is_the_same_wherever_one_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tmp_path / directory(SIMCLR, "--seed.ticket=2")
    (run / "round_05").mkdir(parents=True)
    found = directory(DOWNSTREAM, f"--ticket.file={run}/round_05/ticket.safetensors")
    assert directory(DOWNSTREAM, f"--ticket.file={run}/../seed2-0/round_04/../round_05/ticket.safetensors") == found
    for there, file in ((run, "round_05/ticket.safetensors"), (run / "round_05", "./ticket.safetensors")):
        monkeypatch.chdir(there)
        assert directory(DOWNSTREAM, f"--ticket.file={file}") == found


def test_what_is_behind_a_link_and_back_is_named_by_where_it_is(tmp_path: Path) -> None:
    """LINK/.. is the folder that the link's target lies in: here another run's."""
    run, other = (tmp_path / directory(SIMCLR, f"--prune.rate={rate}") for rate in (0.3, 0.4))
    (other / "round_05").mkdir(parents=True)
    run.mkdir(parents=True)
    (run / "link").symlink_to(other / "round_05")
    expected = directory(DOWNSTREAM, f"--ticket.file={other}/round_05/ticket.safetensors")
    assert directory(DOWNSTREAM, f"--ticket.file={run}/link/../round_05/ticket.safetensors") == expected


def test_a_ticket_that_moved_out_of_its_run_enters_by_its_digest(small_search: Path, tmp_path: Path) -> None:
    moved = tmp_path / "t.safetensors"
    moved.write_bytes((small_search / "round_01/ticket.safetensors").read_bytes())
    a = directory(DOWNSTREAM, f"--ticket.file={moved}")
    assert a.name == "seed0-0"
    assert a != directory(DOWNSTREAM, f"--ticket.file={small_search}/round_01/ticket.safetensors")


def test_a_seed_that_contradicts_the_ticket_is_refused() -> None:
    search = directory(SIMCLR, "--seed.ticket=2")
    with pytest.raises(InputError, match=r"seed\.ticket is 1, but .* was found with seed 2"):
        directory(DOWNSTREAM, f"--ticket.file={search}/round_05/ticket.safetensors", "--seed.ticket=1")


def test_given_weights_enter_by_content(tmp_path: Path) -> None:
    for name, content in (("a.pt", b"1"), ("b.pt", b"1"), ("c.pt", b"2")):
        (tmp_path / name).write_bytes(content)
    a, b, c = (directory(SIMCLR, f"--start.weights={tmp_path / name}") for name in ("a.pt", "b.pt", "c.pt"))
    assert a == b
    assert a != c
    with pytest.raises(InputError, match="cannot read"):
        directory(SIMCLR, f"--start.weights={tmp_path / 'none.pt'}")


def test_two_folders_of_images_are_two_runs_and_another_root_of_a_known_set_is_not() -> None:
    a, b = (directory(SIMCLR, "--data.name=folder", "--data.size=16", f"--data.root=/data/{name}") for name in "ab")
    assert a.parent != b.parent
    a, b = (directory(SIMCLR, "--data.name=cifar10", f"--data.root=/data/{name}") for name in "ab")
    assert a == b


def test_a_ticket_to_start_from_enters_as_tickets_do_before_it_exists(small_search: Path, tmp_path: Path) -> None:
    search = directory(SIMCLR, "--seed.ticket=2")
    words = [f"--start.weights={search}/round_05/ticket.safetensors"]
    found = directory(SIMCLR, *words)
    assert (found.name, ticket_seed(resolve(SIMCLR, words).config)) == ("seed2-0", 2)
    other = directory(SIMCLR, f"--start.weights={directory(SIMCLR, '--seed.ticket=3')}/round_05/ticket.safetensors")
    assert (other.parent, other.name) == (found.parent, "seed3-0")
    assert directory(SIMCLR, f"--start.weights={search}/round_06/ticket.safetensors").parent != found.parent
    with pytest.raises(InputError, match=r"seed\.ticket is 1, but .* was found with seed 2"):
        directory(SIMCLR, *words, "--seed.ticket=1")
    moved = tmp_path / "t.safetensors"
    moved.write_bytes((small_search / "round_01/ticket.safetensors").read_bytes())
    by_digest = directory(SIMCLR, f"--start.weights={moved}")
    assert by_digest.name == "seed0-0"
    assert by_digest.parent not in (found.parent, directory(SIMCLR).parent)


def test_two_tickets_of_one_transfer_have_their_seeds_told_apart() -> None:
    tickets = {seed: f"{directory(SIMCLR, f'--seed.ticket={seed}')}/round_05/ticket.safetensors" for seed in (1, 2, 3)}
    found = [
        directory(DOWNSTREAM, f"--ticket.file={tickets[a]}", f"--start.weights={tickets[b]}", "--ticket.control=mask_only")
        for a, b in ((1, 1), (2, 2), (1, 2), (1, 3))
    ]
    assert found[0].parent == found[1].parent
    assert len({path.parent for path in found}) == 3


def test_published_weights_enter_by_name_and_model(tmp_path: Path) -> None:
    resnet = ["--model.name=resnet18"]
    found = {directory(SIMCLR, "--start.weights=timm", *words).parent for words in (resnet, ["--model.name=resnet34"])} | {
        directory(SIMCLR, f"--start.weights={name}", *resnet).parent
        for name in ("timm", "torchvision", "torchvision:IMAGENET1K_V1")
    }
    assert len(found) == 4


def test_an_input_in_a_file_enters_by_content(tmp_path: Path) -> None:
    for name, content in (("w.pt", "w"), ("a.json", "1"), ("b.json", "1"), ("c.json", "2")):
        (tmp_path / name).write_text(content)
    a, b, c = (directory(SIMCLR, f"--start.weights={tmp_path}/w.pt", f"--start.input={tmp_path / name}.json") for name in "abc")
    assert a == b
    assert a != c
