from __future__ import annotations

import hashlib
from itertools import product

import numpy as np
import pytest
import torch

from common.errors import InputError
from common.randomness import derive_seed, generator, seeded


def test_seeds_by_their_definition() -> None:
    """The first 63 bits of SHA-256 over the arguments; these numbers must never change, or no run can be repeated."""
    digest = hashlib.sha256(b"7/order/2/5").digest()
    bits = "".join(f"{byte:08b}" for byte in digest)
    assert derive_seed(7, "order", 2, 5) == int(bits[:63], 2)
    assert derive_seed(0, "init") == int(hashlib.sha256(b"0/init").hexdigest()[:16], 16) // 2


def test_no_two_draws_share_a_seed() -> None:
    seeds = [
        derive_seed(s, stream, i, j) for s, stream, i, j in product(range(8), ("init", "order", "views"), range(12), range(12))
    ]
    seeds += [derive_seed(s, stream, i) for s, stream, i in product(range(8), ("init", "order", "views"), range(144))]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_seeds_are_spread_evenly() -> None:
    ones = np.array([[derive_seed(0, "x", i) >> bit & 1 for bit in range(63)] for i in range(2000)]).mean(0)
    assert abs(ones - 0.5).max() < 0.06


def test_numpys_integers_count_as_integers() -> None:
    assert derive_seed(3, "x", np.int64(2)) == derive_seed(3, "x", 2)  # type: ignore[arg-type]


@pytest.mark.parametrize("use", [derive_seed, generator])
def test_negative_seeds(use: object) -> None:
    with pytest.raises(InputError, match="got -1"):
        use(-1, "x")  # type: ignore[operator]
    with pytest.raises(InputError, match="got -1"), seeded(-1, "x"):
        pass


def test_generators_are_independent_of_torchs_own() -> None:
    before = torch.random.get_rng_state()
    one = torch.rand(5, generator=generator(1, "a", 2))
    torch.rand(3)
    assert torch.equal(one, torch.rand(5, generator=generator(1, "a", 2)))
    assert torch.equal(one, torch.rand(5, generator=torch.Generator().manual_seed(derive_seed(1, "a", 2))))
    assert not torch.equal(one, torch.rand(5, generator=generator(1, "a", 3)))
    torch.random.set_rng_state(before)
    generator(1, "a").manual_seed(0)
    assert torch.equal(before, torch.random.get_rng_state())


def test_seeded_blocks_repeat_and_leave_no_trace() -> None:
    before = torch.random.get_rng_state()
    with seeded(3, "init"):
        one = torch.rand(4)
        with seeded(4, "init"):
            inner = torch.rand(4)
        after_inner = torch.rand(4)
    assert torch.equal(before, torch.random.get_rng_state())
    with seeded(3, "init"):
        assert torch.equal(torch.rand(4), one)
        assert torch.equal(torch.rand(4), after_inner)
    assert not torch.equal(one, inner)
    with pytest.raises(RuntimeError), seeded(3, "init"):
        raise RuntimeError(torch.rand(1))
    assert torch.equal(before, torch.random.get_rng_state())
