"""A training run: its loop, checkpoints, validation, logs, and the bundle that comes out."""
