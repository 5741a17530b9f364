"""A generated pair of heads with a known true transform."""
