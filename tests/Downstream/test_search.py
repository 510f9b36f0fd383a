"""Tickets found on the task itself: masks, rewind points and choices recomputed from the files."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from common.config import DataConfig
from common.data.datasets import Dataset, Images, load_data
from common.tickets import load_ticket
from common.tickets.header import read_header
from Downstream.main import main

FAST = (
    "--recipe=digits_imp", "--data.name=digits:3-5", "--train.epochs=2", "--prune.rounds=2", "--train.device=cpu",
    "--train.threads=1", "--log.tensorboard=false", "--log.progress=false", "--keep.trained=all",
)  # fmt: skip
ROUNDS = range(3)
Find = Callable[..., Path]


def search(out: Path, *words: str) -> Path:
    before = set(out.glob("Downstream/*/*/run.json"))
    assert main([*FAST, f"--out={out}", *words]) == 0
    (made,) = set(out.glob("Downstream/*/*/run.json")) - before
    return made.parent


@pytest.fixture
def find(tmp_path: Path) -> Find:
    return lambda *words: search(tmp_path / "runs", *words)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished search on digits 3 to 5 with 40 labels, rewound to its initialisation; no test writes there."""
    return search(tmp_path_factory.mktemp("found"))


def result(run: Path, round_: int) -> dict:
    return json.loads((run / f"round_{round_:02d}/result.json").read_text())


def flat(tensors: dict[str, np.ndarray]) -> np.ndarray:
    return np.concatenate([tensors[name].ravel() for name in sorted(tensors)])


def mask_of(run: Path, round_: int) -> dict[str, np.ndarray]:
    return {name: kept.numpy() for name, kept in load_ticket(run / f"round_{round_:02d}/ticket.safetensors").mask.items()}


def trained(run: Path, round_: int) -> dict[str, np.ndarray]:
    return load_file(run / (f"round_{round_:02d}/trained.safetensors" if round_ else "scores.safetensors"))


def highest(scores: np.ndarray, within: np.ndarray, count: int) -> np.ndarray:
    kept = np.zeros_like(within)
    kept[np.argsort(np.where(within, -scores, np.inf), kind="stable")[:count]] = True
    return kept


def digests(run: Path) -> list[str]:
    return [load_ticket(path).digest for path in sorted(run.glob("round_*/ticket.safetensors"))]


def test_masks_rank_the_weights_that_the_task_has_trained(found: Path) -> None:
    for before, after in pairwise(ROUNDS):
        within, stored = flat(mask_of(found, before)), trained(found, before)
        scores = flat({name: np.abs(stored[f"weight/{name}"]) for name in mask_of(found, 0)})
        count = int(within.sum()) - round(0.34 * int(within.sum()))
        assert (flat(mask_of(found, after)) == highest(scores, within, count)).all()


def test_every_round_leaves_a_result_of_protocol_imp(found: Path) -> None:
    for round_ in ROUNDS:
        told = result(found, round_)
        assert (told["task"], told["protocol"], told["control"]) == ("classification", "imp", "ticket")
        assert (told["split"], told["metric"], told["value"]) == ("test", "top1", told["metrics"]["test/top1"])
        assert told["details"]["labels"] == 40
        assert told["density"] == pytest.approx(0.66**round_, abs=1e-4)
        assert not any(name.startswith("validation/") for name in told["metrics"]), "no more than 40 labels are looked at"
        header = read_header(found / f"round_{round_:02d}/ticket.safetensors")
        assert (header["origin"]["objective"], header["rewind"]["to"], told["ticket"]) == (
            "classification",
            "init",
            header["digest"],
        )
    last, whole = result(found, 2), json.loads((found / "result.json").read_text())
    assert {key: value for key, value in whole.items() if key != "details"} == {k: v for k, v in last.items() if k != "details"}


