"""From a split's images to samples of a network's size: as they train, each by draws of its own, and as they are evaluated."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from common.data.annotated.config import JointAugmentConfig
from common.data.annotated.mixup import mixed
from common.data.annotated.mosaic import mosaic_of
from common.data.annotated.samples import Kinds, Sample, letterboxed_sample, read_sample
from common.data.annotated.sets import AnnotatedImages
from common.randomness import derive_seed, generator

_OTHERS = 3


@dataclass(frozen=True)
class SampleDraws:
    """What the samples of an epoch are drawn from.

    Attributes:
        augment: how they are varied.
        seed: the run's seed.
        stream: name of the stream of draws.
        indices: what tells these draws from others of the stream: round and epoch.
    """

    augment: JointAugmentConfig
    seed: int
    stream: str
    indices: tuple[int, ...]


@dataclass(frozen=True)
class Samples:
    """What makes samples of the images of one split.

    Attributes:
        images: the split.
        kinds: what is carried along beside boxes; the split has it.
        keypoint_swaps: pairs of keypoints that a mirrored image exchanges.
    """

    images: AnnotatedImages
    kinds: Kinds
    keypoint_swaps: tuple[tuple[int, int], ...] = ()

    def evaluated(self, index: int, size: tuple[int, int]) -> Sample:
        """Return an image letter-boxed and otherwise as it is, with all its objects."""
        return letterboxed_sample(read_sample(self.images, index, self.kinds, trains=False), size)

    def varied(self, index: int, size: tuple[int, int], draws: SampleDraws) -> Sample:
        """Return an image as it trains: it depends on (draws, index) and the size alone."""
        sample = self._one(index, size, draws, (index, 0))
        if draws.augment.mixup == 0:
            return sample
        random = generator(draws.seed, f"{draws.stream}/mixup", *draws.indices, index)
        if float(torch.rand((), generator=random)) >= draws.augment.mixup:
            return sample
        other = int(torch.randint(len(self.images), (), generator=random))
        seed = derive_seed(draws.seed, f"{draws.stream}/share", *draws.indices, index)
        return mixed(sample, self._one(other, size, draws, (index, 1)), seed)

    def _one(self, index: int, size: tuple[int, int], draws: SampleDraws, number: tuple[int, int]) -> Sample:
        """Return an image, or a mosaic with it, varied by the draws of a number."""
        sample = self._mosaic(index, size, draws, number) if draws.augment.mosaic else None
        if sample is None:
            sample = read_sample(self.images, index, self.kinds, trains=True)
        if not is_joint(draws.augment):
            return letterboxed_sample(sample, size)
        from common.data.annotated.joint_augment import joint_augment

        seed = derive_seed(draws.seed, draws.stream, *draws.indices, *number)
        return joint_augment(draws.augment, size)(sample, seed, self.keypoint_swaps)

    def _mosaic(self, index: int, size: tuple[int, int], draws: SampleDraws, number: tuple[int, int]) -> Sample | None:
        random = generator(draws.seed, f"{draws.stream}/mosaic", *draws.indices, *number)
        if float(torch.rand((), generator=random)) >= draws.augment.mosaic:
            return None
        others = torch.randint(len(self.images), (_OTHERS,), generator=random).tolist()
        samples = [read_sample(self.images, which, self.kinds, trains=True) for which in (index, *others)]
        return mosaic_of(samples, size, random)


def is_joint(augment: JointAugmentConfig) -> bool:
    """Say whether anything varies an image by itself; else it is letter-boxed, which takes no library."""
    probabilities = (augment.crop, augment.translate, augment.flip, augment.colour, augment.blur)
    return any(probabilities) or augment.window or augment.scale != (1.0, 1.0)
