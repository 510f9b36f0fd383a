"""Training: the loop, the search on top of it, checkpoints, run directories and logs."""