def test_the_value_is_that_of_the_trained_network_on_the_test_images(found: Path) -> None:
    from common.models.backbones import build_backbone

    data = load_data("digits:3-5")
    for round_ in ROUNDS:
        stored = {name: torch.from_numpy(value) for name, value in trained(found, round_).items()}
        backbone = build_backbone("resnet_digits").eval()
        backbone.load_state_dict({n.removeprefix("weight/"): t for n, t in stored.items() if n.startswith("weight/")})
        with torch.no_grad():
            features = backbone(data.input.normalise(data.test.images))
        predicted = (features @ stored["head/weight"].T + stored["head/bias"]).argmax(1)
        assert result(found, round_)["value"] == pytest.approx(float((predicted == data.test.labels).float().mean()))


def test_with_every_label_validation_is_measured_too(find: Find) -> None:
    run = find("--data.labels=null", "--train.epochs=1", "--prune.rounds=1")
    assert {name.partition("/")[0] for name in result(run, 1)["metrics"]} == {"test", "validation"}
    assert result(run, 1)["split"] == "test"


def test_nothing_depends_on_the_test_images_but_the_values(find: Find, found: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def other_test_images(config: DataConfig) -> Dataset:
        data = load_data(config.name)
        test = Images(255 - data.test.images, (data.test.labels + 1) % len(data.classes))
        return Dataset(data.name, data.classes, data.input, {**data.splits, "test": test}, data.split_hash, data.fingerprint)

    monkeypatch.setattr("Downstream.target.open_data", other_test_images)
    run = find()
    assert digests(run) == digests(found)
    assert [result(run, k)["value"] for k in ROUNDS] != [result(found, k)["value"] for k in ROUNDS]


def test_rewinding_to_a_step_is_that_step_bit_for_bit_and_resumes_its_schedule(find: Find) -> None:
    """The weights are those of a run that ends there; behind the step the rate moves nothing, so every round ends at them."""
    rates = ("--optim.schedule=multistep", "--optim.milestones=[1ep]", "--optim.gamma=1e-30", "--train.log_every=1")
    run = find(*rates, "--rewind.to=step", "--rewind.step=1ep")
    short = find(*rates, "--train.epochs=1", "--prune.rounds=1")
    rewind, there = load_file(run / "rewind.safetensors"), trained(short, 0)
    assert rewind.keys() == there.keys()
    assert all(rewind[name].tobytes() == there[name].tobytes() for name in rewind)
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    rates_of = {k: {line["step"]: line["lr"] for line in lines if line["round"] == k and "lr" in line} for k in ROUNDS}
    steps = len(rates_of[0]) // 2
    for round_ in (1, 2):
        assert rates_of[round_] == {step: rate for step, rate in rates_of[0].items() if step >= steps}
        mask, end = mask_of(run, round_), trained(run, round_)
        for name, tensor in rewind.items():
            if "running" not in name and "num_batches" not in name:
                assert np.array_equal(end[name], tensor * mask.get(name.removeprefix("weight/"), True)), name
        assert int(end["weight/bn1.num_batches_tracked"]) == 2 * steps


def test_rewind_points_of_a_search_from_given_weights(find: Find, small_search: Path) -> None:
    """Round 0 is trained on the task; `pretrained` is what it started from, `round0` what it ended as, heads included."""
    given = small_search / "scores.safetensors"
    for to in ("pretrained", "round0"):
        run = find(f"--start.weights={given}", f"--rewind.to={to}", "--prune.rounds=1")
        rewind, before, after = load_file(run / "rewind.safetensors"), load_file(given), trained(run, 0)
        expected = {**before, **{n: t for n, t in rewind.items() if n.startswith("head/")}} if to == "pretrained" else after
        assert all(np.array_equal(rewind[name], expected[name]) for name in rewind)
        assert not np.array_equal(before["weight/layer4.0.conv2.weight"], after["weight/layer4.0.conv2.weight"])
        assert not np.array_equal(rewind["head/weight"], after["head/weight"]) or to == "round0"
        assert result(run, 0)["details"]["epochs"] == 2
        # the source has digits 0 to 2; rewound to the end of round 0, round 1 has two trainings behind it
        assert result(run, 1)["flags"] == (["dense_less_trained"] if to == "round0" else [])
        assert result(run, 0)["flags"] == []


def test_rounds_with_more_training_than_round_0_are_flagged_and_not_taken_for_ruined(find: Find, found: Path) -> None:
    assert all(result(found, round_)["flags"] == [] for round_ in ROUNDS)
    final = find("--rewind.to=final", "--prune.on_alarm=stop")
    longer = find("--train.epochs=1", "--prune.epochs=2", "--prune.rounds=1")
    assert [result(final, round_)["flags"] for round_ in ROUNDS] == [[], ["dense_less_trained"], ["dense_less_trained"]]
    assert [result(longer, round_)["flags"] for round_ in range(2)] == [[], ["dense_less_trained"]]


def test_a_search_goes_on_inside_the_mask_of_a_ticket(find: Find, small_search: Path) -> None:
    ticket = small_search / "round_01/ticket.safetensors"
    run = find(f"--start.weights={ticket}")
    start = flat(mask_of(small_search, 1))
    assert (flat(mask_of(run, 0)) == start).all()
    for before, after in pairwise(ROUNDS):
        assert not (flat(mask_of(run, after)) & ~flat(mask_of(run, before))).any()
    header = read_header(run / "round_02/ticket.safetensors")
    assert (header["parent"], header["rewind"]["to"]) == (load_ticket(ticket).digest, "pretrained")
    assert result(run, 0)["details"]["start"]["source"] == {"folder": "SimCLR", "recipe": "digits", "seed": 0, "round": 1}
    assert not result(run, 0)["details"]["start"]["head"]["taken"], "a projection head is no classifier"


def test_going_on_from_a_ticket_of_this_very_task_keeps_its_head(find: Find, found: Path) -> None:
    ticket = found / "round_01/ticket.safetensors"
    run = find(f"--start.weights={ticket}", "--prune.rounds=1")
    told = result(run, 0)
    assert told["details"]["start"]["head"]["taken"]
    assert told["flags"] == ["source_saw_target"]
    own, before = load_file(run / "rewind.safetensors"), load_file(found / "rewind.safetensors")
    assert all(np.array_equal(own[name], before[name]) for name in before)


def test_random_masks_keep_as_many_weights_and_are_nested(find: Find, found: Path) -> None:
    run = find("--prune.score=random")
    for round_ in ROUNDS:
        assert flat(mask_of(run, round_)).sum() == flat(mask_of(found, round_)).sum()
        assert result(run, round_)["control"] == "random"
    first, second = flat(mask_of(run, 1)), flat(mask_of(run, 2))
    assert not (second & ~first).any()
    assert (first != flat(mask_of(found, 1))).any()
    layerwise = find("--prune.score=random", "--prune.allocation=layerwise")
    for kept in mask_of(layerwise, 1).values():
        assert kept.sum() == kept.size - round(0.34 * kept.size)
    assert result(layerwise, 1)["control"] == "random_layerwise"


def test_one_shot_cuts_every_mask_from_round_0(find: Find) -> None:
    run = find("--prune.schedule=one_shot")
    scores = flat({name: np.abs(trained(run, 0)[f"weight/{name}"]) for name in mask_of(run, 0)})
    for round_ in ROUNDS:
        kept = flat(mask_of(run, round_))
        assert (kept == highest(scores, np.ones_like(kept), int(kept.sum()))).all()


def test_the_best_epoch_is_measured_and_the_last_is_ranked(find: Find, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--train.epochs=4", "--data.labels=null", "--prune.rounds=1", "--train.batch_size=64")
    best, last = find(*words, "--select=best"), find(*words)
    for round_ in (0, 1):
        told = result(best, round_)
        assert told["details"]["selected_epoch"] in (1, 2, 3, 4)
        assert told["metrics"]["validation/top1"] == told["details"]["selected_value"]
        assert told["metrics"]["validation/top1"] >= result(last, round_)["metrics"]["validation/top1"]
        own, other = trained(best, round_), trained(last, round_)
        assert all(np.array_equal(own[name], other[name]) for name in own), "the weights that are ranked are the last epoch's"
    assert (flat(mask_of(best, 1)) == flat(mask_of(last, 1))).all()
    assert main([f"--evaluate={best}"]) == 2
    assert "measured on the best epoch" in capsys.readouterr().err


def test_killed_at_any_checkpoint_it_ends_with_the_same_tickets(
    found: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from common.training import span

    saved, save = [], span.save_checkpoint

    def dying(*args: object, **known: object) -> None:
        save(*args, **known)  # type: ignore[arg-type]
        saved.append(known["step"])
        if len(saved) % 3 == 0:
            raise KeyboardInterrupt

    monkeypatch.setattr(span, "save_checkpoint", dying)
    codes = [130]
    while codes[-1] == 130 and len(codes) < 20:
        codes.append(main([*FAST, f"--out={tmp_path}", "--train.checkpoint_every=1it"]))
    assert codes[-1] == 0
    assert len(codes) > 3
    (run,) = (file.parent for file in tmp_path.glob("Downstream/*/*/run.json"))
    assert digests(run) == digests(found)
    assert [result(run, k)["metrics"] for k in ROUNDS] == [result(found, k)["metrics"] for k in ROUNDS]


def test_evaluate_repeats_the_last_round(found: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([f"--evaluate={found}", f"--out={tmp_path}"]) == 0
    assert f"test/top1 {result(found, 2)['value']:.4f}" in capsys.readouterr().out


def test_its_tickets_transfer_and_say_what_they_saw(found: Path, tmp_path: Path) -> None:
    ticket = found / "round_02/ticket.safetensors"
    for name, flags in (("digits:3-5", ["source_saw_target"]), ("digits:6-8", [])):
        out = tmp_path / name.replace(":", "-")
        words = ["--recipe=digits", f"--data.name={name}", f"--ticket.file={ticket}", f"--out={out}", *FAST[4:8]]
        assert main(words) == 0
        (file,) = out.glob("Downstream/*/*/result.json")
        told = json.loads(file.read_text())
        assert told["flags"] == flags
        assert told["source"] == {"folder": "Downstream", "recipe": "digits_imp", "seed": 0, "round": 2}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--protocol=linear"], "protocol: got 'linear', expected full with prune.rounds"),
        (["--ticket.file=t"], "ticket.file: got 't', expected null with prune.rounds: a search goes on inside the ticket that"),
        (["--ticket.control=random"], "ticket.control: got 'random', expected null with prune.rounds"),
        (["--ticket.weights=trained"], "ticket.weights: got 'trained', expected rewind with prune.rounds"),
        (["--optim.sweep=[0.1,0.2]"], "optim.sweep: got [0.1, 0.2], expected no rates with prune.rounds"),
        (["--start.weights=w", "--rewind.to=init"], "rewind.to: got 'init', expected pretrained, round0, step or final"),
        (["--rewind.to=pretrained"], "rewind.to: got 'pretrained', expected start.weights to be given for it"),
        (["--prune.rounds=0", "--rewind.to=init"], "rewind.to: got 'init', expected null without prune.rounds"),
        (["--prune.rounds=0", "--start.train=true"], "start.train: got True, expected null without prune.rounds"),
        (["--rewind.to=step", "--rewind.step=9ep"], "rewind.step: got 9ep"),
        (["--prune.rounds=80"], "prune.rounds: round"),
        (["--select=best"], "data.validation_labels: got 0, expected > 0 with select best"),
    ],
)
def test_bad_input(words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*FAST, f"--out={tmp_path}", *words]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert not list(tmp_path.iterdir())
