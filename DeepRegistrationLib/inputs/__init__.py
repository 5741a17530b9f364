"""From what the user gave to tensors on one grid, checked before any work is done."""
