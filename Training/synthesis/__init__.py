"""Synthetic registration pairs with a known map: drawn as plain data (``draw``), then made (``generate``)."""

from .batch import SyntheticBatch, generate
from .plan import PRESETS, SynthesisPlan, plan_from
from .recipe import draw

__all__ = ["PRESETS", "SynthesisPlan", "SyntheticBatch", "draw", "generate", "plan_from"]
