"""How often a result is worse than the affine alignment: all kinds of images, changed in many ways, ours and peers."""
