"""Many pairs: lists of them, workers that stay warm, resuming by content, one table and one page for all."""
