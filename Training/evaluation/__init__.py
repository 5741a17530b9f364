"""How good trained networks are, by the papers' figures."""
