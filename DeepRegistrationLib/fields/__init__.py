"""Displacement fields (N, ndim, *spatial) in voxels, and what is done with them: ``fields.warp(image, u)``.

``operations`` the differentiable ones, all here by name · ``kernels`` steps of an iteration in preallocated memory ·
``inverse`` Newton's method · ``folding`` finding and removing folds · ``background`` what an image's border shows.
"""

from .inverse import invert
from .operations import (
    check_field,
    compose,
    convolve_separable,
    determinant,
    difference,
    exponentiate,
    gaussian_kernel,
    identity,
    inverse_error,
    jacobian_determinant,
    jacobian_determinant_in_slabs,
    jacobian_matrix,
    pad_tapered,
    resize,
    resize_image,
    sample,
    smooth,
    warp,
)

__all__ = [
    "check_field",
    "compose",
    "convolve_separable",
    "determinant",
    "difference",
    "exponentiate",
    "gaussian_kernel",
    "identity",
    "inverse_error",
    "invert",
    "jacobian_determinant",
    "jacobian_determinant_in_slabs",
    "jacobian_matrix",
    "pad_tapered",
    "resize",
    "resize_image",
    "sample",
    "smooth",
    "warp",
]
