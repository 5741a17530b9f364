"""The patient's axes: files and this library have LPS (left, posterior, superior), Slicer and NIfTI have RAS.

Without PyTorch, so that Slicer may import it.
"""

import numpy as np

RAS_TO_LPS_SIGNS = np.array([-1.0, -1.0, 1.0])
"""Of a point or a vector; there and back are the same."""
RAS_TO_LPS_MATRIX = np.diag([-1.0, -1.0, 1.0, 1.0])
"""Before a matrix from voxels, homogeneous; around one from point to point."""
