#!/usr/bin/env bash
# A DICOM series taken with a tilted gantry, read by SimpleITK's series reader (ITK 5.4, GDCM).
#
# One would guess: the tilt is kept in the direction matrix (ITK images may be sheared: a sheared NRRD is read so), or
# there is a warning, as there is for uneven slices; at least the slice spacing is the distance between the slices'
# planes, so that what is lost is only the slide within the slices.
#
# What happens: the direction matrix has right angles, nothing is said of a tilt (the metadata get the mark of uneven
# slices, ITK_non_uniform_sampling_deviation, though these are even), and the spacing is the *slanted* distance from
# corner to corner. The last slice is then wrong twice over: it is slid back by its whole offset within the plane, and it lies too
# far along the normal, by a factor of 1 / cos(tilt). At 20 degrees (usual for a head CT) and 150 mm that is 55 mm and
# 9.6 mm. Whoever sees the slide and undoes the shear alone, with the spacing as it was read, keeps the second error.
#
# Sources: itkImageSeriesReader.hxx (the spacing is the norm of the difference of the first and last origin over n - 1);
# DICOM PS3.3 C.7.6.2 (Image Position and Orientation (Patient)). Versions: SimpleITK 2.5.7 (ITK 5.4).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "SimpleITK==2.5.7" "numpy==2.2.6"
cat > "$folder/show.py" <<'PYTHON'
import sys
from math import cos, radians, sin
from pathlib import Path

import numpy as np
import SimpleITK as sitk

UID = "1.2.826.0.1.3680043.2.1125."
SLICES, STEP, TILT = 16, 10.0, radians(20)  # 10 mm along the normal, 20 degrees


def write(folder, corners, series):
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    for k, corner in enumerate(corners):
        image = sitk.Image(16, 16, sitk.sitkInt16)
        for key, value in {
            "0008|0060": "CT",
            "0008|0018": f"{UID}{series}.{k + 1}",
            "0020|000d": UID + "9",
            "0020|000e": UID + series,
            "0020|0013": str(k + 1),
            "0020|0032": "\\".join(f"{c:.6f}" for c in corner),
            "0020|0037": "1\\0\\0\\0\\1\\0",
        }.items():
            image.SetMetaData(key, value)
        writer.SetFileName(str(folder / f"{k:02}.dcm"))
        writer.Execute(image)


def read(folder):
    names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder))
    return sitk.ReadImage(names)


root = Path(sys.argv[1])
tilted = [(0.0, k * STEP * np.tan(TILT), k * STEP) for k in range(SLICES)]
uneven = [(0.0, 0.0, k * STEP + 10 * (k > 8)) for k in range(SLICES)]
images = {}
for series, (name, corners) in enumerate({"tilted": tilted, "uneven": uneven}.items(), 1):
    (root / name).mkdir()
    write(root / name, corners, str(series))
    images[name] = read(root / name)
    image = images[name]
    last = image.TransformIndexToPhysicalPoint((0, 0, SLICES - 1))
    print(name, "spacing", [round(s, 4) for s in image.GetSpacing()], "marks", image.GetMetaDataKeys())
    print("  last slice, as read  ", [round(c, 2) for c in last])
    print("  last slice, as stored", [round(c, 2) for c in corners[-1]])

print("SimpleITK", sitk.Version_VersionString(), "ITK", sitk.Version_ITKVersionString())
image = images["tilted"]
last = np.array(image.TransformIndexToPhysicalPoint((0, 0, SLICES - 1)))
slide, along = np.abs(last - tilted[-1])[1:]
ok = (
    np.allclose(np.reshape(image.GetDirection(), (3, 3)), np.eye(3))
    and tuple(image.GetMetaDataKeys()) == ("ITK_non_uniform_sampling_deviation",)
    and abs(image.GetSpacing()[2] - STEP / cos(TILT)) < 1e-3
    and abs(slide - 150 * sin(TILT) / cos(TILT)) < 0.01
    and abs(along - 150 * (1 / cos(TILT) - 1)) < 0.01
    and "ITK_non_uniform_sampling_deviation" in images["uneven"].GetMetaDataKeys()
)
print(f"The last slice is off by {slide:.1f} mm within its plane and {along:.1f} mm across it:", ok)
sys.exit(0 if ok else 1)
PYTHON
"$folder/venv/bin/python" "$folder/show.py" "$folder"
