"""Published weights from a library's cache, and one line where there is no network."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import huggingface_hub.constants
import pytest
import timm
import torch
import torchvision
from huggingface_hub.utils import close_session
from safetensors.torch import save_file
from torch import nn

from common.data.inputs import InputSpec
from common.errors import InputError
from common.models.backbones import build_backbone
from common.models.published_weights import published_weights
from common.models.start import load_start_weights_


@pytest.fixture
def caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Empty caches of both libraries, and a network that nothing comes through."""
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    close_session()
    yield tmp_path
    close_session()


def put_into_hub_cache(cache: Path, repository: str, model: nn.Module) -> None:
    """Write a model as the hub's cache keeps it: a reference to a commit, and that commit's files."""
    folder = cache / "hub" / f"models--{repository.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs/main").write_text("0" * 40)
    (folder / "snapshots" / ("0" * 40)).mkdir(parents=True)
    save_file(model.state_dict(), folder / "snapshots" / ("0" * 40) / "model.safetensors")


def test_timm_from_its_cache(caches: Path) -> None:
    model = timm.create_model("test_resnet").eval()
    config = model.pretrained_cfg
    put_into_hub_cache(caches, config["hf_hub_id"], model)
    start = published_weights("timm", "test_resnet")
    backbone = build_backbone("test_resnet", seed=5).eval()
    report = load_start_weights_(backbone, start, "timm")
    x_NCHW = torch.rand(2, 3, 40, 40)
    with torch.no_grad():
        expected = model.forward_head(model.forward_features(x_NCHW), pre_logits=True)
        assert torch.allclose(backbone(x_NCHW), expected, rtol=1e-5, atol=1e-6)
    spec = InputSpec.from_json(start.input or {})
    assert (spec.mean, spec.std, spec.range) == (tuple(config["mean"]), tuple(config["std"]), (0, 1))
    assert (spec.size, spec.interpolation) == (config["input_size"][-1], config["interpolation"])
    assert start.facts["published"] == f"test_resnet.{config['tag']}"
    assert all(name.startswith("fc.") for name in report.unexpected)


@pytest.mark.parametrize("version", ["", ":IMAGENET1K_V1"])
def test_torchvision_from_its_cache(version: str, caches: Path) -> None:
    weights = torchvision.models.ResNet18_Weights.IMAGENET1K_V1
    model = torchvision.models.resnet18().eval()
    file = caches / "torch/hub/checkpoints" / Path(weights.url).name
    file.parent.mkdir(parents=True)
    torch.save(model.state_dict(), file)
    start = published_weights(f"torchvision{version}", "resnet18")
    backbone = build_backbone("resnet18", seed=5).eval()
    load_start_weights_(backbone, start, "torchvision")
    theirs = model.state_dict()
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in backbone.state_dict().items())
    spec, preset = InputSpec.from_json(start.input or {}), weights.transforms()
    assert (list(spec.mean), list(spec.std), spec.size) == (preset.mean, preset.std, preset.crop_size[0])
    assert start.facts["published"] == "resnet18 IMAGENET1K_V1"


@pytest.mark.parametrize(
    ("weights", "name", "named"),
    [
        ("timm", "test_resnet", ["timm's weights of test_resnet", "could not be fetched", "--start.weights FILE"]),
        ("torchvision", "resnet18", ["torchvision's weights IMAGENET1K_V1 of resnet18", "--start.weights FILE"]),
        ("timm", "resnet_digits", ["resnet_digits", "of our own"]),
        ("torchvision", "resnet20_a", ["resnet20_a", "of our own"]),
        ("timm", "resnet34.nothing", ["timm publishes no weights of resnet34.nothing"]),
        ("torchvision", "vit_tiny_patch16_224", ["torchvision publishes no weights of vit_tiny_patch16_224"]),
        ("torchvision:V9", "resnet50", ["V9", "IMAGENET1K_V1, IMAGENET1K_V2"]),
    ],
)
def test_what_is_not_there_takes_one_line(weights: str, name: str, named: list[str], caches: Path) -> None:
    with pytest.raises(InputError) as error:
        published_weights(weights, name)
    line = str(error.value)
    assert "\n" not in line
    assert all(text in line for text in ["start.weights", *named]), line


def test_a_search_says_it_with_exit_code_2(caches: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from SimCLR.main import main

    words = ["--model.name=test_resnet", "--model.stem=native", "--data.name=digits", "--start.weights=timm"]
    assert main([*words, f"--out={caches}/runs"]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "timm's weights of test_resnet are not in its cache" in line
    assert not (caches / "runs").exists()
