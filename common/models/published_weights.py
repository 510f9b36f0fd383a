"""Published weights of a backbone, through the library that publishes them: from its cache, or fetched over the network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from common.data.inputs import InputSpec
from common.errors import InputError
from common.models.names import OWN
from common.models.start_weights import StartWeights

_SECONDS = 10.0


def published_weights(weights: str, name: str) -> StartWeights:
    """Return published weights of a backbone, with the input specification that the library gives for them.

    Args:
        weights: "timm" (the tag of the model's name, or timm's default), "torchvision" (its default), or "torchvision:NAME",
            such as torchvision:IMAGENET1K_V1.
        name: the backbone, `model.name`.

    Raises:
        InputError: the library publishes none for this backbone, or they are not in its cache and cannot be fetched.
    """
    if name in OWN:
        raise InputError(f"start.weights: {weights} publishes no weights of {name}, which is a backbone of our own; give a file")
    library, _, version = weights.partition(":")
    return _of_timm(name) if library == "timm" else _of_torchvision(name, version)


def _of_timm(name: str) -> StartWeights:
    import timm

    try:
        published = timm.get_pretrained_cfg(name) if timm.is_model(name) else None
    except RuntimeError:  # a tag that timm does not know
        published = None
    if published is None or not published.has_weights:
        raise InputError(f"start.weights: timm publishes no weights of {name}; give a file, or a model of timm.list_pretrained()")
    cached = _hub_file(published, name)
    try:
        model: Any = timm.create_model(name, pretrained=True, pretrained_cfg_overlay={"file": cached} if cached else None)
    except Exception as error:  # the hub's, the network's and the file system's failures are of many kinds
        raise _not_fetched(f"timm's weights of {name}", error) from error
    config: Mapping[str, Any] = model.pretrained_cfg
    channels, size = config["input_size"][0], config["input_size"][-1]
    input = InputSpec(size, channels, (0.0, 1.0), tuple(config["mean"]), tuple(config["std"]), config["interpolation"])
    tag = f".{config['tag']}" if config.get("tag") else ""
    return _published("timm", f"{config['architecture']}{tag}", model.state_dict(), input)


def _hub_file(published: Any, name: str) -> str | None:
    """Return the file of weights in the hub's cache; None where timm is to fetch it, which then needs a network.

    Looking into the cache first needs no network. Asking once whether there is one spares minutes of the hub's own attempts.

    Raises:
        InputError: the weights are not in the cache and the hub cannot be reached.
    """
    if not published.hf_hub_id:
        return None  # timm takes these from a URL, through torch's cache
    from huggingface_hub import hf_hub_url, try_to_load_from_cache
    from huggingface_hub.utils import get_session

    repository, _, revision = published.hf_hub_id.partition("@")
    names = [published.hf_hub_filename] if published.hf_hub_filename else ["model.safetensors", "pytorch_model.bin"]
    for file in names:
        found = try_to_load_from_cache(repository, file, revision=revision or None)
        if isinstance(found, str):
            return found
    try:
        get_session().head(hf_hub_url(repository, names[0], revision=revision or None), timeout=_SECONDS)
    except Exception as error:
        raise _not_fetched(f"timm's weights of {name}", error) from error
    return None


def _of_torchvision(name: str, version: str) -> StartWeights:
    from torchvision.models import get_model_weights

    try:
        known: Any = get_model_weights(name)
    except ValueError as error:
        raise InputError(f"start.weights: torchvision publishes no weights of {name}; give a file, or timm") from error
    names = list(known.__members__)
    if version and version not in names:
        raise InputError(f"start.weights: torchvision has no weights {version} of {name}; it has {', '.join(names)}")
    chosen = known[version or "DEFAULT"]
    try:
        state = chosen.get_state_dict(progress=False, check_hash=True, map_location="cpu", weights_only=True)
    except Exception as error:
        raise _not_fetched(f"torchvision's weights {chosen.name} of {name}", error) from error
    resized = chosen.transforms()
    size, mode = resized.crop_size[-1], resized.interpolation.value
    input = InputSpec(size, len(resized.mean), (0.0, 1.0), tuple(resized.mean), tuple(resized.std), mode)
    return _published("torchvision", f"{name} {chosen.name}", state, input)


def _published(library: str, exactly: str, state: Mapping[str, Tensor], input: InputSpec) -> StartWeights:
    return StartWeights(dict(state), input.to_json(), library, facts={"published": exactly})


def _not_fetched(what: str, error: Exception) -> InputError:
    why = " ".join(str(error).split())[:200].rstrip(". ") or type(error).__name__
    return InputError(
        f"start.weights: {what} are not in its cache and could not be fetched ({type(error).__name__}: {why}); "
        f"fetch them where there is a network, or give their file with --start.weights FILE"
    )
