"""Tickets exchanged with other tools: importers of their files, exports, costs, compaction, sharing."""
