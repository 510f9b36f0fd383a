"""Grids of runs: what is to run, running it, and a report that says with statistics what came out. Needs no torch."""
