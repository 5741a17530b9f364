#!/usr/bin/env bash
# A two-dimensional displacement field in NIfTI, intent 1006 (NIFTI_INTENT_DISPVECT), read with SimpleITK.
#
# One would guess: the vectors of the file come back, x and y negated, as NIfTI is RAS and ITK is LPS. In three
# dimensions that is so.
# What happens (SimpleITK 2.5.7, ITK 5.4): ITK's reader negates the first two of every THREE numbers in the buffer,
# however many components a vector has. With two components the signs of the field come out in a pattern of period
# three: of some voxels both are negated, of others one or the other. No warning. The same file with intent
# 1007 (plain vectors, LPS) comes back untouched, so that is how a 2-D field should be written.
# Source: ITK, Modules/IO/NIFTI/src/itkNiftiImageIO.cxx (the flip for NIFTI_INTENT_DISPVECT in Read).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q SimpleITK==2.5.7 nibabel==5.4.2 numpy==2.3.5
cd "$folder"
"$folder/venv/bin/python" - <<'PY'
import nibabel
import numpy as np
import SimpleITK as sitk

print("SimpleITK", sitk.Version().VersionString())
ok = True
for ndim in (2, 3):
    shape = (4, 3, 1, 1, 2) if ndim == 2 else (4, 3, 2, 1, 3)
    vectors = np.arange(1, np.prod(shape) + 1, dtype=np.float32).reshape(shape)
    expected = vectors.reshape(*shape[:ndim], ndim) * ([-1, -1, 1][:ndim])
    for intent in (1006, 1007):
        image = nibabel.Nifti1Image(vectors, np.diag([-1, -1, 1, 1]))  # identity axes in LPS
        image.header["intent_code"] = intent
        nibabel.save(image, f"{ndim}_{intent}.nii")
        read = sitk.GetArrayFromImage(sitk.ReadImage(f"{ndim}_{intent}.nii"))
        read = read.transpose(*reversed(range(ndim)), ndim)
        wanted = expected if intent == 1006 else vectors.reshape(expected.shape)
        same = np.array_equal(read, wanted)
        signs = "".join("-" if v < 0 else "+" for v in read.transpose(*reversed(range(ndim)), ndim).ravel()[:18])
        print(f"{ndim}-D, intent {intent}: as one would guess: {same}; signs in the order of the file: {signs} ...")
        ok &= same == (not (ndim == 2 and intent == 1006))
        if ndim == 2 and intent == 1006:
            ok &= signs == "--+" * 6
raise SystemExit(0 if ok else "the behavior has changed")
PY
