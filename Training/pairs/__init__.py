"""Pairs to learn from: real ones from a manifest, synthetic ones, targets made by the refinement engine."""
