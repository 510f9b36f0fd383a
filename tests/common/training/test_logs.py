"""metrics.jsonl after a kill: what the run will write again is cut off, so that no position is there twice."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from common.training.logs import MetricsFile

WRITTEN = [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]


@pytest.mark.parametrize(("resumed_at", "kept"), [((0, 0), 0), ((0, 2), 2), ((1, 0), 3), ((1, 1), 4), ((1, 3), 6), ((2, 0), 6)])
def test_a_checkpoint_after_n_steps_keeps_the_lines_of_steps_0_to_n_less_1(
    resumed_at: tuple[int, int], kept: int, tmp_path: Path
) -> None:
    path = tmp_path / "metrics.jsonl"
    lines = [json.dumps({"round": round_, "step": step}) + "\n" for round_, step in WRITTEN]
    path.write_text("".join(lines) + '{"round": 1, "st')  # the last line was cut short by the kill
    MetricsFile(path, resumed_at=resumed_at).close()
    assert path.read_text() == "".join(lines[:kept])
