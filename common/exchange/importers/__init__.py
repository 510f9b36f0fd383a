"""Importers: one file for each format of other systems' sparse checkpoints."""
