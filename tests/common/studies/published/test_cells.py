"""The published numbers: against figures that the publications print themselves, and the schema's refusals."""

from __future__ import annotations

import json
import shutil
import statistics
from typing import get_args

import pytest

from common.errors import InputError
from common.studies.published.cells import FOLDER, Cell, load_tables
from common.studies.published.levels import level_of
from common.values import types_of

# Means over the twelve data sets, in points, as the tables 1 and 2 of the study of sparse transfer sum them up.
MEANS = {
    "sparse_transfer_resnet50_full": {
        ("Dense", 1.0): 85.5, ("AC/DC", 0.2): 84.7, ("LTH-T", 0.2): 84.4, ("RigL ERK 1x", 0.2): 82.6, ("RigL ERK 5x", 0.2): 82.8,
        ("STR", 0.2): 83.2, ("WoodFisher", 0.2): 85.2, ("AC/DC", 0.1): 84.1, ("LTH-T", 0.1): 81.9, ("RigL ERK 1x", 0.1): 81.5,
        ("RigL ERK 5x", 0.1): 82.7, ("STR", 0.1): 82.4, ("WoodFisher", 0.1): 84.8, ("AC/DC", 0.05): 83.0, ("LTH-T", 0.05): 75.8,
        ("RigL ERK 1x", 0.05): 80.5, ("RigL ERK 5x", 0.05): 81.9, ("STR", 0.05): 80.6, ("WoodFisher", 0.05): 83.7,
        ("STR", 0.02): 76.1,
    },
    "sparse_transfer_resnet50_linear": {
        ("Dense", 1.0): 74.5, ("AC/DC", 0.2): 75.5, ("LTH-T", 0.2): 60.5, ("RigL ERK 1x", 0.2): 74.5, ("RigL ERK 5x", 0.2): 75.0,
        ("STR", 0.2): 75.1, ("WoodFisher", 0.2): 70.8, ("AC/DC", 0.1): 75.3, ("LTH-T", 0.1): 40.7, ("RigL ERK 1x", 0.1): 73.6,
        ("RigL ERK 5x", 0.1): 75.3, ("STR", 0.1): 74.1, ("WoodFisher", 0.1): 71.3, ("AC/DC", 0.05): 74.8, ("LTH-T", 0.05): 15.9,
        ("RigL ERK 1x", 0.05): 72.3, ("RigL ERK 5x", 0.05): 74.5, ("STR", 0.05): 72.1, ("WoodFisher", 0.05): 70.7,
        ("STR", 0.02): 67.6,
    },
    "sparse_transfer_mobilenet_full": {
        ("Dense", 1.0): 82.4, ("AC/DC", 0.7): 81.9, ("AC/DC", 0.6): 82.0, ("AC/DC", 0.5): 81.8, ("AC/DC", 0.25): 80.8,
        ("AC/DC", 0.1): 79.1, ("M-FAC", 0.25): 79.8, ("M-FAC", 0.11): 77.5, ("STR", 0.25): 77.8, ("STR", 0.1): 76.0,
    },
    "sparse_transfer_mobilenet_linear": {
        ("Dense", 1.0): 72.9, ("AC/DC", 0.7): 72.8, ("AC/DC", 0.6): 72.7, ("AC/DC", 0.5): 72.6, ("AC/DC", 0.25): 72.4,
        ("AC/DC", 0.1): 70.8, ("M-FAC", 0.25): 72.2, ("M-FAC", 0.11): 70.9, ("STR", 0.25): 70.4, ("STR", 0.1): 67.7,
    },
}  # fmt: skip


def _cells(name: str) -> tuple[Cell, ...]:
    return load_tables([name])[0].cells


@pytest.mark.parametrize("name", MEANS)
def test_the_means_over_twelve_data_sets_are_those_that_are_printed(name):
    by_method: dict[tuple[str, float | None], list[float]] = {}
    for cell in _cells(name):
        by_method.setdefault((cell.name, cell.density), []).append(cell.value)
    assert set(by_method) == set(MEANS[name])
    for method, values in by_method.items():
        assert len(values) == 12
        assert 100 * statistics.fmean(values) == pytest.approx(MEANS[name][method], abs=0.0501), method


def test_there_are_720_cells_of_sparse_transfer_with_the_runs_that_were_counted():
    cells = [cell for name in MEANS for cell in _cells(name)]
    assert len(cells) == 720
    runs = {name: sum(cell.n for cell in _cells(name)) for name in MEANS}
    # 723 and 1200 rows of raw results; of MobileNetV1's 132 full ones, 12 repeat a seed.
    assert runs == {
        "sparse_transfer_resnet50_full": 723,
        "sparse_transfer_resnet50_linear": 1200,
        "sparse_transfer_mobilenet_full": 120,
        "sparse_transfer_mobilenet_linear": 600,
    }
    per_class = {cell.data for cell in cells if cell.metric == "mean_per_class"}
    assert per_class == {"aircraft", "caltech101", "caltech256", "flowers", "pets"}


def test_a_population_deviation_becomes_the_sample_s():
    values = [0.83, 0.84, 0.89]
    cell = Cell("", "", "", "", 1.0, 0.0, 0.85, statistics.pstdev(values), 3, None, None, None, {})
    assert cell.deviation == pytest.approx(statistics.stdev(values))
    assert all(cell.deviation is None for cell in _cells("sparse_transfer_mobilenet_full"))


