"""Images: the catalogue of data sets, their fixed splits, resident loaders and batched augmentation."""
