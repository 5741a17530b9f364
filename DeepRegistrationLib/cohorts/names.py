"""Names that the command line says, too; nothing else of the library is imported here."""

from collections.abc import Sequence

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
    "halfway_fixed": "halfway_fixed.nii.gz",
    "halfway_moving": "halfway_moving.nii.gz",
    "halfway_to_fixed": "halfway_to_fixed.h5",
    "halfway_to_moving": "halfway_to_moving.h5",
}
"""What can be kept of a pair, and its file."""

_HALFWAY = "halfway"
HALFWAY_OUTPUTS = tuple(name for name in OUTPUT_FILES if name.startswith(_HALFWAY))
"""What one word asks for."""


def named_outputs() -> list[str]:
    """The names that are typed: one for all that lies halfway."""
    return [*(name for name in OUTPUT_FILES if name not in HALFWAY_OUTPUTS), _HALFWAY]


def outputs_of(names: Sequence[str]) -> list[str]:
    """The keys of ``OUTPUT_FILES`` behind typed names; those that are none stay as they are."""
    return [key for name in names for key in (HALFWAY_OUTPUTS if name == _HALFWAY else [name])]


TABLE = "reports.csv"