def test_figure_3_is_whole_and_at_the_levels_of_the_search():
    cells = _cells("cvpr2021_figure3")
    assert len(cells) == 4 * 8 * 6
    assert {level_of(cell.density) for cell in cells} == {0, 4, 7, 10, 14, 18}
    assert len({(cell.data, cell.name, cell.density) for cell in cells}) == len(cells)
    value = {(cell.data, cell.name, level_of(cell.density)): cell.value for cell in cells}
    assert value["cifar10", "(m_sim, theta_sim)", 18] == 0.9365
    assert value["fashion_mnist", "(m_T, theta_5%)", 0] == 0.933
    # The unpruned network from random weights is one network, whichever way its tickets would be rewound.
    for data in ("cifar10", "cifar100", "svhn", "fashion_mnist"):
        assert value[data, "(m_T, theta_0)", 0] == value[data, "(m_T, theta_5%)", 0]


def test_a_universal_ticket_wins_as_far_as_on_the_set_where_it_wins_least():
    cells = [cell for cell in _cells("cvpr2021_winning") if cell.apart is None]
    value = {(cell.data, cell.name): cell.value for cell in cells}
    sets = [data for data, _ in value if "|" in data]
    assert len(set(sets)) == 2
    for data in set(sets):
        for name in ("(m_Img, theta_Img)", "(m_sim, theta_sim)", "(m_MoCo, theta_MoCo)"):
            assert value[data, name] == min(value[one, name] for one in data.split("|"))
    assert all(level_of(1 - cell.value) is not None for cell in cells)


def test_what_cannot_be_compared_says_why_and_everything_else_says_how():
    for table in load_tables():
        for cell in table.cells:
            assert (cell.apart is None) == bool(cell.match)
            if cell.match:
                assert {"task", "data.name", "protocol", "recipe", "control"} <= set(cell.match), cell


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (",0.63953,", ",63.953,", "line 2: value: got '63.953', expected a fraction in [0, 1]"),
        (",0.63953,", ",much,", "line 2: value: got 'much', expected a number"),
        (",0.2,0.015,", ",1.2,0.015,", "line 2: density: got '1.2'"),
        (",0.2,0.015,", ",0.2,,", "line 2: tolerance: got ''"),
        (",3,,AC/DC,", ",2.5,,AC/DC,", "line 2: n: got '2.5', expected an integer >= 1"),
        ("sparse_transfer_resnet50_full,", "unheard_of,", "line 2: table: got 'unheard_of'"),
        (",AC/DC,sun397", ",,sun397", "line 2: name: got '', expected text"),
        ("table,place", "table,plaice", "expected the columns table, place"),
        ("wrapped|zeros\n", "wrapped|zeros,more\n", "line 2: expected 25 fields"),
        ("AC/DC,,classification", "AC/DC,no,classification", "line 2: apart: got 'no', expected a reason where, and only where"),
    ],
)
def test_a_file_that_breaks_the_schema_is_refused(tmp_path, old, new, says):
    folder = tmp_path / "published"
    shutil.copytree(FOLDER, folder, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    file = folder / "sparse_transfer_2022.csv"
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(InputError) as told:
        load_tables(folder=folder)
    assert says in str(told.value)
    assert "\n" not in str(told.value)


def test_an_unknown_table_is_refused_with_the_known_ones():
    with pytest.raises(InputError, match="unknown table 'table9'; known tables are sparse_transfer_resnet50_full, "):
        load_tables(["table9"])


def test_the_recipes_that_cells_ask_for_are_there_and_say_what_the_cells_say():
    from common.cli import resolve
    from common.config import as_tree
    from common.recipes import recipe_names
    from Detection.main import COMMAND as DETECTION
    from Downstream.main import COMMAND as DOWNSTREAM
    from Segmentation.main import COMMAND as SEGMENTATION

    commands = {"classification": DOWNSTREAM, "detection": DETECTION, "segmentation": SEGMENTATION}
    names = {task: set(recipe_names(command.recipes)) for task, command in commands.items()}
    asked = ("train.epochs", "train.batch_size", "optim.lr", "optim.sweep", "data.labels", "data.name", "model.name")
    trees = {}
    seen = set()
    for cell in (cell for table in load_tables() for cell in table.cells if cell.apart is None):
        (task,) = cell.match["task"]
        existing = [name for name in cell.match["recipe"] if name in names[task]]
        assert existing, cell.match["recipe"]
        for name in existing:
            if "mobilenet" in cell.match["config.model.name"][0] and "mobilenet" not in name:
                continue  # such a recipe is told another backbone
            if name not in trees:
                trees[name] = as_tree(resolve(commands[task], [f"--recipe={name}"]).config)
            tree = trees[name]
            for path in asked:
                group, _, key = path.partition(".")
                if task != "classification" and path in ("optim.sweep", "data.labels"):
                    assert f"config.{path}" not in cell.match  # these tasks have no such options
                    continue
                texts = cell.match["data.name"] if path == "data.name" else cell.match[f"config.{path}"]
                if "mobilenet" in name and path in ("data.name", "optim.lr"):
                    continue  # told on the line
                value = tree[group][key]
                assert (value if isinstance(value, str) else json.dumps(value)) in texts, (name, path, cell)
            if task == "detection":
                assert cell.metric in get_args(types_of(DETECTION.schema)["evaluation.metric"])
            if cell.match["protocol"] != ("imp",) and task == "classification":
                assert (tree["protocol"],) == cell.match["protocol"]
            seen.add(name)
    assert len(seen) == 5 + 2 * (1 + 12 + 1) + 3


def test_every_data_set_of_a_compared_cell_is_in_the_catalogue():
    from common.data.annotated.catalogue import ANNOTATED
    from common.data.catalogue import CATALOGUE

    compared = [cell for table in load_tables() for cell in table.cells if cell.apart is None]
    assert {name for cell in compared for name in cell.match["data.name"]} <= set(CATALOGUE) | set(ANNOTATED)
