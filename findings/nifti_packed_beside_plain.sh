#!/usr/bin/env bash
# Reading a.nii.gz with SimpleITK where a.nii lies beside it; and reading a NIfTI file that was cut short.
#
# One would guess: the file that was named is read; and a file with fewer voxels than its header promises is an error,
# as it is for NRRD and MetaImage in the same library, or at least the missing voxels are set to a known value.
#
# What happens: the NIfTI library inside ITK takes the name as that of a *data set*, looks for its parts and prefers the
# plain one: the geometry of a.nii.gz is combined with nothing of its voxels, those of a.nii are returned, without a
# warning. That the two differ is common: an image that was edited, and the packed original beside it. A cut .nii or
# .nii.gz is returned whole, without an exception; an image registered so has a black lower half.
# nibabel reads the named file, and raises for the cut one.
#
# Sources: nifti_findhdrname / nifti_findimgname in nifti2_io.c; itkNiftiImageIO.cxx. Versions: SimpleITK 2.5.7
# (ITK 5.4), nibabel 5.4.2.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "SimpleITK==2.5.7" "nibabel==5.4.2" "numpy==2.2.6"
cat > "$folder/show.py" <<'PYTHON'
import sys
from pathlib import Path

import nibabel
import numpy as np
import SimpleITK as sitk

root = Path(sys.argv[1])
print("SimpleITK", sitk.Version_VersionString(), "ITK", sitk.Version_ITKVersionString(), "nibabel", nibabel.__version__)


def by_itk(path):
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


original = np.random.default_rng(0).integers(1, 200, (20, 30, 40)).astype(np.uint8)
sitk.WriteImage(sitk.GetImageFromArray(original), str(root / "a.nii.gz"))
alone = by_itk(root / "a.nii.gz")
sitk.WriteImage(sitk.GetImageFromArray(np.full_like(original, 255)), str(root / "a.nii"))
beside = by_itk(root / "a.nii.gz")
theirs = np.asarray(nibabel.load(root / "a.nii.gz").dataobj).T
print("a.nii.gz alone is itself:", (alone == original).all(), "| beside a.nii it is a.nii:", (beside == 255).all(),
      "| nibabel reads what was named:", (theirs == original).all())
ok = (alone == original).all() and (beside == 255).all() and (theirs == original).all()

for ending in (".nii", ".nii.gz", ".nrrd", ".mha"):
    path = root / f"cut{ending}"
    sitk.WriteImage(sitk.GetImageFromArray(original), str(path))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    try:
        wrong = float((by_itk(path) != original).mean())
        print(f"half of a {ending}: read without an error, {100 * wrong:.0f} % of the voxels are wrong")
        ok &= ".nii" in ending and wrong > 0.4
    except RuntimeError:
        print(f"half of a {ending}: an error")
        ok &= ".nii" not in ending
    if ".nii" in ending:
        try:
            np.asarray(nibabel.load(path).dataobj)
            ok = False
        except (OSError, EOFError, ValueError) as error:
            print("  nibabel:", type(error).__name__)
print("as described:", bool(ok))
sys.exit(0 if ok else 1)
PYTHON
"$folder/venv/bin/python" "$folder/show.py" "$folder" 2>&1
