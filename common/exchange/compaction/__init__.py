"""Structured shrinking of masked networks: what of them cannot change their output is cut out."""
