"""How fast: this library against an older commit of itself and against peers, in alternating runs."""
