"""Studies of toy folders, and result and ticket files written by hand in the frozen formats."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from safetensors.numpy import save_file

from common.files import canonical_json
from common.studies.plan import Job, Plan, make_plan
from common.studies.report import write_report
from common.studies.study import load_study
from common.tickets.container import StoredTensor
from common.tickets.header import read_header, stored_mask_digest, ticket_digest

SHAPES = {"layer1.0.conv1.weight": [4, 4, 3, 3], "layer2.0.conv1.weight": [8, 4, 3, 3], "layer10.0.conv1.weight": [8, 8, 1, 1]}

STUDY: dict[str, Any] = {
    "title": "Toys & tickets",
    "question": "Is a toy a ticket?",
    "seeds": [0, 1, 2],
    "margin": 0.02,
    "searches": {"find": {"folder": "ToySearch", "recipe": "toy", "rounds": 2}},
    "transfers": {
        "linear": {
            "folder": "ToyTask",
            "recipe": "toy",
            "from": "find",
            "arms": {"dense": [0], "random": [1, 2], "reversed": [2], "ticket": [1, 2]},
        }
    },
    "floors": {"pixels": {"folder": "ToyTask", "recipe": "odd"}},
}


class Toys:
    """A folder with toy packages, in which studies are written and planned."""

    def __init__(self, root: Path) -> None:
        self.root, self.out = root, Path("runs")
        source = Path(__file__).with_name("toy_folder.py").read_text()
        for folder in ("ToySearch", "ToyTask"):
            (root / folder).mkdir()
            (root / folder / "__main__.py").write_text(source)
        (root / "runs").mkdir()

    def study(self, **changes: Any) -> Path:
        """Write the study with top-level keys replaced; a value of None removes the key."""
        tree = {key: value for key, value in {**STUDY, **changes}.items() if value is not None}
        file = Path("toys.yaml")
        file.write_text(yaml.safe_dump(tree, sort_keys=False))
        return file

    def plan(self, **changes: Any) -> Plan:
        return make_plan(load_study(self.study(**changes)), self.out)

    def again(self, plan: Plan) -> Plan:
        return make_plan(plan.study, plan.out)

    def order(self) -> list[list[str]]:
        """What toys ran, in order: folder, process, threads, run directory, visible GPUs."""
        file = self.out / "order.txt"
        return [line.split() for line in file.read_text().splitlines()] if file.exists() else []


@pytest.fixture
def toys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Toys:
    monkeypatch.chdir(tmp_path)
    return Toys(tmp_path)


@pytest.fixture
def study_tree() -> dict[str, Any]:
    return json.loads(json.dumps(STUDY))


def ticket_of(job):
    """The digest of the ticket that a job starts from, where it lies on disk."""
    words = list(job.argv)
    path = Path(words[words.index("--ticket.file") + 1]) if "--ticket.file" in words else None
    return read_header(path)["digest"] if path is not None and path.is_file() else "a" * 64


def result(job: Job, value: float, **changes: Any) -> dict[str, Any]:
    """Return a result of format 1 for a job."""
    search = job.kind == "search"
    return {
        "format": 1, "run": "/".join(job.run.parts[-3:]), "folder": job.folder, "recipe": "toy",
        "config": {"data": {"labels": 40}},
        "seed": {"ticket": job.seed, "task": 0 if search else job.seed}, "task": "pretraining" if search else "classification",
        "data": {"name": "digits:0-5" if search else "digits:6-9", "split_hash": "0123456789abcdef", "fingerprint": "f"},
        "split": "validation" if search else "test", "metric": "knn_accuracy" if search else "top1", "value": value,
        "unit": "fraction", "higher_is_better": True,
        "metrics": {"validation/knn_accuracy": value, "validation/retrieval_accuracy": value / 2} if search
        else {"test/top1": value},
        "density": 0.5 ** (job.round or 0) if job.control != "reversed" else 1 - 0.5 ** (job.round or 0),
        "control": job.control or "ticket", "protocol": "pretrain" if search else "linear", "ticket": ticket_of(job),
        "mask_digest": "b" * 64,
        "source": dict(job.source) if job.source else None, "flags": [],
        "details": {"labels": 40}, "seconds": 1.5, "device": "cpu", "threads": 1, "commit": "c" * 40,
        "versions": {"python": "3.11", "torch": "2.11"}, **changes,
    }  # fmt: skip


def write_done(job: Job, value: float, **changes: Any) -> None:
    """Write what a finished task leaves."""
    job.run.mkdir(parents=True, exist_ok=True)
    (job.run / "result.json").write_text(json.dumps(result(job, value, **changes)))
    (job.run / "run.json").write_text(json.dumps({"format": 1, "status": "done"}))


def write_ticket(
    path: Path, density: float, seed: int, round_: int, *, shift: int = 0, shapes: dict[str, list[int]] = SHAPES
) -> None:
    """Write a ticket without weights: in every tensor, the weights from place `shift` on are kept, around its end."""
    kept = {name: round(density * int(np.prod(shape))) for name, shape in shapes.items()}
    bits = {name: np.roll(np.arange(np.prod(shape)) < kept[name], shift) for name, shape in shapes.items()}
    packed = {f"mask/{name}": np.packbits(bit, bitorder="little") for name, bit in bits.items()}
    stored = {name: StoredTensor("U8", value.shape, memoryview(value.tobytes())) for name, value in packed.items()}
    origin = dict.fromkeys(["folder", "objective", "data", "split", "recipe", "config", "run", "importer"], "toy")
    header: dict[str, Any] = {
        "format": 1, "mask_digest": stored_mask_digest({name[5:]: value for name, value in stored.items()}, shapes),
        "arch": {"name": "toy", "stem": "3x3", "in_chans": 3, "variant": None}, "scope": {"include": [], "exclude": []},
        "shapes": shapes, "kept": kept, "density": sum(kept.values()) / sum(int(np.prod(shape)) for shape in shapes.values()),
        "origin": {**origin, "seed": seed, "round": round_}, "parent": None, "rewind": {"to": "round0", "at": None},
        "weights": {"embedded": False, "file": None, "sha256": None}, "scores": None,
        "input": dict.fromkeys(["size", "channels", "range", "mean", "std", "interpolation"]),
        "software": {"version": "0", "commit": None, "torch": None},
    }  # fmt: skip
    header["digest"] = ticket_digest(header, stored)
    save_file(packed, path, metadata={"ticket": canonical_json(header)})


def write_search_round(job: Job, number: int, value: float, *, last: bool, shift: int = 0, **changes: Any) -> None:
    """Write what a round of a search leaves; the last one's result is the run's too."""
    folder = job.run / f"round_{number:02d}"
    folder.mkdir(parents=True)
    told = {"density": 0.5**number, "control": "ticket", **changes}
    (folder / "result.json").write_text(json.dumps(result(job, value, **told)))
    write_ticket(folder / "ticket.safetensors", 0.5**number, job.seed, number, shift=shift)
    if last:
        write_done(job, value, **told)


@pytest.fixture
def write_round() -> Any:
    """Write a round of a search."""
    return write_search_round


def write_search(job: Job, values: list[float], *, shift: int = 0, **changes: Any) -> None:
    """Write what a finished search leaves: a round per value."""
    for number, value in enumerate(values):
        write_search_round(job, number, value, last=number == len(values) - 1, shift=shift, **changes)


VALUES = {
    ("ticket", 1): (0.61, 0.66, 0.63),
    ("ticket", 2): (0.55, 0.60, 0.57),
    ("dense", 0): (0.60, 0.64, 0.59),
    ("random", 1): (0.40, 0.42, 0.44),
    ("random", 2): (0.52, 0.58, 0.49),
    ("reversed", 2): (0.62, 0.65, 0.64),
}


@pytest.fixture(scope="session")
def toy_jobs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Job, ...]:
    """The toy study's jobs: the same for every test, as paths are relative; asking the folders once saves time."""
    with pytest.MonkeyPatch.context() as patch:
        root = tmp_path_factory.mktemp("toys")
        patch.chdir(root)
        return Toys(root).plan().jobs


