#!/usr/bin/env bash
# A NIfTI image of floats in which some voxels are NaN or infinite: what other programs write outside of a mask, or where
# a computation failed.
#
# One would guess: what is read is what is in the file. It is so from .nrrd and .mha, and by nibabel from the same NIfTI.
# What happens (SimpleITK 2.5.7, ITK 5.4): from .nii and .nii.gz each of them comes back as 0, without a warning, even
# where ITK wrote the file itself. A program cannot find them by looking at the voxels, and a mean over the image, which
# would be NaN, is a number. 0 is within the range of most images, and 0 mm in a displacement field.
# Source: niftilib's nifti_read_buffer (nifti1_io.c, "check input float values, replacing bad ones by 0"), which
# itkNiftiImageIO.cxx reads with.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q SimpleITK==2.5.7 numpy==2.3.5 nibabel==5.3.2
cd "$folder"
"$folder/venv/bin/python" - <<'PY'
import nibabel
import numpy as np
import SimpleITK as sitk

print("SimpleITK", sitk.Version().VersionString(), "with ITK", sitk.Version.ITKVersionString())
array = np.arange(64, dtype=np.float32).reshape(4, 4, 4) + 1
array[1, 2, 3], array[0, 0, 0], array[0, 0, 1] = np.nan, np.inf, -np.inf
odd = ~np.isfinite(array)
print("written:", array[odd])
ok = True
for ending in (".nrrd", ".mha", ".nii", ".nii.gz"):
    path = f"image{ending}"
    sitk.WriteImage(sitk.GetImageFromArray(array), path)
    found = sitk.GetArrayFromImage(sitk.ReadImage(path))
    print(f"{ending}: SimpleITK reads", found[odd])
    if ending.startswith(".nii"):
        there = np.asanyarray(nibabel.load(path).dataobj).T
        print(f"{ending}: nibabel reads", there[odd])
        ok &= np.array_equal(there, array, equal_nan=True) and not found[odd].any()
    else:
        ok &= np.array_equal(found, array, equal_nan=True)
    ok &= np.array_equal(found[~odd], array[~odd])

nibabel.save(nibabel.Nifti1Image(array.T, np.eye(4)), "other.nii")
found = sitk.GetArrayFromImage(sitk.ReadImage("other.nii"))
print("of nibabel's file SimpleITK reads", found[odd])
ok &= not found[odd].any()
raise SystemExit(0 if ok else "the behavior has changed")
PY
