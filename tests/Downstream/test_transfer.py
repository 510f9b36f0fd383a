"""Transfers: what every arm shares, what is chosen on which labels, and that the test split is only looked at."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from common.cli import resolve
from common.config import DataConfig
from common.data.datasets import Dataset, Images, load_data
from common.tickets import CONTROLS, load_ticket
from common.training.frozen import features_of
from Downstream.features import standardisation
from Downstream.labels import labelled_images
from Downstream.linear import fit_linear
from Downstream.main import COMMAND, main
from Downstream.transfer import build_arm

FAST = ("--train.device=cpu", "--train.threads=1", "--log.tensorboard=false", "--log.progress=false", "--data.name=digits:3-5")
FULL = ("--recipe=digits_full", "--train.epochs=3", *FAST)


@pytest.fixture
def transfer(tmp_path: Path, small_search: Path) -> Callable[..., tuple[Path, dict]]:
    """Return a function that transfers the ticket of round 2 (or as its words say); it returns run directory and result."""

    def run(*words: str, ticket: Path | None = small_search / "round_02/ticket.safetensors") -> tuple[Path, dict]:
        out = tmp_path / "runs"
        before = set(out.glob("Downstream/*/*"))
        file = [f"--ticket.file={ticket}"] if ticket else []
        assert main([*(words if "--recipe=digits_full" in words else (*FAST, *words)), f"--out={out}", *file]) == 0
        (made,) = set(out.glob("Downstream/*/*")) - before
        return made, json.loads((made / "result.json").read_text())

    return run


def test_linear_equals_a_scikit_learn_pipeline_on_the_same_features(small_search: Path) -> None:
    words = [*FAST, f"--ticket.file={small_search}/round_02/ticket.safetensors"]
    arm = build_arm(resolve(COMMAND, words).config, torch.device("cpu"))
    train, test = arm.labelled.train, arm.dataset.test
    features = [features_of(arm.backbone, images, arm.dataset.input, arm.device) for images in (train, arm.dataset.train, test)]
    fit = fit_linear(
        features[0],
        train.labels,
        arm.config.linear,
        standard=standardisation(features[1]),
        num_classes=3,
        seed=0,
        validation=None,
    )
    scaler = StandardScaler().fit(features[1].double().numpy())
    model = LogisticRegression(C=1.0, max_iter=1000).fit(scaler.transform(features[0].double().numpy()), train.labels.numpy())
    expected = make_pipeline(scaler, model).predict(features[2].double().numpy())
    with torch.no_grad():
        assert (fit.head(features[2]).argmax(1).numpy() == expected).mean() > 0.99
    assert fit.converged


def test_the_reported_value_is_that_of_the_kept_network(transfer: Callable[..., tuple[Path, dict]], small_search: Path) -> None:
    run, result = transfer("--keep.trained=last")
    arm = build_arm(
        resolve(COMMAND, [*FAST, f"--ticket.file={small_search}/round_02/ticket.safetensors"]).config, torch.device("cpu")
    )
    kept = load_file(run / "trained.safetensors")
    arm.backbone.load_state_dict(
        {name[7:]: torch.from_numpy(value) for name, value in kept.items() if name.startswith("weight/")}
    )
    features = features_of(arm.backbone, arm.dataset.test, arm.dataset.input, arm.device).numpy()
    predictions = (features @ kept["head/weight"].T + kept["head/bias"]).argmax(1)
    assert result["value"] == pytest.approx((predictions == arm.dataset.test.labels.numpy()).mean())
    assert result["metrics"]["test/top1"] == result["value"]


def test_the_backbone_of_a_linear_run_is_the_ticket_with_other_norm_statistics(
    transfer: Callable[..., tuple[Path, dict]], small_search: Path
) -> None:
    ticket = load_ticket(small_search / "round_02/ticket.safetensors")
    rewind = load_file(small_search / "rewind.safetensors")
    for choice in ("reestimate", "stored"):
        run, result = transfer(f"--ticket.norm_statistics={choice}")
        assert result["details"]["norm_statistics"] == choice
        for name, value in load_file(run / "trained.safetensors").items():
            if not name.startswith("weight/"):
                continue
            short = name.removeprefix("weight/")
            expected = rewind[name] * ticket.mask[short].numpy() if short in ticket.mask else rewind[name]
            if "running" in short and choice == "reestimate":
                assert not np.array_equal(value, expected)
            elif "num_batches" not in short:
                assert np.array_equal(value, expected), name


def test_reestimated_statistics_are_the_mean_over_training_batches(
    transfer: Callable[..., tuple[Path, dict]], small_search: Path
) -> None:
    run, _ = transfer()
    kept = load_file(run / "trained.safetensors")
    data = load_data("digits:3-5")
    images = data.input.normalise(data.train.images)[:256]
    stem = torch.nn.functional.conv2d(images, torch.from_numpy(kept["weight/conv1.weight"]), padding=1)
    assert kept["weight/bn1.running_mean"] == pytest.approx(stem.mean((0, 2, 3)).numpy(), abs=1e-5)
    assert kept["weight/bn1.running_var"] == pytest.approx(stem.var((0, 2, 3)).numpy(), rel=1e-4)


def test_every_arm_sees_the_same_labels_and_no_more_than_asked() -> None:
    data = load_data("digits:6-9")
    arms = [
        resolve(COMMAND, ["--data.labels=20", f"--ticket.control={control}", f"--recipe={recipe}", "--seed.task=3"]).config
        for control, recipe in (("ticket", "digits"), ("random", "digits"), ("dense", "digits_full"))
    ]
    first, *others = (labelled_images(data, config.data, config.seed.task) for config in arms)
    assert first.count == 20
    assert first.train.labels.bincount().tolist() == [5, 5, 5, 5]
    assert all(torch.equal(first.train.images, other.train.images) for other in others)
    assert not torch.equal(first.train.images, labelled_images(data, arms[0].data, 4).train.images)


def test_choosing_labels_come_out_of_the_budget() -> None:
    config = resolve(COMMAND, ["--data.labels=20", "--data.validation_labels=8", "--recipe=digits_full", "--select=best"]).config
    labelled = labelled_images(load_data("digits:6-9"), config.data, 0)
    assert (len(labelled.train), len(labelled.validation or ()), labelled.count) == (12, 8, 20)


def other_test_images(config: DataConfig) -> Dataset:
    """The data set with its test images inverted and its test labels rotated."""
    data = load_data(config.name)
    test = Images(255 - data.test.images, (data.test.labels + 1) % len(data.classes))
    return Dataset(data.name, data.classes, data.input, {**data.splits, "test": test}, data.split_hash, data.fingerprint)


@pytest.mark.parametrize("words", [(), ("--linear.l2=[0.1,1.0,10.0]",), (*FULL, "--select=best", "--data.validation_labels=9")])
def test_nothing_depends_on_the_test_split_but_the_value(
    words: tuple[str, ...], transfer: Callable[..., tuple[Path, dict]], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, result = transfer(*words, "--seed.task=1")
    first = load_file(run / "trained.safetensors")
    monkeypatch.setattr("Downstream.target.open_data", other_test_images)
    (run / "run.json").unlink()
    file = f"--ticket.file={result['config']['ticket']['file']}"
    assert main([*(words if words[:1] == FULL[:1] else (*FAST, *words)), "--seed.task=1", file, f"--out={run.parents[2]}"]) == 0
    again = load_file(run / "trained.safetensors")
    assert all(np.array_equal(first[name], again[name]) for name in first)
    changed = json.loads((run / "result.json").read_text())
    assert changed["value"] != result["value"]
    assert changed["details"] == result["details"]


def test_validation_runs_do_not_touch_the_test_split(transfer: Callable[..., tuple[Path, dict]]) -> None:
    _, result = transfer("--evaluation.split=validation")
    assert result["split"] == "validation"
    assert not any(name.startswith("test/") for name in result["metrics"])


def test_full_holds_the_mask_and_trains_the_rest(transfer: Callable[..., tuple[Path, dict]], small_search: Path) -> None:
    run, result = transfer(*FULL)
    mask = load_ticket(small_search / "round_02/ticket.safetensors").mask
    start, kept = load_file(small_search / "rewind.safetensors"), load_file(run / "trained.safetensors")
    for name, part in mask.items():
        value = kept[f"weight/{name}"]
        assert not value[~part.numpy()].any()
        assert (value != start[f"weight/{name}"])[part.numpy()].mean() > 0.99
    assert result["protocol"] == "full"
    assert result["density"] == pytest.approx(0.66**2, abs=1e-4)


def test_best_epoch_is_chosen_and_said(transfer: Callable[..., tuple[Path, dict]]) -> None:
    _, result = transfer(*FULL, "--select=best", "--data.validation_labels=9")
    assert result["details"]["selected_epoch"] in (1, 2, 3)
    assert 0 <= result["details"]["selected_value"] <= 1
    assert result["details"]["labels"] == 40


def test_a_strength_is_chosen_by_cross_validation_inside_the_labels(transfer: Callable[..., tuple[Path, dict]]) -> None:
    _, result = transfer("--linear.l2=[0.01,1.0,100.0]")
    scores = result["details"]["l2_scores"]
    assert set(scores) == {"0.01", "1", "100"}
    best = max(scores.values())
    assert result["details"]["l2"] == max(float(l2) for l2, score in scores.items() if score == best)


def test_controls_are_recorded_with_their_own_density_and_mask(
    transfer: Callable[..., tuple[Path, dict]], small_search: Path
) -> None:
    ticket = load_ticket(small_search / "round_02/ticket.safetensors")
    seen = set()
    for control, density in (
        ("dense", 1),
        ("scratch", 1),
        ("random", ticket.density),
        ("reversed", 1 - ticket.density),
        ("reinit", ticket.density),
    ):
        run, result = transfer(f"--ticket.control={control}")
        assert result["control"] == control
        assert result["density"] == pytest.approx(density, abs=1e-6)
        assert result["source"] == {"folder": "SimCLR", "recipe": "digits", "seed": 0, "round": 2}
        seen.add(result["mask_digest"])
        start = load_file(small_search / "rewind.safetensors")
        stem = load_file(run / "trained.safetensors")["weight/conv1.weight"]
        assert np.array_equal(stem, start["weight/conv1.weight"]) == (control not in ("scratch", "reinit"))
    assert len(seen) == 4


def test_trained_weights_keep_their_statistics(transfer: Callable[..., tuple[Path, dict]], small_search: Path) -> None:
    run, result = transfer("--ticket.weights=trained")
    assert result["details"]["norm_statistics"] == "stored"
    kept, trained = load_file(run / "trained.safetensors"), load_file(small_search / "round_02/trained.safetensors")
    assert all(np.array_equal(kept[name], trained[name]) for name in trained if name.startswith("weight/"))


def test_mask_only_takes_the_mask_and_the_recipes_weights(transfer: Callable[..., tuple[Path, dict]], small_search: Path) -> None:
    source = small_search / "round_03/trained.safetensors"
    run, result = transfer("--ticket.control=mask_only", f"--start.weights={source}")
    mask = load_ticket(small_search / "round_02/ticket.safetensors").mask
    kept, given = load_file(run / "trained.safetensors"), load_file(source)
    for name, part in mask.items():
        assert np.array_equal(kept[f"weight/{name}"], given[f"weight/{name}"] * part.numpy())
    assert result["mask_digest"] == mask.digest()


def test_flags_tell_what_the_source_has_seen(
    transfer: Callable[..., tuple[Path, dict]], paradigm: str, paradigm_search: Path
) -> None:
    """The source has digits 0 to 2. Of a class that it shares with the target it saw the images, and with labels the labels."""
    ticket = paradigm_search / "round_02/ticket.safetensors"
    saw = {"SimCLR": "source_saw_images", "MoCo": "source_saw_images", "Supervised": "source_saw_target"}[paradigm]
    for name, expected in (
        ("digits:3-5", []),
        ("digits:2-4", [saw]),
        ("digits_clean:1-4", [saw]),
        ("digits_clean:5-9", []),
        ("digits", [saw]),
    ):
        _, result = transfer(f"--data.name={name}", ticket=ticket)
        assert result["flags"] == expected, name
        assert result["source"]["folder"] == paradigm


def test_the_floor_is_logistic_regression_on_pixels(transfer: Callable[..., tuple[Path, dict]]) -> None:
    _, result = transfer("--model.name=pixels", "--model.stem=native", ticket=None)
    data = load_data("digits:3-5")
    config = resolve(COMMAND, [*FAST]).config
    train = labelled_images(data, config.data, 0).train
    scaler = StandardScaler().fit(data.train.images.flatten(1).double().numpy() / 255)
    x, y = (scaler.transform(part.images.flatten(1).double().numpy() / 255) for part in (train, data.test))
    assert result["value"] == pytest.approx(
        LogisticRegression(max_iter=1000).fit(x, train.labels).score(y, data.test.labels), abs=0.01
    )


def test_evaluate_repeats_a_run_and_judges_tickets_by_neighbours(
    transfer: Callable[..., tuple[Path, dict]], small_search: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, result = transfer()
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    assert main([f"--evaluate={run}", f"--out={run.parents[2]}"]) == 0
    assert f"test/top1 {result['value']:.4f}" in capsys.readouterr().out
    for what in (small_search, small_search / "round_02/ticket.safetensors", small_search / "scores.safetensors"):
        assert main([*FAST, f"--evaluate={what}", f"--out={run.parents[2]}"]) == 0
        assert "test/knn_accuracy" in capsys.readouterr().out
    written = [json.loads(path.read_text()) for path in (run.parents[2] / "Downstream/evaluations").glob("*.json")]
    assert sorted(entry["protocol"] for entry in written) == ["knn", "knn", "knn", "linear"]
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_evaluate_refuses_a_network_that_is_not_the_runs(
    transfer: Callable[..., tuple[Path, dict]], capsys: pytest.CaptureFixture[str]
) -> None:
    run, result = transfer()
    other, _ = transfer("--seed.task=1")
    content = (run / "trained.safetensors").read_bytes()
    assert result["details"]["trained"] == {"file": "trained.safetensors", "sha256": hashlib.sha256(content).hexdigest()}
    shutil.copy(other / "trained.safetensors", run)
    capsys.readouterr()
    assert main([f"--evaluate={run}", f"--out={run.parents[2]}"]) == 2
    assert "SHA-256 differs" in capsys.readouterr().err


def test_controls_of_a_ticket_that_was_never_rewound_start_from_weights_that_were_never_pruned(
    transfer: Callable[..., tuple[Path, dict]], final_search: Path
) -> None:
    run = final_search
    ticket = run / "round_03/ticket.safetensors"
    dense = load_file(run / "scores.safetensors")
    for control in ("dense", "one_shot"):
        made, _ = transfer(f"--ticket.control={control}", ticket=ticket)
        kept = load_file(made / "trained.safetensors")["weight/layer1.0.conv1.weight"]
        assert np.array_equal(kept[kept != 0], dense["weight/layer1.0.conv1.weight"][kept != 0])
        assert (kept != 0).all() == (control == "dense")
    own, _ = transfer(ticket=ticket)
    before = load_file(run / "round_02/trained.safetensors")["weight/layer1.0.conv1.weight"]
    kept = load_file(own / "trained.safetensors")["weight/layer1.0.conv1.weight"]
    assert np.array_equal(kept[kept != 0], before[kept != 0])


def test_controls_that_trained_for_less_than_the_ticket_are_flagged(
    small_search: Path, final_search: Path, tmp_path: Path
) -> None:
    from common.tickets.control_file import write_control

    written = tmp_path / "written.safetensors"
    write_control(final_search / "round_01/ticket.safetensors", "random", 0, written)
    own = tmp_path / "own.safetensors"
    write_control(final_search / "round_01/ticket.safetensors", "ticket", 0, own)

    def is_flagged(file: Path, *words: str) -> bool:
        arm = build_arm(resolve(COMMAND, [*FAST, f"--ticket.file={file}", *words]).config, torch.device("cpu"))
        return "control_less_trained" in arm.start.flags

    ticket = final_search / "round_01/ticket.safetensors"
    of_the_task = {"mask_only", "small_dense", "dense_long"}
    flagged = {name for name in CONTROLS if name not in of_the_task and is_flagged(ticket, f"--ticket.control={name}")}
    assert flagged == set(CONTROLS) - of_the_task - {"ticket", "scratch", "reinit"}
    for name in ("small_dense", "dense_long"):
        assert not is_flagged(ticket, f"--ticket.control={name}", "--protocol=full")
    assert is_flagged(written)
    assert not is_flagged(own)
    assert not is_flagged(final_search / "round_00/ticket.safetensors", "--ticket.control=dense")
    rewound = small_search / "round_02/ticket.safetensors"
    assert not is_flagged(rewound, "--ticket.control=dense")
    assert is_flagged(rewound, "--ticket.control=dense", "--ticket.weights=trained")
    assert not is_flagged(rewound, "--ticket.weights=trained")


def test_a_result_of_another_ticket_is_stale_and_is_made_anew(
    transfer: Callable[..., tuple[Path, dict]], small_search: Path, search: Callable[..., Path], tmp_path: Path
) -> None:
    source = tmp_path / "copy" / "SimCLR" / small_search.parent.name / small_search.name
    shutil.copytree(small_search, source)
    run, first = transfer(ticket=source / "round_02/ticket.safetensors")
    shutil.rmtree(source)
    shutil.copytree(search("--prune.score=random"), source)
    words = [*FAST, f"--out={run.parents[2]}", f"--ticket.file={source}/round_02/ticket.safetensors"]
    assert main(words) == 0
    again = json.loads((run / "result.json").read_text())
    assert again["ticket"] != first["ticket"]
    assert again["ticket"] == load_ticket(source / "round_02/ticket.safetensors").digest


def test_a_result_that_is_missing_is_made_anew(transfer: Callable[..., tuple[Path, dict]], small_search: Path) -> None:
    run, first = transfer()
    (run / "result.json").unlink()
    assert main([*FAST, f"--out={run.parents[2]}", f"--ticket.file={small_search}/round_02/ticket.safetensors"]) == 0
    assert json.loads((run / "result.json").read_text())["value"] == first["value"]


def test_two_task_seeds_draw_two_controls(transfer: Callable[..., tuple[Path, dict]]) -> None:
    masks = {transfer("--ticket.control=random", f"--seed.task={seed}")[1]["mask_digest"] for seed in (0, 1)}
    assert len(masks) == 2
