"""RigL (Evci et al. 2020, arXiv:1911.11134): a TensorFlow checkpoint's variables as an .npz of arrays, kernels as HWIO.

    resnet_model/initial_conv/weights, /mask                                        the stem (7, 7, 3, 64)
    resnet_model/bottleneck_K_block_group_projection_block_groupL/weights, /mask    convolution K of the first block of stage L
    resnet_model/bottleneck_projection_block_group_projection_block_groupL/...      its shortcut
    resnet_model/bottleneck_K_block_groupL_B_1/weights, /mask                       convolution K of block B >= 1
    resnet_model/batch_normalization[_N]/gamma, beta, moving_mean, moving_variance  norms, numbered in the order of computation
    resnet_model/final_dense/weights, /biases, /mask                                the classifier (D, K)

or the same arrays under the block names of `common.models.layouts.rigl`, each mask as `<convolution>.mask`. A tensor without a
mask is dense; a file without any mask has it in its zeros. The network multiplies weights by masks, as the importer does: what
is left of dropped connections plays no part. Written, where TensorFlow is, by

    reader = tf.train.load_checkpoint(FOLDER)
    numpy.savez("rigl.npz", **{name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()})
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from common.errors import InputError
from common.exchange.importers.importer import Found, Importer
from common.exchange.importers.pairs import split_pairs
from common.exchange.source import Source
from common.models.layouts.rigl import RIGL_INPUT

_ARRAYS = ".npz"
_CONVOLUTIONS = (
    (re.compile(r"(?:initial_conv/)?initial_conv"), "conv1"),
    (re.compile(r"bottleneck_([1-3])_block_group_projection_block_group([1-4])"), r"layer\2.0.conv\1"),
    (re.compile(r"bottleneck_projection_block_group_projection_block_group([1-4])"), r"layer\1.0.downsample.0"),
    (re.compile(r"bottleneck_([1-3])_block_group([1-4])_([1-9]\d*)_1"), r"layer\2.\3.conv\1"),
    (re.compile(r"(?:final_dense/)?final_dense"), "fc"),
)
_OF_CONVOLUTION = {"weights": "weight", "kernel": "weight", "biases": "bias", "bias": "bias", "mask": "mask"}
_NORM = re.compile(r"batch_normalization(?:_(\d+))?/(gamma|beta|moving_mean|moving_variance)")
_OF_NORM = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}
_NOT_WEIGHTS = re.compile(r".*global_step|(?:.*/)?(?:Momentum|threshold|old_weight|old_old_weight|gradient)|.*sparse_momentum.*")
_MASK = ".mask"


def _recognises(source: Source) -> bool:
    names = source.tensors
    return source.path.suffix.lower() == _ARRAYS and (
        any("initial_conv" in name for name in names) or any("block_group" in name for name in names)
    )


def _read(source: Source) -> Found:
    what = str(source.path)
    left_out = tuple(sorted(name for name in source.tensors if _NOT_WEIGHTS.fullmatch(name)))
    given = {name: tensor for name, tensor in source.tensors.items() if name not in left_out}
    if any("/" in name for name in given):
        given = _of_variables(given, what)
    weights, masks = split_pairs(given, lambda _: None, _masked, what)
    for name, mask in masks.items():
        if mask.shape == weights[name].shape:  # else it is refused where shapes are matched
            weights[name] = weights[name].masked_fill(mask == 0, 0)
    weights = {name: _oihw(tensor) for name, tensor in weights.items()}
    masks = {name: _oihw(tensor) for name, tensor in masks.items()}
    return Found(weights, masks, rule="masks" if masks else "zeros", left_out=left_out)


def _masked(name: str) -> str | None:
    return name.removesuffix(_MASK) + ".weight" if name.endswith(_MASK) else None


def _of_variables(tensors: Mapping[str, Tensor], what: str) -> dict[str, Tensor]:
    """Give TensorFlow's variables torchvision's names; masks become `<layer>.mask`."""
    inner = {name.partition("/")[2] if name.startswith("resnet_model/") else name: tensor for name, tensor in tensors.items()}
    places = {name: _place(name) for name in inner}
    norms = _norms({place[0] for place in places.values() if place is not None})
    found: dict[str, Tensor] = {}
    for name, place in places.items():
        match = _NORM.fullmatch(name)
        if match is not None and int(match[1] or 0) < len(norms):
            wanted = f"{norms[int(match[1] or 0)]}.{_OF_NORM[match[2]]}"
        elif place is not None:
            wanted = ".".join(place)
        else:
            raise InputError(f"{what} holds {name!r}, which is no variable of RigL's bottleneck ResNets")
        if wanted in found:
            raise InputError(f"{what} holds two variables for {wanted!r}, one of them {name!r}")
        found[wanted] = inner[name]
    return found


def _place(name: str) -> tuple[str, str] | None:
    """Return the layer that a variable belongs to, and what it is of it."""
    scope, _, kind = name.rpartition("/")
    if kind not in _OF_CONVOLUTION:
        return None
    for pattern, layer in _CONVOLUTIONS:
        match = pattern.fullmatch(scope)
        if match is not None:
            return match.expand(layer), _OF_CONVOLUTION[kind]
    return None


def _norms(layers: set[str]) -> list[str]:
    """List the norms in the order in which TensorFlow numbers them: the stem's; of a block the shortcut's, then 1 to 3."""

    def order(layer: str) -> tuple[int, int, int]:
        _, block, part = layer.split(".", 2)
        return int(layer[5]), int(block), 0 if part == "downsample.0" else int(part[-1])

    inner = sorted((layer for layer in layers if layer.startswith("layer")), key=order)
    return ["bn1", *(layer.replace("downsample.0", "downsample.1").replace(".conv", ".bn") for layer in inner)]


def _oihw(tensor: Tensor) -> Tensor:
    """Turn a kernel (H, W, I, O) into torch's (O, I, H, W), and a matrix (D, K) into (K, D)."""
    if tensor.ndim == 4:
        return tensor.permute(3, 2, 0, 1).contiguous()
    return tensor.T.contiguous() if tensor.ndim == 2 else tensor


RIGL = Importer(
    "rigl",
    "RigL: a TensorFlow checkpoint's variables as .npz",
    "initial_conv and block_group arrays in an .npz",
    _recognises,
    _read,
    RIGL_INPUT,
    variant="tf_same",
)
