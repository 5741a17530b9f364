#!/usr/bin/env bash
# A composite transform (matrix and displacement field, as every deformable registration makes it), written by SimpleITK
# as .xfm and .mat, and a text file with two transforms one after the other.
#
# One would guess: what can be written can be read, or writing fails.
# What happens (SimpleITK 2.5.7): both are written without an error. From .xfm the matrix alone comes back, and the field
# is dropped with a line on the console; reading the .mat fails. Of a .tfm that lists two transforms without a
# CompositeTransform before them (ITK's TransformFileWriter makes such) the first alone is applied. And ITK writes .xfm in LPS, as its numbers are, though MINC's format is RAS.
# Source: ITK itkMINCTransformIO.cxx (RAStoLPS is off), itkMatlabTransformIO.cxx; SimpleITK sitkTransform.cxx.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q SimpleITK==2.5.7 numpy==2.3.5
cd "$folder"
"$folder/venv/bin/python" - <<'PY'
from pathlib import Path

import numpy as np
import SimpleITK as sitk

print("SimpleITK", sitk.Version().VersionString())
vectors = np.zeros((8, 8, 8, 3))
vectors[..., 1] = 2.0
field = sitk.DisplacementFieldTransform(sitk.GetImageFromArray(vectors, isVector=True))
matrix = sitk.AffineTransform([1, 0, 0, 0, 1, 0, 0, 0, 1], (10, 0, 0))
composite = sitk.CompositeTransform([matrix, field])
point = (3.0, 3.0, 3.0)
print("the composite moves", point, "to", composite.TransformPoint(point))

sitk.WriteTransform(composite, "t.xfm")
back = sitk.ReadTransform("t.xfm")
print(".xfm comes back as", back.GetName(), "and moves it to", back.TransformPoint(point))
ok = not np.allclose(back.TransformPoint(point), composite.TransformPoint(point))

sitk.WriteTransform(matrix, "m.xfm")
row = next(line for line in Path("m.xfm").read_text().splitlines() if line.startswith(" 1 0 0"))
print(".xfm of the matrix says, in a format whose axes are RAS:", row.strip(), "(+10 along LPS x)")
ok &= row.split()[3].startswith("10")

sitk.WriteTransform(composite, "t.mat")
try:
    print(".mat comes back as", sitk.ReadTransform("t.mat").GetName())
    ok = False
except RuntimeError as error:
    print(".mat, which was written without an error:", str(error).splitlines()[-1].strip())

parts = ["#Insight Transform File V1.0"]
for number, part in enumerate((matrix, sitk.AffineTransform([1, 0, 0, 0, 1, 0, 0, 0, 1], (0, 0, 7)))):
    parts += [
        f"#Transform {number}",
        "Transform: AffineTransform_double_3_3",
        "Parameters: " + " ".join(map(str, part.GetParameters())),
        "FixedParameters: 0 0 0",
    ]
Path("two.tfm").write_text("\n".join(parts) + "\n")
back = sitk.ReadTransform("two.tfm")
print("of two transforms in a .tfm:", back.GetName(), "which moves it to", back.TransformPoint(point))
ok &= np.allclose(back.TransformPoint(point), (13, 3, 3))
raise SystemExit(0 if ok else "the behavior has changed")
PY
