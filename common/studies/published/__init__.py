"""Numbers that others published, and what our results are beside them."""