def _write_everything(toys: Toys, jobs: tuple[Job, ...]) -> Plan:
    for job in jobs:
        if job.kind == "search":
            write_search(job, [0.8, 0.7 + 0.01 * job.seed, 0.6])
        elif job.kind == "floor":
            write_done(job, 0.45 + 0.01 * job.seed, density=1.0)
        else:
            write_done(job, VALUES[job.control or "", job.round or 0][job.seed])
    return Plan(load_study(toys.study()), toys.out, tuple(replace(job, status="done") for job in jobs))


@pytest.fixture
def written(toys: Toys, toy_jobs: tuple[Job, ...]) -> Plan:
    """The toy study with every result written by hand."""
    return _write_everything(toys, toy_jobs)


@dataclass(frozen=True)
class Reported:
    """A whole study, written and reported: for tests that only look."""

    plan: Plan
    root: Path
    report: dict[str, Any]
    page: str

    @property
    def folder(self) -> Path:
        return self.root / self.plan.folder


@pytest.fixture(scope="session")
def reported(tmp_path_factory: pytest.TempPathFactory, toy_jobs: tuple[Job, ...]) -> Reported:
    with pytest.MonkeyPatch.context() as patch:
        root = tmp_path_factory.mktemp("reported")
        patch.chdir(root)
        plan = _write_everything(Toys(root), toy_jobs)
        report = write_report(plan)
        return Reported(plan, root, report, (plan.folder / "report.html").read_text())


