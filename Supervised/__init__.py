"""Supervised tickets: iterative magnitude pruning on cross-entropy with labels."""
