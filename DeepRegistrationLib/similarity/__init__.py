"""How alike two images are: measures with gradients by autograd, and what they share."""
