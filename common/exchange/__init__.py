"""Exchange with the rest of the field: other systems' sparse checkpoints in, tickets out."""
