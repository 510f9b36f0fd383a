"""The input specification: round trip, refusals, mismatch, normalisation against torchvision."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys

import pytest
import torch
from torchvision.transforms.v2 import functional as oracle

from common.config import DataConfig
from common.data.datasets import open_data
from common.data.inputs import InputSpec
from common.errors import InputError

_SPEC = InputSpec(32, 3, (0.0, 1.0), (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010), "bilinear")


def test_json_round_trip() -> None:
    assert InputSpec.from_json(json.loads(json.dumps(_SPEC.to_json()))) == _SPEC
    open_size = dataclasses.replace(_SPEC, size=None, interpolation=None)
    assert InputSpec.from_json(open_size.to_json()) == open_size


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("size", 0),
        ("size", "32"),
        ("channels", 0),
        ("channels", True),
        ("range", [1, 0]),
        ("range", [0]),
        ("mean", [0, 0]),
        ("std", [1, 1, 0]),
        ("std", [1, 1, float("nan")]),
        ("interpolation", 3),
        ("extra", 1),
    ],
)
def test_bad_fields_are_refused(field: str, value: object) -> None:
    with pytest.raises(InputError, match=field if field != "extra" else "expected the fields"):
        InputSpec.from_json({**_SPEC.to_json(), field: value})


def test_mismatch_names_the_differing_fields_in_one_line() -> None:
    assert _SPEC.mismatch(dataclasses.replace(_SPEC, size=224, interpolation=None)) is None
    assert _SPEC.mismatch(dataclasses.replace(_SPEC, mean=(0.4914 + 1e-9, 0.4822, 0.4465))) is None
    line = _SPEC.mismatch(dataclasses.replace(_SPEC, range=(0.0, 255.0), std=(1.0, 1.0, 1.0)))
    assert line == "range (0, 1) against (0, 255); std (0.2023, 0.1994, 0.201) against (1, 1, 1)"


def test_normalise_equals_torchvision() -> None:
    images = torch.randint(0, 256, (5, 3, 7, 9), dtype=torch.uint8)
    expected = oracle.normalize(images.float() / 255, list(_SPEC.mean), list(_SPEC.std))
    torch.testing.assert_close(_SPEC.normalise(images), expected)
    torch.testing.assert_close(_SPEC.normalise(images.float() / 255), expected)
    wide = dataclasses.replace(_SPEC, range=(0.0, 255.0), mean=(128.0,) * 3, std=(1.0,) * 3)
    torch.testing.assert_close(wide.normalise(images), images.float() - 128)


def test_normalise_refuses_other_channels_and_works_after_inference_mode() -> None:
    spec = dataclasses.replace(_SPEC, mean=(0.11, 0.12, 0.13))
    with torch.inference_mode():
        spec.normalise(torch.zeros(1, 3, 2, 2))
    images = torch.zeros(1, 3, 2, 2, requires_grad=True)
    spec.normalise(images).sum().backward()
    assert images.grad is not None
    with pytest.raises(InputError, match=r"expected \(N, 3, H, W\)"):
        spec.normalise(torch.zeros(1, 1, 2, 2))


def test_light_modules_import_no_torch() -> None:
    code = (
        "import sys, common.data.inputs, common.data.catalogue as c, common.data.augment_config, common.data.datasets\n"
        "assert len(c.describe_catalogue()) >= 5\n"
        "sys.exit(bool({'torch', 'torchvision', 'sklearn', 'numpy'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("asked", "mean", "std"),
    [
        ("own", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
        ("unit", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
        ("imagenet", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ("half", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    ],
)
def test_data_can_be_normalised_as_given_weights_expect(asked: str, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
    dataset = open_data(DataConfig(name="digits", input=asked))  # type: ignore[arg-type]
    images = dataset.train.images[:4]
    assert torch.allclose(dataset.input.normalise(images), oracle.normalize(images / 255, mean, std), atol=1e-6)
