"""Predicted label maps of images of any size, in the pixels that they are judged in.

Views of an image (`View.kind`):

    fit     letter-boxed to the network's size, as training without augment.window does; judged at the image's own size
    whole   the image as it is
    slide   windows of the network's size over the image as it is, averaged where they overlap
    centre  what the predecessor judged (`--crop_val` of Chen et al. 2021's code): the image resized until it covers the network's
            size, and the centre cut out; its label map likewise, by nearest neighbour, so that the rest of it is never looked at

Several scales and mirrored images are averaged as probabilities, at the size that is judged.
h and w are the sides that are judged, H and W those of what the network sees; K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from common.data.annotated.letterbox import FILL, letterboxed, place_in, resized, resized_map
from common.data.inputs import InputSpec

Kind = Literal["fit", "whole", "slide", "centre"]


@dataclass(frozen=True)
class View:
    """How an image is shown to the network.

    Attributes:
        kind: see the module.
        size: height and width of the network's images, pixels.
        scales: of the image, > 0; several are averaged.
        flip: the mirrored image is averaged too.
        overlap: slide: share of a window that the next one covers again, in [0, 1).
    """

    kind: Kind
    size: tuple[int, int]
    scales: tuple[float, ...] = (1.0,)
    flip: bool = False
    overlap: float = 1 / 3


class Predictor:
    """A network's label maps of images.

    Args:
        network: normalised images (B, 3, H, W) -> logits (B, K, H, W), in eval mode.
        input: what it expects of its pixels.
        view: how images are shown.
        device: where it computes.
    """

    def __init__(self, network: Callable[[Tensor], Tensor], input: InputSpec, view: View, device: torch.device) -> None:
        self._network, self._input, self._view, self._device = network, input, view, device

    @torch.no_grad()
    def predict(self, images: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return the label map of each image, uint8 (h, w).

        Args:
            images: uint8 (H_i, W_i, 3), in one batch where the network sees all of one size; what is cut out by `judged`.
        """
        judged = [judged_part(image, self._view) for image in images]
        sums: list[Tensor | None] = [None] * len(judged)
        is_single = len(self._view.scales) == 1 and not self._view.flip
        for scale in self._view.scales:
            shown = [self._shown(image, scale) for image in judged]
            for members in _of_one_size([canvas for canvas, _ in shown]):
                batch_BCHW = self._normalised([shown[i][0] for i in members])
                for logits_BKHW in self._logits(batch_BCHW):
                    for i, logits_KHW in zip(members, logits_BKHW, strict=True):
                        top, left, height, width = shown[i][1]
                        own_KHW = logits_KHW[:, top : top + height, left : left + width]
                        own_Khw = _sized(own_KHW, judged[i].shape[:2])
                        sums[i] = own_Khw if is_single else _added(sums[i], own_Khw.softmax(dim=0))
        return [total.argmax(dim=0).to(torch.uint8).cpu().numpy() for total in sums if total is not None]

    def _shown(self, image_hw3: np.ndarray, scale: float) -> tuple[np.ndarray, tuple[int, int, int, int]]:
        """Return what the network is shown, uint8 (H, W, 3), and top, left, height and width of the image in it."""
        height, width = image_hw3.shape[:2]
        if self._view.kind == "fit":
            canvas = (max(1, round(self._view.size[0] * scale)), max(1, round(self._view.size[1] * scale)))
            place = place_in((height, width), canvas)
            return letterboxed(image_hw3, place, canvas), (place.top, place.left, place.height, place.width)
        height, width = max(1, round(height * scale)), max(1, round(width * scale))
        return resized(image_hw3, height, width), (0, 0, height, width)

    def _normalised(self, canvases: Sequence[np.ndarray]) -> Tensor:
        pixels_BHW3 = torch.from_numpy(np.stack(canvases)).to(self._device)
        return self._input.normalise(pixels_BHW3.permute(0, 3, 1, 2))

    def _logits(self, images_BCHW: Tensor) -> list[Tensor]:
        """Return the network's logits, (B, K, H, W) float32, of the images and, where asked for, of the mirrored ones."""
        through = self._slid if self._view.kind == "slide" else self._network
        found = [through(images_BCHW).float()]
        if self._view.flip:
            found.append(through(images_BCHW.flip(-1)).float().flip(-1))
        return found

    def _slid(self, images_BCHW: Tensor) -> Tensor:
        """Return logits averaged over windows; an image that is smaller than a window is padded."""
        height, width = images_BCHW.shape[-2:]
        below, right = max(0, self._view.size[0] - height), max(0, self._view.size[1] - width)
        if below or right:
            images_BCHW = self._padded(images_BCHW, below, right)
        total: Tensor | None = None
        seen_HW = torch.zeros(images_BCHW.shape[-2:], device=images_BCHW.device)
        for top in window_starts(images_BCHW.shape[-2], self._view.size[0], self._view.overlap):
            for left in window_starts(images_BCHW.shape[-1], self._view.size[1], self._view.overlap):
                rows, columns = slice(top, top + self._view.size[0]), slice(left, left + self._view.size[1])
                logits_BKHW = self._network(images_BCHW[..., rows, columns]).float()
                if total is None:
                    total = logits_BKHW.new_zeros(*logits_BKHW.shape[:2], *images_BCHW.shape[-2:])
                total[..., rows, columns] += logits_BKHW
                seen_HW[rows, columns] += 1
        assert total is not None, "an image has a window"
        return (total / seen_HW)[..., :height, :width]

    def _padded(self, images_BCHW: Tensor, below: int, right: int) -> Tensor:
        """Pad with the gray that letter-boxing fills with."""
        gray = torch.full((1, images_BCHW.shape[1], 1, 1), FILL, dtype=torch.uint8, device=images_BCHW.device)
        gray_1C11 = self._input.normalise(gray)
        return functional.pad(images_BCHW - gray_1C11, (0, right, 0, below)) + gray_1C11


