"""The search: what must hold between its files, recomputed here from the files alone."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from common.tickets import TicketError, load_ticket
from common.tickets.container import parse_container

ROUNDS = range(4)


def masks(run: Path) -> list[dict[str, np.ndarray]]:
    """Read the masks of a run's tickets with the safetensors library and numpy alone."""
    found = []
    for path in sorted(run.glob("round_*/ticket.safetensors")):
        header = json.loads(parse_container(path.read_bytes(), "").metadata["ticket"])
        tensors = load_file(path)
        shapes = header["shapes"]
        found.append(
            {
                name: np.unpackbits(tensors[f"mask/{name}"], bitorder="little")[: np.prod(shape)].reshape(shape).astype(bool)
                for name, shape in shapes.items()
            }
        )
    return found


def weights(file: Path) -> dict[str, np.ndarray]:
    return load_file(file)


def digests(run: Path) -> list[str]:
    return [load_ticket(path).digest for path in sorted(run.glob("round_*/ticket.safetensors"))]


def flat(tensors: dict[str, np.ndarray]) -> np.ndarray:
    return np.concatenate([tensors[name].ravel() for name in sorted(tensors)])


def highest(scores: np.ndarray, within: np.ndarray, count: int) -> np.ndarray:
    """Keep the `count` highest scores inside `within`, the earlier of equals, by a stable sort."""
    order = np.argsort(np.where(within, -scores, np.inf), kind="stable")[:count]
    kept = np.zeros_like(within)
    kept[order] = True
    return kept


def test_masks_are_nested_and_counts_follow_the_rate(small_search: Path) -> None:
    found = [flat(mask) for mask in masks(small_search)]
    kept = len(found[0])
    assert found[0].all()
    for before, after in pairwise(found):
        assert not (after & ~before).any()
        kept -= round(0.34 * kept)
        assert after.sum() == kept


def test_every_mask_ranks_the_trained_parameters_of_the_round_before(small_search: Path) -> None:
    found = masks(small_search)
    for round_ in ROUNDS[1:]:
        trained = small_search / (f"round_{round_ - 1:02d}/trained.safetensors" if round_ > 1 else "scores.safetensors")
        scores = {name: np.abs(weights(trained)[f"weight/{name}"]) for name in found[0]}
        expected = highest(flat(scores), flat(found[round_ - 1]), int(flat(found[round_]).sum()))
        assert (expected == flat(found[round_])).all()


def test_ranking_anything_but_the_trained_parameters_would_be_seen(small_search: Path) -> None:
    """The predecessor ranked a stale product; on these runs that gives other masks, so the test above is not vacuous."""
    found = masks(small_search)
    stale = {name: np.abs(weights(small_search / "rewind.safetensors")[f"weight/{name}"]) for name in found[0]}
    expected = highest(flat(stale), flat(found[2]), int(flat(found[3]).sum()))
    assert (expected != flat(found[3])).any()


def test_pruned_weights_end_every_round_at_zero_and_kept_ones_have_moved(small_search: Path) -> None:
    start = weights(small_search / "rewind.safetensors")
    for round_, mask in enumerate(masks(small_search)):
        if round_ == 0:
            continue
        trained = weights(small_search / f"round_{round_:02d}/trained.safetensors")
        for name, kept in mask.items():
            assert not trained[f"weight/{name}"][~kept].any()
        moved = np.concatenate([(trained[f"weight/{n}"] != start[f"weight/{n}"])[kept] for n, kept in mask.items()])
        assert moved.mean() > 0.99


def test_the_rewind_point_is_round_0_and_holds_head_and_norm_statistics(small_search: Path) -> None:
    rewind, scores = weights(small_search / "rewind.safetensors"), weights(small_search / "scores.safetensors")
    assert rewind.keys() == scores.keys()
    assert all(np.array_equal(rewind[name], scores[name]) for name in rewind)
    assert any(name.startswith("head/") for name in rewind)
    assert int(rewind["weight/bn1.num_batches_tracked"]) > 0


def test_trained_weights_are_named_by_the_result_that_was_written_after_them(small_search: Path) -> None:
    for round_ in ROUNDS[1:]:
        folder = small_search / f"round_{round_:02d}"
        files = [folder / f"{name}" for name in ("ticket.safetensors", "trained.safetensors", "result.json")]
        content = files[1].read_bytes()
        expected = {"file": "trained.safetensors", "sha256": hashlib.sha256(content).hexdigest()}
        assert json.loads(files[2].read_text())["details"]["trained"] == expected
        times = [file.stat().st_mtime_ns for file in files]
        assert times == sorted(times)
        read, stored = load_ticket(files[0]).trained_weights(), weights(files[1])
        assert all(np.array_equal(tensor, stored[f"weight/{name}"]) for name, tensor in read.backbone.items())
    last = json.loads((small_search / "result.json").read_text())["details"]["trained"]
    assert last == {**expected, "file": "round_03/trained.safetensors"}
    assert "trained" not in json.loads((small_search / "round_00/result.json").read_text())["details"]


