"""The affine stage: from two images to one matrix."""