@pytest.fixture
def rewrite() -> Any:
    """Change fields of a job's result."""
    return lambda job, value=0.5, **changes: write_done(job, value, **changes)


@pytest.fixture
def values() -> dict[tuple[str, int], tuple[float, ...]]:
    return dict(VALUES)


SOURCES: dict[str, Any] = {
    "searches": {
        name: {"folder": "ToySearch", "recipe": "toy", "rounds": 2, "set": {"method": name}}
        for name in ("simclr", "moco", "labels")
    },
    "transfers": {
        "linear": {
            "folder": "ToyTask",
            "recipe": "toy",
            "from": ["simclr", "moco", "labels"],
            "arms": {"ticket": [1, 2], "dense": [0], "random": [2]},
            "more": {"simclr": {"random": [1], "scratch": [0]}},
        }
    },
}
"""Changes that make the toy study one of three sources."""

LEVELS = {
    "simclr": {("dense", 0): (0.60, 0.64, 0.59), ("ticket", 1): (0.61, 0.66, 0.63), ("ticket", 2): (0.55, 0.60, 0.57)},
    "moco": {("dense", 0): (0.58, 0.65, 0.57), ("ticket", 1): (0.511, 0.560, 0.529), ("ticket", 2): (0.50, 0.55, 0.52)},
    "labels": {("dense", 0): (0.70, 0.71, 0.74), ("ticket", 1): (0.68, 0.60, 0.66), ("ticket", 2): (0.40, 0.52, 0.61)},
}
SHIFTS = {"simclr": (0, 1, 2), "moco": (0, 2, 5), "labels": (4, 8, 20)}


@pytest.fixture(scope="session")
def source_jobs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Job, ...]:
    """The jobs of the toy study with three sources."""
    with pytest.MonkeyPatch.context() as patch:
        root = tmp_path_factory.mktemp("sources")
        patch.chdir(root)
        return Toys(root).plan(**SOURCES).jobs


def _write_sources(toys: Toys, jobs: tuple[Job, ...]) -> Plan:
    for job in jobs:
        if job.kind == "search":
            write_search(job, [0.8, 0.7 + 0.01 * job.seed, 0.6], shift=SHIFTS[job.entry][job.seed])
        elif job.kind == "floor":
            write_done(job, 0.45 + 0.01 * job.seed, density=1.0)
        else:
            level = LEVELS[job.entry.partition(".")[2]].get((job.control or "", job.round or 0), (0.40, 0.42, 0.44))
            write_done(job, level[job.seed])
    return Plan(load_study(toys.study(**SOURCES)), toys.out, tuple(replace(job, status="done") for job in jobs))


@pytest.fixture
def written_sources(toys: Toys, source_jobs: tuple[Job, ...]) -> Plan:
    """The toy study of three sources with every result written by hand."""
    return _write_sources(toys, source_jobs)


@pytest.fixture(scope="session")
def reported_sources(tmp_path_factory: pytest.TempPathFactory, source_jobs: tuple[Job, ...]) -> Reported:
    with pytest.MonkeyPatch.context() as patch:
        root = tmp_path_factory.mktemp("reported_sources")
        patch.chdir(root)
        plan = _write_sources(Toys(root), source_jobs)
        report = write_report(plan)
        return Reported(plan, root, report, (plan.folder / "report.html").read_text())


@pytest.fixture
def planned_sources(toys: Toys, source_jobs: tuple[Job, ...]) -> Plan:
    """The toy study of three sources before anything ran."""
    return Plan(load_study(toys.study(**SOURCES)), toys.out, source_jobs)


@pytest.fixture
def other_ticket() -> Any:
    """Return what writes a ticket of another architecture."""
    return lambda path, seed, round_: write_ticket(
        path, 0.5**round_, seed, round_, shapes={"layer1.0.conv1.weight": [4, 4, 1, 1]}
    )


@pytest.fixture
def source_levels() -> dict[str, dict[tuple[str, int], tuple[float, ...]]]:
    return {source: dict(levels) for source, levels in LEVELS.items()}
