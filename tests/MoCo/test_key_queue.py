"""The queue against a deque, whatever the sizes of queue and batches."""

from __future__ import annotations

from collections import deque

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from MoCo.key_queue import KeyQueue

CPU = torch.device("cpu")


def oldest_first(queue: KeyQueue) -> list[list[float]]:
    return [queue.keys_KD[(queue.next + i) % len(queue)].tolist() for i in range(len(queue))]


@settings(max_examples=100, deadline=None)
@given(size=st.integers(1, 12), batches=st.lists(st.integers(1, 30), max_size=12))
def test_holds_what_a_deque_holds(size: int, batches: list[int]) -> None:
    queue = KeyQueue(size, 2, CPU)
    expected: deque[list[float]] = deque([[0.0, 0.0]] * size, maxlen=size)
    number = 0
    for length in batches:
        keys = torch.arange(number, number + 2 * length, dtype=torch.float32).reshape(length, 2) + 1
        number += 2 * length
        queue.push_(keys)
        expected.extend(keys.tolist())
        assert oldest_first(queue) == list(expected)


def test_the_oldest_are_replaced_around_the_end() -> None:
    queue = KeyQueue(5, 1, CPU)
    for start in (0, 3, 6):
        queue.push_(torch.arange(start, start + 3.0)[:, None])
    assert queue.keys_KD.flatten().tolist() == [5, 6, 7, 8, 4]
    assert queue.next == 4


def test_keys_are_copied_and_keep_no_gradient() -> None:
    queue = KeyQueue(4, 3, CPU)
    keys = torch.ones(2, 3, requires_grad=True)
    queue.push_(keys * 2)
    keys.data.zero_()
    assert not queue.keys_KD.requires_grad
    assert queue.keys_KD[:2].eq(2).all()


def test_state_goes_to_another_queue_and_is_a_copy() -> None:
    queue, other = KeyQueue(4, 3, CPU), KeyQueue(4, 3, CPU)
    queue.push_(torch.rand(3, 3))
    state = queue.state_dict()
    queue.push_(torch.rand(3, 3))
    other.load_state_dict(state)
    assert other.next == 3
    assert torch.equal(other.keys_KD[:2], state["keys"][:2])
    assert not torch.equal(queue.keys_KD, other.keys_KD)
    queue.load_state_dict(state)
    assert oldest_first(queue) == oldest_first(other)


def test_random_keys_are_unit_vectors_in_every_direction() -> None:
    queue = KeyQueue(2000, 3, CPU)
    queue.push_(torch.ones(7, 3))
    queue.fill_randomly_(torch.Generator().manual_seed(0))
    assert queue.next == 0
    torch.testing.assert_close(queue.keys_KD.norm(dim=1), torch.ones(2000))
    assert queue.keys_KD.mean(0).abs().max() < 0.05
    torch.testing.assert_close(queue.keys_KD.T @ queue.keys_KD / 2000, torch.eye(3) / 3, atol=0.03, rtol=0)
