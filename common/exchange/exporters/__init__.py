"""Exporters: tickets as files of other tools, one small file per kind."""
