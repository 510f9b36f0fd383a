"""A small layout of predictions, and targets written as rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch

from common.data.annotated.batch import Targets
from Detection.yolo.boxes import Grid, make_grid

SIZE, STRIDES = (32, 48), (4, 8, 16)
"""Height 32, width 48: maps of 8 x 12, 4 x 6 and 2 x 3 cells, three predictions each: 378."""


@pytest.fixture(scope="session")
def anchors() -> torch.Tensor:
    """Squares of nine sizes, which no box of the tests fits twice by accident."""
    return torch.tensor([4.0, 5, 6, 9, 11, 13, 18, 22, 27])[:, None].expand(9, 2).reshape(3, 3, 2).clone()


@pytest.fixture(scope="session")
def grid(anchors: torch.Tensor) -> Grid:
    return make_grid([(8, 12), (4, 6), (2, 3)], STRIDES, anchors)


@pytest.fixture(scope="session")
def make_targets() -> Callable[..., Targets]:
    """Return a function of rows (image, label, x1, y1, x2, y2) and, where they are not 1, weights."""

    def make(rows: Sequence[Sequence[float]], weights: Sequence[float] | None = None) -> Targets:
        table = torch.tensor(rows, dtype=torch.float32).reshape(-1, 6)
        weight = torch.ones(len(table)) if weights is None else torch.tensor(weights)
        return Targets(table[:, 2:], table[:, 1].long(), table[:, 0].long(), weight)

    return make
