"""The views of SimCLR for each kind of images: what the retrieval accuracy of every paradigm is measured on. Imports no torch."""

from __future__ import annotations

from common.data.augment_config import AugmentConfig

# Chen et al. 2020, appendix B.9: strength 0.5, no blur.
CIFAR_VIEWS = AugmentConfig()

# As CIFAR's without the flip: a mirrored digit is another digit.
SVHN_VIEWS = AugmentConfig(flip=0.0)

# Chen et al. 2020, appendix A at strength 1, without blur, as Chen et al. 2021 measured theirs.
IMAGENET_VIEWS = AugmentConfig(brightness=0.8, contrast=0.8, saturation=0.8, hue=0.2)

# No flip and no colour: a mirrored digit is another digit, and the images are gray.
DIGITS_VIEWS = AugmentConfig(crop_scale=(0.4, 1.0), flip=0.0, saturation=0.0, hue=0.0, gray_probability=0.0)
