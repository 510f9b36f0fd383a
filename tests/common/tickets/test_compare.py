"""Overlap with its chance levels, all-zero kernels, the picture: by hand, by simulation, by numpy."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import InputError
from common.tickets.compare import compare, overlap, overlap_per_tensor, plot_comparison, shared_counts, zero_kernels
from common.tickets.errors import TicketError
from common.tickets.heatmap import plot_heatmap
from common.tickets.mask import Mask


def _mask(**rows: list[int]) -> Mask:
    return Mask({name: torch.tensor(row, dtype=torch.bool) for name, row in rows.items()})


def test_overlap_by_hand() -> None:
    """A and B share 2 of 5; d1 = 3/8, d2 = 4/8; per tensor: x 2 and 2 of 4, y 1 and 2 of 4."""
    a = _mask(x=[1, 1, 0, 0], y=[1, 0, 0, 0])
    b = _mask(x=[0, 1, 1, 0], y=[1, 1, 0, 0])
    measured = overlap(a, b)
    assert measured.overlap == pytest.approx(2 / 5)
    assert measured.chance == pytest.approx((3 / 16) / (3 / 8 + 4 / 8 - 3 / 16))
    both = 2 * 2 / 4 + 1 * 2 / 4
    assert measured.chance_layerwise == pytest.approx(both / (3 + 4 - both))
    assert overlap(b, a) == measured


@pytest.mark.parametrize(("density", "chance"), [(0.8**5, 0.196), (0.8**10, 0.057), (0.8**18, 0.009)])
def test_chance_levels_of_the_papers_rounds(density: float, chance: float) -> None:
    size = 200_000
    a = Mask({"x": torch.arange(size) < round(density * size)})
    assert overlap(a, a).chance == pytest.approx(density / (2 - density), rel=1e-3)
    assert overlap(a, a).chance == pytest.approx(chance, abs=5e-4)
    assert overlap(a, a).overlap == 1


def test_chance_levels_by_simulation() -> None:
    """20 pairs of masks with the same counts, drawn by numpy: over everything, and inside each tensor."""
    draws = np.random.default_rng(0)
    sizes, in_a, in_b = (6000, 2000), (600, 1500), (3000, 200)

    def drawn(size: int, count: int) -> np.ndarray:
        return draws.permutation(size) < count

    def shared(a: np.ndarray, b: np.ndarray) -> float:
        return float((a & b).sum() / (a | b).sum())

    total = sum(sizes)
    uniform = np.mean([shared(drawn(total, sum(in_a)), drawn(total, sum(in_b))) for _ in range(13)])
    parts = []
    for _ in range(13):
        a = [drawn(n, k) for n, k in zip(sizes, in_a, strict=True)]
        b = [drawn(n, k) for n, k in zip(sizes, in_b, strict=True)]
        parts.append(shared(np.concatenate(a), np.concatenate(b)))
    measured = overlap(
        Mask({n: torch.from_numpy(m) for n, m in zip("xy", a, strict=True)}),
        Mask({n: torch.from_numpy(m) for n, m in zip("xy", b, strict=True)}),
    )
    assert measured.chance == pytest.approx(uniform, abs=0.006)
    assert measured.chance_layerwise == pytest.approx(np.mean(parts), abs=0.006)
    assert abs(measured.chance - measured.chance_layerwise) > 0.02


@settings(max_examples=40)
@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=30))
def test_overlap_is_that_of_sets(pairs: list[tuple[bool, bool]]) -> None:
    a, b = ({i for i, pair in enumerate(pairs) if pair[side]} for side in (0, 1))
    masks = [Mask({"x": torch.tensor([pair[side] for pair in pairs])}) for side in (0, 1)]
    assert overlap(*masks).overlap == pytest.approx(len(a & b) / len(a | b) if a | b else 0)


def test_overlap_in_a_tensor_by_hand() -> None:
    """x shares 1 of 3, y 1 of 2, as in the test above; chance is that of the whole masks, or of the tensor's own densities."""
    a = _mask(x=[1, 1, 0, 0], y=[1, 0, 0, 0])
    b = _mask(x=[0, 1, 1, 0], y=[1, 1, 0, 0])
    inside = overlap_per_tensor(shared_counts(a, b))
    whole = (3 / 16) / (3 / 8 + 4 / 8 - 3 / 16)
    for name, shared, own in (("x", 1 / 3, (1 / 4) / (1 - 1 / 4)), ("y", 1 / 2, (1 / 8) / (3 / 4 - 1 / 8))):
        measured = (inside[name].overlap, inside[name].chance, inside[name].chance_layerwise)
        assert measured == pytest.approx((shared, whole, own)), name


