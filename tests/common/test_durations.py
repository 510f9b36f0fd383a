from __future__ import annotations

import pytest

from common.durations import steps
from common.errors import InputError


@pytest.mark.parametrize(
    ("text", "per_epoch", "expected"),
    [("10ep", 7, 70), ("500it", 7, 500), ("0ep", 7, 0), ("0it", 7, 0), (" 2ep ", 3, 6), ("007it", 9, 7), ("1ep", 1, 1)],
)
def test_steps(text: str, per_epoch: int, expected: int) -> None:
    assert steps(text, per_epoch) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "10",
        "ep",
        "10 ep",
        "-1ep",
        "+1ep",
        "1.5ep",
        "1e3it",
        "10EP",
        "10epochs",
        "10ep5it",
        "10ep\n1",
        "٣ep",
        "²ep",
        "9" * 5000 + "it",
    ],
)
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(InputError, match="expected a duration such as 10ep") as error:
        steps(text, 3)
    assert "\n" not in str(error.value)