def judged_part(image: np.ndarray, view: View) -> np.ndarray:
    """Return what is judged of an image (h', w', 3), or of its label map (h', w'): all of it, or the predecessor's centre."""
    if view.kind != "centre":
        return image
    height, width = image.shape[:2]
    scale = max(view.size[0] / height, view.size[1] / width)
    tall, wide = max(view.size[0], round(height * scale)), max(view.size[1], round(width * scale))
    covering = resized(image, tall, wide) if image.ndim == 3 else resized_map(image, tall, wide)
    top, left = ((side - wanted) // 2 for side, wanted in zip(covering.shape[:2], view.size, strict=True))
    return covering[top : top + view.size[0], left : left + view.size[1]]


def window_starts(side: int, window: int, overlap: float) -> list[int]:
    """Return where windows begin that cover a side: as few as overlap by the share asked for, evenly spread.

    Args:
        side: pixels, >= window.
        window: pixels.
        overlap: the least share of a window that the next one covers again, in [0, 1).
    """
    step = max(1, int(window * (1 - overlap)))
    count = -(-(side - window) // step) + 1
    return [round(i * (side - window) / max(1, count - 1)) for i in range(count)]


def _of_one_size(canvases: Sequence[np.ndarray]) -> list[list[int]]:
    """Return which images can be a batch together."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for place, canvas in enumerate(canvases):
        groups.setdefault(canvas.shape, []).append(place)
    return list(groups.values())


def _sized(logits_KHW: Tensor, size: tuple[int, ...]) -> Tensor:
    """Resize logits bilinearly to (h, w)."""
    if tuple(logits_KHW.shape[-2:]) == tuple(size):
        return logits_KHW
    return functional.interpolate(logits_KHW[None], size=tuple(size), mode="bilinear", align_corners=False)[0]


def _added(total: Tensor | None, more: Tensor) -> Tensor:
    return more if total is None else total + more