def test_the_heat_map_shows_the_overlaps(tmp_path: Path, little_mask: Mask) -> None:
    """Equal masks give another picture than disjoint ones; of thirteen the numbers do not fit, and are left out."""
    image = pytest.importorskip("matplotlib.image")
    dense = Mask.dense(little_mask.shapes)
    for name, other in (("same", little_mask), ("disjoint", little_mask.complement())):
        plot_heatmap(compare({"one": little_mask, "two": other, "three": dense}), tmp_path / f"{name}.png")
    assert (tmp_path / "same.png").read_bytes() != (tmp_path / "disjoint.png").read_bytes()
    plot_heatmap(compare({f"mask {i}": little_mask for i in range(13)}), tmp_path / "many.png")
    yellow = np.array([253, 231, 37])  # the end of viridis: overlap 1
    shares = {}
    for name in ("same", "disjoint", "many"):
        pixels = (image.imread(tmp_path / f"{name}.png")[..., :3] * 255).round()
        shares[name] = (np.abs(pixels - yellow).max(-1) < 3).mean()
    assert shares["many"] > shares["same"] > shares["disjoint"]
    with pytest.raises(InputError, match="cannot write"):
        plot_heatmap(compare({"a": dense, "b": dense}), tmp_path / "same.png" / "x.png")


def test_zero_kernels_by_numpy() -> None:
    draws = torch.Generator().manual_seed(1)
    shapes = {"conv": (5, 4, 3, 3), "point": (6, 5, 1, 1), "linear": (7, 3), "cube": (2, 3, 2, 2, 2), "vector": (9,)}
    mask = Mask({name: torch.rand(shape, generator=draws) < 0.15 for name, shape in shapes.items()})
    counted = zero_kernels(mask)
    for name, shape in shapes.items():
        array = mask[name].numpy().reshape(*shape[:2], -1)
        if len(shape) == 1:
            array = mask[name].numpy().reshape(shape[0], 1)
        assert counted[name] == int((array.sum(-1) == 0).sum())
    assert 0 < counted["conv"] < 20
    kernels = compare({"a": mask, "b": mask})["kernels"]
    assert kernels == {"conv": 20, "cube": 6, "linear": 21, "point": 30, "vector": 9}


def test_the_report_is_json(little_mask: Mask) -> None:
    masks = {"one": little_mask, "two": little_mask.complement(), "three": Mask.dense(little_mask.shapes)}
    report = json.loads(json.dumps(compare(masks), allow_nan=False))
    assert [(pair["a"], pair["b"]) for pair in report["pairs"]] == [("one", "two"), ("one", "three"), ("two", "three")]
    assert report["pairs"][0]["overlap"] == 0
    assert report["pairs"][1]["overlap"] == pytest.approx(little_mask.kept / 76)
    assert report["density"]["three"] == 1
    assert report["density_per_tensor"]["one"]["point.weight"] == little_mask["point.weight"].numpy().mean()
    assert report["zero_kernels"]["three"] == {"body.weight": 0, "point.weight": 0}


def test_masks_of_different_architectures(little_mask: Mask) -> None:
    with pytest.raises(TicketError, match="different architectures"):
        overlap(little_mask, Mask.dense({"x": (2,)}))


def test_the_picture(tmp_path: Path, little_mask: Mask) -> None:
    image = pytest.importorskip("matplotlib.image")
    report = compare({"one": little_mask, "two": little_mask.complement()})
    plot_comparison(report, tmp_path / "deep" / "picture.png")
    pixels = image.imread(tmp_path / "deep" / "picture.png")
    assert pixels.shape[0] > 600
    assert pixels.shape[1] > 600
    colours = np.unique((pixels[..., :3] * 255).astype(np.uint8).reshape(-1, 3), axis=0)
    assert len(colours) > 50
    assert (pixels[..., :3] < 0.9).any(-1).mean() > 0.01
    other = compare({"one": little_mask, "two": little_mask})
    plot_comparison(other, tmp_path / "other.png")
    assert (tmp_path / "other.png").read_bytes() != (tmp_path / "deep" / "picture.png").read_bytes()
    with pytest.raises(InputError, match="cannot write"):
        plot_comparison(report, tmp_path / "other.png" / "x.png")
