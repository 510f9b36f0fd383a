"""MoCo tickets: iterative magnitude pruning on the momentum contrast of He et al. 2020 and Chen et al. 2020 (MoCo v2)."""
