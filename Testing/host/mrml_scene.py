"""The real MRML scene and logics of ``slicer-core``, wired as Slicer's application wires them."""

from __future__ import annotations

from pathlib import Path

import slicer
import vtk

# Name in slicer.modules -> logic class. The order is that of registration.
_LOGICS = {
    "Transforms": "vtkSlicerTransformLogic",
    "Markups": "vtkSlicerMarkupsLogic",
    "Volumes": "vtkSlicerVolumesLogic",
    "Models": "vtkSlicerModelsLogic",
    "Segmentations": "vtkSlicerSegmentationsModuleLogic",
    "SubjectHierarchy": "vtkSlicerSubjectHierarchyModuleLogic",
    "Tables": "vtkSlicerTablesLogic",
    "Plots": "vtkSlicerPlotsLogic",
    "Sequences": "vtkSlicerSequencesLogic",
    "CropVolume": "vtkSlicerCropVolumeLogic",
}


class MrmlApplication:
    """Scene, application logic and module logics; ``logics`` maps a module's name to its logic."""

    def __init__(self, cache_folder: Path) -> None:
        self.scene = scene = slicer.vtkMRMLScene()
        slicer.mrmlScene = scene
        self.logic = slicer.vtkSlicerApplicationLogic()
        self.logic.SetMRMLScene(scene)
        self.logic.GetColorLogic().SetMRMLScene(scene)
        self.logic.GetColorLogic().AddDefaultColorNodes()
        self.logic.SetSliceLogics(vtk.vtkCollection())
        self.logic.SetViewLogics(vtk.vtkCollection())
        self.logics = {"Colors": self.logic.GetColorLogic()}
        self.logic.SetModuleLogic("Colors", self.logic.GetColorLogic())
        for name, class_name in _LOGICS.items():
            cls = getattr(slicer, class_name, None)
            if cls is None:
                continue
            module_logic = cls()
            module_logic.SetMRMLScene(scene)  # registers the module's node classes
            module_logic.SetMRMLApplicationLogic(self.logic)
            self.logic.SetModuleLogic(name, module_logic)
            self.logics[name] = module_logic
        scene.RegisterNodeClass(slicer.vtkMRMLColorLegendDisplayNode())  # as Slicer's Colors module does
        slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(scene, True)
        self._allow_bundles(cache_folder)

    def _allow_bundles(self, cache_folder: Path) -> None:
        """Reading and writing .mrb wants a cache folder, as for remote files."""
        cache_folder.mkdir(parents=True, exist_ok=True)
        self._remote = slicer.vtkMRMLRemoteIOLogic()
        self._remote.SetMRMLScene(self.scene)
        self._remote.SetMRMLApplicationLogic(self.logic)
        self._remote.GetCacheManager().SetRemoteCacheDirectory(str(cache_folder))
        self._data = slicer.vtkDataIOManagerLogic()
        self._data.SetMRMLScene(self.scene)
        self._data.SetMRMLApplicationLogic(self.logic)
        self._data.SetAndObserveDataIOManager(self._remote.GetDataIOManager())
        self._remote.AddDataIOToScene()
