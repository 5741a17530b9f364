#!/bin/bash
# One would guess: a displacement field is the same map in the scene and after it was saved and loaded, and the same in
# Slicer as in ITK, which wrote the format; a field that is one-to-one stays so.
# What happens (slicer-core 5.13.31053.0, SimpleITK 2.5.7): a new vtkOrientedGridTransform is linear between its samples,
# as ITK's DisplacementFieldTransform is. After reading any file (.h5, .nrrd, .nii.gz, a scene) it is cubic, and no format
# keeps which it was. Next to a steep place the cubic curve overshoots: the field below ascends strictly between its
# samples, its own file read by SimpleITK still does, and in Slicer it folds and lies elsewhere by tenths of a voxel.
# Source: vtkMRMLTransformStorageNode and vtkITKTransformConverter of Slicer (SetInterpolationModeToCubic on reading).
set -e
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
# No more than is needed: vtk alone asks for a plotting library.
"$work/venv/bin/pip" install --quiet --no-deps slicer-core==5.13.31053.0 vtk==9.6.2 numpy==2.4.6 SimpleITK==2.5.7
cd "$work"
cat > show.py <<'PYTHON'
from importlib.metadata import version

import numpy as np
import SimpleITK as sitk
import slicer
import vtk
from vtk.util.numpy_support import numpy_to_vtk

print("slicer-core", version("slicer-core"), "SimpleITK", version("SimpleITK"))
slicer.mrmlScene = scene = slicer.vtkMRMLScene()
logic = slicer.vtkSlicerTransformLogic()
logic.SetMRMLScene(scene)

step = np.ones(14)
step[6], step[7], step[8] = 0.02, 3.9, 0.02  # where the next sample goes, voxels: always ahead
place = np.concatenate([[0.0], np.cumsum(step)[:-1]])
field = np.zeros((14, 14, 14, 3), np.float32)
field[..., 0] = place - np.arange(14)  # RAS, mm; samples along x are 1 mm apart

image = vtk.vtkImageData()
image.SetDimensions(14, 14, 14)
image.GetPointData().SetScalars(numpy_to_vtk(field.reshape(-1, 3), deep=True))
grid = slicer.vtkOrientedGridTransform()
grid.SetDisplacementGridData(image)
node = scene.AddNewNodeByClass("vtkMRMLTransformNode", "field")
node.SetAndObserveTransformFromParent(grid)

xs = np.linspace(0, 13, 2001)
places = {"as made": [grid.TransformPoint(x, 5, 5)[0] for x in xs]}
modes = {"as made": grid.GetInterpolationMode()}
for ending in ("h5", "nrrd"):
    storage = slicer.vtkMRMLTransformStorageNode()
    storage.SetFileName(f"field.{ending}")
    assert storage.WriteData(node)
    loaded = scene.AddNewNodeByClass("vtkMRMLTransformNode", ending)
    assert storage.ReadData(loaded)
    again = loaded.GetTransformFromParent()
    modes[f"Slicer, .{ending}"] = again.GetInterpolationMode()
    places[f"Slicer, .{ending}"] = [again.TransformPoint(x, 5, 5)[0] for x in xs]
itk = sitk.ReadTransform("field.h5")
places["SimpleITK, .h5"] = [-itk.TransformPoint((-x, -5, 5))[0] for x in xs]

names = {vtk.VTK_LINEAR_INTERPOLATION: "linear", vtk.VTK_CUBIC_INTERPOLATION: "cubic"}
for name, found in places.items():
    folded, apart = (np.diff(found) < 0).mean(), np.abs(np.subtract(found, places["as made"])).max()
    print(f"{name:15s} {names.get(modes.get(name), ''):7s} folded {100 * folded:4.1f} % of the line, {apart:.3f} mm away")
expected = {"as made": False, "Slicer, .h5": True, "Slicer, .nrrd": True, "SimpleITK, .h5": False}
assert {name: bool((np.diff(found) < 0).any()) for name, found in places.items()} == expected
PYTHON
"$work/venv/bin/python" show.py
