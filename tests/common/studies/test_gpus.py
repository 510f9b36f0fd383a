"""Which GPUs are used, and which of them every worker sees."""

from __future__ import annotations

import stat

import pytest

from common.errors import InputError
from common.studies.gpus import choose_gpus, usable_gpus
from common.studies.run import run_plan


@pytest.fixture
def four(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,3,GPU-8f")


@pytest.mark.parametrize(
    ("text", "gpus"),
    [("auto", ["0", "1", "3", "GPU-8f"]), ("2", ["0", "1"]), ("3,0", ["3", "0"]), ("GPU-8f,", ["GPU-8f"])],
)
def test_what_is_asked_for_is_chosen_among_what_is_visible(four, text, gpus):
    assert choose_gpus(text) == gpus


@pytest.mark.parametrize("text", ["", "0", "-1", "5", "all", "0,2", "0,0", ",", "1.5"])
def test_what_cannot_be_is_refused(four, text):
    with pytest.raises(InputError, match=r"^--gpus"):
        choose_gpus(text)


def test_the_driver_is_asked_where_nothing_is_said(tmp_path, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert usable_gpus() == []
    with pytest.raises(InputError, match="this process may use no GPU"):
        choose_gpus("auto")
    driver = tmp_path / "nvidia-smi"
    driver.write_text("#!/bin/sh\nprintf '0\\n1\\n'\n")
    driver.chmod(driver.stat().st_mode | stat.S_IXUSR)
    assert choose_gpus("auto") == ["0", "1"]
    driver.write_text("#!/bin/sh\necho 'no devices were found'\nexit 6\n")
    assert usable_gpus() == []


def _searches(toys, count, **settings):
    find = {"folder": "ToySearch", "recipe": "toy", "rounds": 1, **settings}
    return toys.plan(searches={"find": find}, transfers=None, floors=None, seeds=list(range(count)))


def test_workers_share_the_gpus_evenly(toys):
    assert run_plan(_searches(toys, 5), 5, ["0", "5"]) == {}
    assert sorted(line[4] for line in toys.order()) == ["0", "0", "0", "5", "5"]


def test_a_worker_takes_the_gpu_of_the_one_that_died(toys):
    assert run_plan(_searches(toys, 1, set={"behave": "die_once"}), 1, ["3", "5"]) == {}
    assert [line[4] for line in toys.order()] == ["3", "3"]


def test_without_gpus_workers_see_what_the_study_sees(toys, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    plan = toys.plan(
        searches={"find": {"folder": "ToySearch", "recipe": "toy", "rounds": 1}}, transfers=None, floors=None, seeds=[0]
    )
    run_plan(plan, 1)
    assert [line[4] for line in toys.order()] == ["7"]
