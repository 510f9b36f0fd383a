"""SimCLR tickets: iterative magnitude pruning on the contrastive objective of Chen et al. 2020."""
