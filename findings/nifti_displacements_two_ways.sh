#!/usr/bin/env bash
# One NIfTI displacement field of intent 1006 (displacement vectors), applied by SimpleITK and by nitransforms.
#
# One would guess: nitransforms' reader for ITK's fields (fmt="itk") moves a point where ITK moves it.
# What happens (SimpleITK 2.5.7, nitransforms 25.1.0): ITK takes the vectors of intent 1006 as RAS and those of intent
# 1007 as LPS. nitransforms warns of 1006 ("Incorrect intent identified."), goes on, and takes its vectors as LPS too, so
# that a point goes the other way along x and y: off by twice the displacement. With 1007, which SimpleITK writes, both
# agree.
# Source: nitransforms, io/itk.py (ITKDisplacementsField.from_image); ITK, itkNiftiImageIO.cxx.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q SimpleITK==2.5.7 nitransforms==25.1.0 nibabel==5.4.2 numpy==2.3.5
cd "$folder"
"$folder/venv/bin/python" - <<'PY'
from importlib.metadata import version

import nibabel
import numpy as np
import SimpleITK as sitk
from nitransforms import nonlinear

print("SimpleITK", version("SimpleITK"), "nitransforms", version("nitransforms"))
vectors = np.zeros((9, 8, 7, 1, 3), np.float32)
vectors[...] = (3, -2, 1)  # the same everywhere, in the file's own numbers
point = np.array([4.0, 3.0, 3.0])  # LPS mm
off = {}
for intent in (1006, 1007):
    image = nibabel.Nifti1Image(vectors, np.diag([-1, -1, 1, 1]))
    image.header["intent_code"] = intent
    nibabel.save(image, f"{intent}.nii.gz")
    field = sitk.ReadImage(f"{intent}.nii.gz", sitk.sitkVectorFloat64)
    itk = np.array(sitk.DisplacementFieldTransform(field).TransformPoint(point.tolist()))
    other = nonlinear.load(f"{intent}.nii.gz", fmt="itk").map((point * [-1, -1, 1])[None])[0] * [-1, -1, 1]
    off[intent] = float(np.linalg.norm(itk - other))
    print(f"intent {intent}: SimpleITK {itk}, nitransforms {other} (LPS mm), apart by {off[intent]:.2f} mm")
raise SystemExit(0 if off[1007] < 1e-3 and abs(off[1006] - 2 * 13**0.5) < 1e-3 else "the behavior has changed")
PY
