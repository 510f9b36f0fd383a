"""Detection: a detector on a ticket's backbone, or tickets found by training one."""
