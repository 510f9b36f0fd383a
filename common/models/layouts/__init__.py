"""Layouts of published checkpoints: how each is recognised, what its names are here, and which input its weights expect."""
