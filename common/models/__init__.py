"""Backbones under canonical names, heads, networks, and weights to start from."""
