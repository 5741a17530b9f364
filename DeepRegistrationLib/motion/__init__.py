"""4-D: the frames of one body that moves, such as the phases of a breath, against one fixed image."""
