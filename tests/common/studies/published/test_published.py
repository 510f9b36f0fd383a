"""`published`: results that lie on disk beside published numbers, with every figure worked by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from common.studies.__main__ import main

COMMON = {
    "format": 1, "folder": "Downstream", "task": "classification", "split": "test", "metric": "top1", "unit": "fraction",
    "higher_is_better": True, "metrics": {}, "mask_digest": None, "ticket": None, "flags": [], "seconds": 1.0, "device": "cpu",
    "threads": 1, "commit": None, "versions": {},
}  # fmt: skip
PROTOCOL = {
    "model": {"name": "resnet50"}, "train": {"epochs": 182, "batch_size": 256}, "optim": {"lr": 0.1, "sweep": []},
    "data": {"labels": None},
}  # fmt: skip
SPARSE = {**PROTOCOL, "train": {"epochs": 150, "batch_size": 64}, "optim": {"lr": 0.01, "sweep": []}}


def write(root: Path, *, run: str, **fields: Any) -> Path:
    """Write a result of format 1 into its run directory."""
    value = fields.pop("value")
    result = {**COMMON, "run": run, "value": value, **fields}
    result["metrics"] = {f"{result['split']}/{result['metric']}": value, **fields.get("metrics", {})}
    file = root / run / "result.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(result))
    return file


def moved(root: Path, seed: int, value: float, *, level: int = 4, data: str = "cifar10", control: str = "ticket", **fields: Any):
    """Write a SimCLR ticket of ImageNet, transferred under the protocol of Chen et al."""
    config = {**PROTOCOL, "ticket": {"weights": "rewind"}, "rewind": {"to": None}}
    asked = {
        "recipe": f"cvpr2021_{data}", "config": config, "seed": {"ticket": seed, "task": seed}, "data": {"name": data},
        "density": 0.8**level, "control": control, "protocol": "full",
        "source": {"folder": "SimCLR", "recipe": "imagenet_resnet50", "seed": seed, "round": level},
        "run": f"Downstream/cvpr2021_{data}-{control:0<9.9}{level:03d}/seed{seed}-{seed}",
    }  # fmt: skip
    return write(root, value=value, **{**asked, **fields})


def imported(root: Path, seed: int, value: float, **fields: Any):
    """Write a checkpoint of AC/DC at 80% sparsity, imported and fine-tuned on Aircraft."""
    asked = {
        "recipe": "sparse-transfer-2022_aircraft", "config": SPARSE, "seed": {"ticket": 0, "task": seed},
        "data": {"name": "aircraft"}, "density": 0.197, "control": "ticket", "protocol": "full", "source": None,
        "details": {"importer": "wrapped"}, "metric": "mean_per_class",
        "run": f"Downstream/sparse-transfer-2022_aircraft-0123456789ab/seed0-{seed}",
    }  # fmt: skip
    return write(root, value=value, **{**asked, **fields})


def run_json(capsys, *words: str) -> dict[str, Any]:
    assert main(["published", *words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def compared(told: dict[str, Any]) -> list[dict[str, Any]]:
    return [cell for table in told["tables"] for cell in table["cells"] if cell["status"] not in ("not run", "not comparable")]


def test_ours_in_units_of_our_deviation_where_theirs_was_not_published(tmp_path, capsys):
    for seed, value in enumerate((0.961, 0.963, 0.968)):  # mean .964, s = sqrt((9 + 1 + 16) / 2) / 1000 = .0036056
        moved(tmp_path, seed, value)
    (cell,) = compared(run_json(capsys, str(tmp_path), "--table", "cvpr2021_figure3"))
    assert (cell["data"], cell["name"], cell["density"]) == ("cifar10", "(m_sim, theta_sim)", 0.4096)
    assert cell["theirs"] == {"value": 0.9636, "deviation": None, "n": 3, "reading": 0.001}
    assert cell["ours"]["n"] == 3
    assert cell["ours"]["seeds"] == [[0, 0], [1, 1], [2, 2]]
    assert cell["difference"] == pytest.approx(0.0004)
    assert cell["units"] == pytest.approx(0.0004 / 0.0036055513, rel=1e-6)
    assert cell["deviation_of"] == "ours"


def test_detection_is_compared_by_the_papers_metric_and_task_searches_only_as_they_carried_parts_over(tmp_path, capsys):
    config = {"model": {"name": "resnet50"}, "train": {"epochs": 50, "batch_size": 8}, "optim": {"lr": 1e-4}}
    same = {"folder": "Detection", "task": "detection", "recipe": "voc0712_resnet50", "metric": "VOC07_AP", "data": "voc0712"}
    for seed, value in enumerate((0.44, 0.45, 0.46)):  # mean .45, s .01; the paper: .449
        run, ends = "Detection/voc0712_resnet50-0123456789ab", f"seed{seed}-{seed}"
        moved(tmp_path, seed, value, **same, run=f"{run}/{ends}", config={**config, "ticket": {"weights": "rewind"}})
        for number, keep in enumerate(([], ["neck", "head", "norms", "stem"])):
            found = {**config, "rewind": {"to": None, "keep": keep}, "prune": {"score": "magnitude"}}
            found["start"] = {"weights": "torchvision:IMAGENET1K_V1"}
            run = f"Detection/voc0712_resnet50-{number:012d}/{ends}"
            moved(tmp_path, seed, 0.5, **same, run=run, config=found, protocol="imp", source=None)
    cells = compared(run_json(capsys, str(tmp_path), "--table", "cvpr2021_figure5"))
    assert [(cell["name"], cell["density"]) for cell in cells] == [("(m_sim, theta_sim)", 0.4096), ("(m_T, theta_Img)", 0.4096)]
    assert cells[0]["units"] == pytest.approx(0.1)
    assert cells[1]["ours"]["configuration"].endswith("000000000001")


def test_ours_in_units_of_their_deviation_and_only_with_the_method_said(tmp_path, capsys):
    for seed, value in enumerate((0.82, 0.83)):
        imported(tmp_path / "acdc", seed, value)
    told = run_json(capsys, str(tmp_path))
    assert compared(told) == []
    (miss,) = told["near_misses"]
    assert miss["differences"] == ["--method says nothing, expected AC/DC"]
    told = run_json(capsys, "--method", f"AC/DC={tmp_path / 'acdc'}")
    (cell,) = compared(told)
    # Published .83303 with population deviation .00114 over 3 runs: s = .00114 sqrt(3/2); ours .825.
    assert cell["theirs"]["deviation"] == pytest.approx(0.00114 * 1.5**0.5)
    assert cell["units"] == pytest.approx((0.825 - 0.83303) / (0.00114 * 1.5**0.5))
    assert (cell["deviation_of"], cell["metric"], cell["ours"]["n"]) == ("theirs", "mean_per_class", 2)
    wrong = run_json(capsys, "--method", f"STR={tmp_path / 'acdc'}")
    assert compared(wrong) == []
    # The importer of AC/DC's files is none of STR's: both stand as near misses, of the nearest cell.
    assert wrong["near_misses"][0]["differences"] == ["--method says STR, expected AC/DC"]


def test_one_seed_and_no_published_deviation_have_no_units(tmp_path, capsys):
    moved(tmp_path, 0, 0.95)
    (cell,) = compared(run_json(capsys, str(tmp_path), "--table", "cvpr2021_figure3"))
    assert cell["difference"] == pytest.approx(-0.0136)
    assert cell["units"] is None
    assert cell["note"] == "no deviation over seeds on either side"


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"protocol": "linear"}, "protocol is linear, expected full"),
        ({"recipe": "mine"}, "recipe is mine, expected cvpr2021 or cvpr2021_cifar10"),
        ({"density": 0.42}, "density is 0.4200, expected 0.4096 within 0.0002"),
        ({"control": "random"}, "control is random, expected ticket"),
        ({"source": None}, "source.folder is null, expected SimCLR; source.recipe is null, expected imagenet_resnet50"),
        ({"metric": "mean_per_class"}, "test/top1 was not measured"),
        ({"config": {**PROTOCOL, "ticket": {"weights": "trained"}}}, "config.ticket.weights is trained, expected rewind"),
        (
            {"config": {**PROTOCOL, "ticket": {"weights": "rewind"}, "train": {"epochs": 9, "batch_size": 256}}},
            "config.train.epochs is 9",
        ),
    ],
)
def test_a_near_miss_is_listed_with_what_it_misses_by(tmp_path, capsys, fields, says):
    moved(tmp_path, 0, 0.96, **fields)
    told = run_json(capsys, str(tmp_path))
    assert compared(told) == []
    assert "; ".join(told["near_misses"][0]["differences"]).startswith(says) or fields == {"source": None}
    if fields == {"source": None}:  # the nearest is any paradigm's
        assert len(told["near_misses"][0]["differences"]) == 2


def test_what_may_not_be_compared_is_left_out_with_its_reason(tmp_path, capsys):
    moved(tmp_path / "a", 0, 0.96, split="validation")
    moved(tmp_path / "b", 1, 0.96, flags=["source_saw_target"])
    moved(tmp_path / "c", 2, 0.96, task="pretraining")
    moved(tmp_path / "d", 3, 0.96, data="cifar100", density=0.3, protocol="linear", recipe="mine")
    told = run_json(capsys, str(tmp_path))
    assert compared(told) == []
    assert [one["why"] for one in told["left_out"]] == [
        "measured on the validation split, and published numbers are of test images",
        "flagged source_saw_target",
        "a round of a search, judged on validation images",
    ]
    assert len(told["of_no_cell"]) == 1


def test_configurations_are_never_averaged_with_one_another(tmp_path, capsys):
    for seed in range(3):
        moved(tmp_path, seed, 0.96 + 0.001 * seed)
        moved(tmp_path, seed, 0.90, run=f"Downstream/cvpr2021_cifar10-ffffffffffff/seed{seed}-{seed}")
    cells = compared(run_json(capsys, str(tmp_path), "--table", "cvpr2021_figure3"))
    assert sorted((cell["ours"]["n"], round(cell["ours"]["value"], 4)) for cell in cells) == [(3, 0.9), (3, 0.961)]
    told = run_json(capsys, str(tmp_path), "--table", "cvpr2021_winning")
    notes = [cell["note"] for cell in told["tables"][0]["cells"] if cell["status"] == "undecided" and cell["data"] == "cifar10"]
    assert notes == ["cifar10: 2 configurations match at density 0.4096; give one's folder"]


def test_the_same_run_twice_is_refused(tmp_path, capsys):
    moved(tmp_path / "a", 0, 0.96)
    moved(tmp_path / "b", 0, 0.96)
    assert main(["published", str(tmp_path)]) == 2
    assert "are the same run; name only one of their folders" in capsys.readouterr().err


def _curve(root: Path, data: str, dense: tuple[float, ...], tickets: dict[int, float]) -> None:
    for seed, value in enumerate(dense):
        moved(root, seed, value, level=0, data=data, control="dense")
        for level, mean in tickets.items():
            moved(root, seed, mean + 0.001 * (seed - 1), level=level, data=data)


def test_the_largest_winning_level_by_the_paper_s_rule(tmp_path, capsys):
    # Dense .90, .91, .92: mean .91, s .01; a ticket wins with a mean of .90 or more.
    _curve(tmp_path, "cifar10", (0.90, 0.91, 0.92), {1: 0.93, 4: 0.90, 7: 0.899, 10: 0.90, 12: 0.85})
    told = run_json(capsys, str(tmp_path), "--table", "cvpr2021_winning")
    (cell,) = [one for one in compared(told) if one["data"] == "cifar10"]
    assert cell["ours"] == {"value": pytest.approx(1 - 0.8**10), "level": 10, "levels_compared": [1, 4, 7, 10, 12]}
    assert cell["difference"] == -1.0  # theirs is 91.41% removed, level 11
    (universal,) = [one for one in told["tables"][0]["cells"] if one["status"] == "undecided" and "visda" not in one["data"]]
    assert universal["note"] == "nothing was run on cifar100"
    for data in ("cifar100", "svhn", "fashion_mnist"):
        _curve(tmp_path, data, (0.90, 0.91, 0.92), {4: 0.95, 7: 0.95, 10: 0.80})
    told = run_json(capsys, str(tmp_path), "--table", "cvpr2021_winning")
    (universal,) = [one for one in compared(told) if "|" in one["data"] and "visda" not in one["data"]]
    assert (universal["ours"]["level"], universal["ours"]["levels_compared"]) == (4, [4, 7, 10])  # 7 fails on cifar10


def test_two_dense_seeds_decide_nothing(tmp_path, capsys):
    _curve(tmp_path, "svhn", (0.90, 0.91), {4: 0.95})
    told = run_json(capsys, str(tmp_path), "--table", "cvpr2021_winning")
    (cell,) = [one for one in told["tables"][0]["cells"] if one["status"] == "undecided" and one["data"] == "svhn"]
    assert cell["note"] == "svhn: not enough seeds of dense (2, expected 3)"


def test_rounds_with_more_training_behind_them_than_dense_are_not_judged_as_winning(tmp_path, capsys):
    _curve(tmp_path, "svhn", (0.90, 0.91, 0.92), {4: 0.95})
    moved(tmp_path, 7, 0.99, level=7, data="svhn", flags=["dense_less_trained"])
    told = run_json(capsys, str(tmp_path), "--table", "cvpr2021_winning")
    (cell,) = [one for one in told["tables"][0]["cells"] if one["status"] == "undecided" and one["data"] == "svhn"]
    assert cell["note"] == "svhn: 1 of 7 results had more training behind them than dense (dense_less_trained)"


def test_rounds_of_a_task_search_are_read_and_its_last_result_is_not_read_twice(tmp_path, capsys):
    config = {
        **PROTOCOL, "prune": {"score": "magnitude"}, "rewind": {"to": "init", "step": None},
        "start": {"weights": None},
    }  # fmt: skip
    shared = {
        "recipe": "cvpr2021_svhn", "config": config, "data": {"name": "svhn"}, "control": "ticket", "protocol": "imp",
        "source": None,
    }  # fmt: skip
    run = "Downstream/cvpr2021_svhn-0123456789ab/seed1-0"
    for level in (0, 4):
        file = write(tmp_path, run=run, value=0.95, density=0.8**level, seed={"ticket": 1, "task": 0}, **shared)
        (file.parent / f"round_{level:02d}").mkdir()
        (file.parent / f"round_{level:02d}" / "result.json").write_text(file.read_text())
    cells = compared(run_json(capsys, str(tmp_path), "--table", "cvpr2021_figure3"))
    assert [(cell["name"], cell["density"], cell["ours"]["n"]) for cell in cells] == [
        ("(m_T, theta_0)", 1.0, 1), ("(m_T, theta_0)", 0.4096, 1),
    ]  # fmt: skip


def test_the_text_says_what_there_is_and_what_was_not_run(tmp_path, capsys):
    for seed, value in enumerate((0.961, 0.963, 0.968)):
        moved(tmp_path, seed, value)
    moved(tmp_path, 4, 0.9, protocol="linear", run="Downstream/cvpr2021_cifar10-cccccccccccc/seed4-4")
    assert main(["published", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert "not run: 240 cells" in text
    assert "not run: 191 cells" in text
    line = next(line for line in text.splitlines() if line.strip().startswith("cifar10  (m_sim"))
    for part in ("0.4096", "full", "top1", "0.9636 (read to 0.001)", "0.9640 ± 0.0036", "+0.0004", "+0.1 s of ours"):
        assert part in line
    assert "near miss: Downstream/cvpr2021_cifar10 (1 result) is not of cvpr2021_figure3" in text
    assert "not comparable: 7 cells: no recipe here changes the temperature" in text
    assert main(["published", str(tmp_path), "--table", "cvpr2021_figure3"]) == 0
    assert capsys.readouterr().out.count("  not run  ") == 191


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "no RESULTS"),
        (["nowhere"], "nowhere: there is no such folder"),
        (["empty"], "empty: no result.json below it"),
        (["runs", "--table", "table9"], "unknown table 'table9'"),
        (["runs", "--method", "GMP=runs"], "got 'GMP=runs', expected NAME=FOLDER with NAME one of AC/DC, Dense"),
        (["runs", "--method", "STR"], "got 'STR', expected NAME=FOLDER"),
        (["runs", "--method", "STR=runs", "--method", "Dense=runs"], "runs is said to be of STR and of Dense"),
        (["runs", "--method", "STR=runs", "--method", "Dense=runs/Downstream"], "is said to be of STR and of Dense"),
        (["damaged"], "is not a JSON file"),
        (["old"], "result format 0; this version reads format 1"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(tmp_path, monkeypatch, capsys, words, says):
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    moved(Path("runs"), 0, 0.96)
    moved(Path("old"), 0, 0.96, format=0)
    moved(Path("damaged"), 0, 0.96).write_text("{")
    assert main(["published", *words]) == 2
    err = capsys.readouterr().err
    assert says in err
    assert len(err.splitlines()) == 1
