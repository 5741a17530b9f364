"""Ways to look at a result, to move other nodes with it, and its page."""
