"""The refinement engine: the field that best aligns one pair, without a network."""
