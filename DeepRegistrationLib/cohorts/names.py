"""Names that the command line says, too; free of all imports."""

EXTRAS = (
    "fixed_mask",
    "moving_mask",
    "fixed_points",
    "moving_points",
    "fixed_labels",
    "moving_labels",
    "initial_transform",
)
"""Extra files that a pair of a list may have."""

OUTPUT_FILES = {
    "transform": "transform.h5",
    "volume": "warped.nii.gz",
    "inverse": "inverse.h5",
    "jacobian": "jacobian.nii.gz",
    "doubt": "doubt.nii.gz",
    "displacement": "disp.nii.gz",
}
"""What can be kept of a pair, and its file."""

TABLE = "reports.csv"
