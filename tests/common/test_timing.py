"""Interleaved timing: the order of the runs, and the ratio of medians."""

from __future__ import annotations

from common.timing import interleaved, median_ratio


def test_cases_run_in_turn_after_one_untimed_run_each() -> None:
    order: list[str] = []
    seconds = interleaved({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, 3)
    assert order == ["a", "b"] * 4
    assert {name: len(values) for name, values in seconds.items()} == {"a": 3, "b": 3}
    assert min(map(min, seconds.values())) >= 0
    assert median_ratio([4.0, 100.0, 2.0], [1.0, 2.0, 0.0]) == 4.0
