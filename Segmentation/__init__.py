"""Segmentation: a decoder on a ticket's backbone, or tickets found by training one."""
