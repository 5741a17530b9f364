"""Measure the trained models and write their pages; make the models in the box."""
