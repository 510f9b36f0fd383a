"""The project's own studies: they are read, and the folders take every kind of run that they ask for."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import yaml

from common.studies.cluster_config import load_cluster
from common.studies.estimate import estimates
from common.studies.plan import make_plan
from common.studies.study import load_study

STUDIES = Path(__file__).resolve().parents[3] / "studies"
FILES = sorted(STUDIES.glob("*.yaml"))


def test_the_paper_s_grids_are_whole():
    study = load_study(STUDIES / "paper_classification.yaml")
    sets = {"cifar10", "cifar100", "svhn", "fashion_mnist", "visda"}
    on_tasks = {search.name for search in study.searches if search.folder == "Downstream"}
    assert on_tasks == {f"{name}_{how}" for name in sets for how in ("simclr", "moco", "supervised", "theta0", "theta5")}
    assert all(search.rounds == 18 for search in study.searches)
    for name in sets:  # figures 3 and 4: 19 levels from three sources
        for transfer in study.tasks[name]:
            arms = dict(transfer.arms)
            assert (*arms["dense"], *arms["ticket"]) == tuple(range(19))
            assert {"random", "random_layerwise", "one_shot"} <= set(arms)
        assert {transfer.source for transfer in study.tasks[name]} == {"simclr", "moco", "supervised"}
    figure_8 = [*study.tasks["masks_pretrained"], *study.tasks["masks_task"]]
    assert {transfer.source for transfer in figure_8} == {"supervised", "cifar100_theta0", "cifar100_theta5"}
    assert all({"ticket", "reversed", "random", "perturbed"} <= set(dict(transfer.arms)) for transfer in figure_8)
    assert len(study.seeds) == 3


def test_what_it_asks_a_cluster_for_is_of_its_entries():
    study = load_study(STUDIES / "paper_classification.yaml")
    config = load_cluster(str(STUDIES / "slurm" / "paper_classification.yaml"), study)
    assert config.asked_for(study, "moco")[0] == 8
    assert config.asked_for(study, "svhn.moco") == (1, dict(config.default))


@pytest.mark.parametrize("name", ["paper_detection", "paper_segmentation"])
def test_the_grids_of_figures_5_and_10_are_whole(name):
    study = load_study(STUDIES / f"{name}.yaml")
    whole = [transfer for transfer in study.transfers if transfer.written in ("voc", "voc_simclr")]
    assert {transfer.source for transfer in whole} == {"simclr", "moco", "supervised"}
    for transfer in whole:  # 19 levels from three sources
        arms = dict(transfer.arms)
        assert (*arms["dense"], *arms["ticket"]) == tuple(range(19))
        assert arms["random"] == arms["ticket"]
    on_task = {search.name for search in study.searches if search.folder in ("Detection", "Segmentation")}
    assert {f"voc_task_{source}" for source in ("simclr", "moco", "supervised")} <= on_task
    assert load_cluster(str(STUDIES / "slurm" / f"{name}.yaml"), study).asked_for(study, "moco")[0] == 8


def test_what_the_paper_s_detection_carried_over_is_carried_over_in_searches_of_their_own():
    study = load_study(STUDIES / "paper_detection.yaml")
    parts = ("rewind.keep", '["neck", "head", "norms", "stem"]')
    carried = {search.name for search in study.searches if parts in search.overrides}
    assert carried == {f"voc_task_{source}_carried" for source in ("simclr", "moco", "supervised")}


@pytest.mark.slow
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_folders_take_what_a_study_asks_for(tmp_path, monkeypatch, file):
    """One seed, and the first and last round of every arm: the folders resolve recipe, options, ticket and control."""
    monkeypatch.chdir(STUDIES.parent)
    for name in ("SIMCLR_WEIGHTS", "MOCO_WEIGHTS"):  # their content is a part of a run's identity, so they must be there
        (tmp_path / name).write_bytes(name.encode())
        monkeypatch.setenv(name, str(tmp_path / name))
    tree = copy.deepcopy(yaml.safe_load(file.read_text(encoding="utf-8")))
    tree["seeds"] = tree["seeds"][:1]
    for transfer in tree.get("transfers", {}).values():
        for arms in (transfer["arms"], *transfer.get("more", {}).values()):
            for control, rounds in arms.items():
                arms[control] = sorted({rounds[0], rounds[-1]})
    small = tmp_path / file.name
    small.write_text(yaml.safe_dump(tree), encoding="utf-8")
    plan = make_plan(load_study(small), tmp_path / "runs")
    assert {job.status for job in plan.jobs} == {"new"}
    known = estimates(plan)
    assert all(known[entry.name].seconds is not None and known[entry.name].bytes is not None for entry in plan.study.entries)
