#!/bin/sh
# One would guess that the same transform, written twice by the same program, gives the same file: then a cache, a
# content hash, Snakemake's or DVC's checksum says that nothing has changed.
# What happens (SimpleITK 2.5.3; ITK's HDF5 library writes it): every object of an .h5 transform carries the time at
# which it was written, in whole seconds. Two files written within one second are equal, a second later they are not,
# though every number in them is. Text transforms (.tfm) are equal. So compare transforms by their numbers, or hash .tfm.
# Source: HDF5's H5Pset_obj_track_times (on by default); ITK's itkHDF5TransformIO.cxx does not set it.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q "SimpleITK==2.5.3" "numpy==2.2.6"
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import sys, time
from pathlib import Path
import SimpleITK as sitk

print("SimpleITK", sitk.Version_VersionString())
transform = sitk.Euler3DTransform((1.0, 2.0, 3.0), 0.1, 0.2, 0.3, (4.0, 5.0, 6.0))
names = {}
for ending in ("h5", "tfm"):
    names[ending] = [f"{k}.{ending}" for k in range(2)]
for k in range(2):
    for ending in names:
        sitk.WriteTransform(transform, names[ending][k])
    time.sleep(1.5)
same = {e: Path(a).read_bytes() == Path(b).read_bytes() for e, (a, b) in names.items()}
a, b = (sitk.ReadTransform(name) for name in names["h5"])
equal = a.GetParameters() == b.GetParameters() and a.GetFixedParameters() == b.GetFixedParameters()
print(f"written 1.5 s apart: .h5 bytes the same: {same['h5']}, its numbers: {equal}; .tfm bytes the same: {same['tfm']}")
sys.exit(0 if (same["h5"], equal, same["tfm"]) == (False, True, True) else 1)
PYTHON
