"""How the labels of several subjects can count; free of all imports, so that the command line may name them."""

WEIGHTINGS = ("local", "majority")