def test_trained_weights_of_another_seed_are_refused(
    small_search: Path, search: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from common.tickets.__main__ import main

    other = search("--seed.ticket=1")
    run = tmp_path / "copy" / small_search.name
    shutil.copytree(small_search, run)
    ticket = run / "round_01/ticket.safetensors"
    load_ticket(ticket).trained_weights()
    assert main(["verify", str(ticket)]) == 0
    shutil.copy(other / "round_01/trained.safetensors", run / "round_01")
    (run / "round_01/result.json").unlink()  # the file alone must tell
    with pytest.raises(TicketError, match=r"another ticket.*seed1-0@1, expected .*seed0-0@1"):
        load_ticket(ticket).trained_weights()
    assert main(["verify", str(ticket)]) == 2


def test_head_and_norms_are_rewound_too(search: Callable[..., Path]) -> None:
    """With a learning rate too small to move anything, every round must end where the rewind point is, head included."""
    run = search("--optim.lr=1e-30", "--optim.weight_decay=0", "--rewind.to=init")
    rewind = weights(run / "rewind.safetensors")
    for round_ in ROUNDS[1:]:
        trained = weights(run / f"round_{round_:02d}/trained.safetensors")
        mask = masks(run)[round_]
        for name, tensor in rewind.items():
            if "running" in name or "num_batches" in name:
                continue
            kept = mask.get(name.removeprefix("weight/"))
            expected = tensor if kept is None else tensor * kept
            assert np.allclose(trained[name], expected, rtol=0, atol=1e-20), name
        # the counter restarts from the rewind point in every round instead of counting on
        assert (
            trained["weight/bn1.num_batches_tracked"]
            == rewind["weight/bn1.num_batches_tracked"] + json.loads((run / "run.json").read_text())["step"]
        )


def test_results_tell_what_a_reader_needs(small_search: Path) -> None:
    for round_ in ROUNDS:
        result = json.loads((small_search / f"round_{round_:02d}/result.json").read_text())
        ticket = load_ticket(small_search / f"round_{round_:02d}/ticket.safetensors")
        assert result["ticket"] == ticket.digest
        assert result["mask_digest"] == ticket.mask.digest()
        assert result["density"] == pytest.approx(0.66**round_, abs=1e-4)
        assert result["value"] == result["metrics"]["validation/retrieval_accuracy"]
        assert {"validation/retrieval_accuracy", "validation/knn_accuracy"} <= set(result["metrics"])
        assert not any(name.startswith("test/") for name in result["metrics"])
    assert json.loads((small_search / "result.json").read_text())["density"] == result["density"]
    record = json.loads((small_search / "run.json").read_text())
    assert (record["status"], record["round"], record["threads"]) == ("done", 3, 1)
    assert not (small_search / "checkpoint.pt").exists()


def test_metrics_file_covers_every_round_in_order(small_search: Path) -> None:
    lines = [json.loads(line) for line in (small_search / "metrics.jsonl").read_text().splitlines()]
    positions = [(line["round"], line["step"]) for line in lines]
    assert positions == sorted(positions)
    assert {round_ for round_, _ in positions} == set(ROUNDS)
    assert all(np.isfinite(line["loss/total"]) for line in lines if "loss/total" in line)


def largest_of_round_0(run: Path) -> list[np.ndarray]:
    """Return the masks that keep, at every round's count, the largest weights at the end of round 0."""
    found = masks(run)
    scores = flat({name: np.abs(weights(run / "scores.safetensors")[f"weight/{name}"]) for name in found[0]})
    return [highest(scores, flat(found[0]), int(flat(mask).sum())) for mask in found]


def test_one_shot_cuts_every_mask_from_round_0_and_iterative_does_not(
    search: Callable[..., Path], paradigm: str, paradigm_search: Path
) -> None:
    """The predecessor's multi-GPU runs ranked stale weights and so had become one_shot without a word."""
    run = search("--prune.schedule=one_shot", folder=paradigm)
    for own, expected in zip(masks(run), largest_of_round_0(run), strict=True):
        assert (flat(own) == expected).all()
    iterative = [(flat(own) == cut).all() for own, cut in zip(masks(paradigm_search), largest_of_round_0(paradigm_search))]
    assert iterative == [True, True, False, False]  # the first cut is that of round 0 in both


def test_layerwise_removes_the_same_fraction_of_every_tensor(search: Callable[..., Path]) -> None:
    for before, after in zip(*(lambda found: (found, found[1:]))(masks(search("--prune.allocation=layerwise"))), strict=False):
        for name in before:
            count = int(before[name].sum())
            assert int(after[name].sum()) == count - round(0.34 * count)


def test_rewinding_to_a_step_stores_that_step_and_resumes_its_schedule(search: Callable[..., Path]) -> None:
    run = search("--rewind.to=step", "--rewind.step=1ep", "--prune.epochs=null", "--train.log_every=1")
    rewind, scores = weights(run / "rewind.safetensors"), weights(run / "scores.safetensors")
    steps = int(scores["weight/bn1.num_batches_tracked"])
    assert int(rewind["weight/bn1.num_batches_tracked"]) == steps // 2
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines() if "lr" in json.loads(line)]
    rates = {round_: {line["step"]: line["lr"] for line in lines if line["round"] == round_} for round_ in (0, 1)}
    assert rates[1] == {step: rate for step, rate in rates[0].items() if step >= steps // 2}


def test_rewinding_to_a_step_brings_back_that_step_bit_for_bit(search: Callable[..., Path], paradigm: str) -> None:
    """Its weights are those of a run that ends at the step. Behind it the rate is too small to move anything: a round that
    resumes the schedule there ends where it began, one that restarted it would not."""
    rates = ("--optim.schedule=multistep", "--optim.milestones=[1ep]", "--optim.gamma=1e-30", "--prune.epochs=null")
    run = search(*rates, "--rewind.to=step", "--rewind.step=1ep", "--prune.rounds=2", folder=paradigm)
    short = search(*rates, "--train.epochs=1", "--prune.rounds=0", folder=paradigm)
    rewind, there = weights(run / "rewind.safetensors"), weights(short / "scores.safetensors")
    assert rewind.keys() == there.keys()
    assert all(rewind[name].tobytes() == there[name].tobytes() for name in rewind)
    for round_ in (1, 2):
        mask = masks(run)[round_]
        trained = weights(run / f"round_{round_:02d}/trained.safetensors")
        for name, tensor in rewind.items():
            if "running" not in name and "num_batches" not in name:  # norm statistics follow the images all the same
                kept = mask.get(name.removeprefix("weight/"), True)
                assert np.array_equal(trained[name], tensor * kept), name


def test_final_keeps_training_from_where_the_round_before_ended(final_search: Path) -> None:
    run = final_search
    for round_ in ROUNDS[2:]:
        before = weights(run / f"round_{round_ - 1:02d}/trained.safetensors")
        rewind = weights(run / f"round_{round_:02d}/rewind.safetensors")
        assert all(np.array_equal(before[name], rewind[name]) for name in before)
    assert load_ticket(run / "round_02/ticket.safetensors").rewind_point().backbone


def test_given_weights_are_evaluated_as_round_0_without_training(small_search: Path, search: Callable[..., Path]) -> None:
    source = small_search / "scores.safetensors"
    run = search(f"--start.weights={source}", "--prune.rounds=1")
    given, scores = weights(source), weights(run / "scores.safetensors")
    assert all(np.array_equal(given[name], scores[name]) for name in given if name.startswith("weight/"))
    assert load_ticket(run / "round_01/ticket.safetensors").header["rewind"]["to"] == "pretrained"


def test_random_scores_draw_anew_every_round_inside_the_mask(search: Callable[..., Path]) -> None:
    found = [flat(mask) for mask in masks(search("--prune.score=random"))]
    assert not (found[2] & ~found[1]).any()
    assert 0.55 < (found[2] & found[1]).sum() / found[1].sum() < 0.75


def test_a_job_among_others_gives_the_same_tickets_as_a_run_alone(
    tmp_path: Path, small_search: Path, small_words: tuple[str, ...]
) -> None:
    """Four other jobs first, in one process: other seeds, another folder, a failing one. No state may leak into the fifth."""
    from SimCLR.main import main

    out = tmp_path / "jobs"
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    jobs = [
        ["--seed.ticket=5"],
        ["--seed.ticket=6", "--prune.score=random"],
        ["--data.name=nothing"],
        ["--seed.ticket=7", "--train.epochs=1"],
        [],
    ]
    file = tmp_path / "jobs.jsonl"
    file.write_text("".join(json.dumps([*small_words, f"--out={out}", *job]) + "\n" for job in jobs))
    assert main([f"--jobs={file}"]) == 1
    (run,) = out.glob(f"SimCLR/{small_search.parent.name}/seed0-0")
    assert digests(run) == digests(small_search)
    values = [json.loads((folder / "result.json").read_text())["metrics"] for folder in (run, small_search)]
    assert values[0] == values[1]
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads
