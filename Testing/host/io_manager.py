"""``slicer.app.coreIOManager()``: reading and writing nodes and scenes through MRML's own storage nodes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import slicer

# Ending -> (file type, classes to try in turn). Longer endings come first.
_READERS: list[tuple[str, str, tuple[str, ...]]] = [
    (".seg.nrrd", "SegmentationFile", ("vtkMRMLSegmentationNode",)),
    (".seg.nhdr", "SegmentationFile", ("vtkMRMLSegmentationNode",)),
    (".mrk.json", "MarkupsFile", ()),
    (".fcsv", "MarkupsFile", ("vtkMRMLMarkupsFiducialNode",)),
    (".nii.gz", "VolumeFile", ()),
    (".nrrd", "VolumeFile", ()),
    (".nhdr", "VolumeFile", ()),
    (".nii", "VolumeFile", ()),
    (".mha", "VolumeFile", ()),
    (".mhd", "VolumeFile", ()),
    (".h5", "TransformFile", ()),
    (".tfm", "TransformFile", ()),
    (".mat", "TransformFile", ()),
    (".txt", "TextFile", ("vtkMRMLTextNode",)),
    (".csv", "TableFile", ("vtkMRMLTableNode",)),
    (".tsv", "TableFile", ("vtkMRMLTableNode",)),
    (".vtk", "ModelFile", ("vtkMRMLModelNode",)),
    (".vtp", "ModelFile", ("vtkMRMLModelNode",)),
    (".stl", "ModelFile", ("vtkMRMLModelNode",)),
    (".ply", "ModelFile", ("vtkMRMLModelNode",)),
    (".obj", "ModelFile", ("vtkMRMLModelNode",)),
    (".mrml", "SceneFile", ()),
    (".mrb", "SceneFile", ()),
]


class CoreIOManager:
    """The part of qSlicerCoreIOManager that ``slicer.util.load*``, ``save*`` and ``exportNode`` call."""

    def fileType(self, path: str) -> str:
        for ending, kind, _classes in _READERS:
            if str(path).lower().endswith(ending):
                return kind
        return "NoFile"

    def fileWriterFileType(self, node: Any) -> str:
        return "SceneFile" if node.IsA("vtkMRMLScene") else "NodeFile"

    def extractKnownExtension(self, path: str, node: Any) -> str:
        known = [_ending(f) for f in self.fileWriterExtensions(node)]
        matching = [e for e in known if str(path).lower().endswith(e.lower())]
        return max(matching, key=len, default=Path(path).suffix)

    def fileWriterExtensions(self, node: Any) -> tuple[str, ...]:
        formats = _storage_node(node).GetSupportedWriteFileTypes()
        return tuple(formats.GetValue(i) for i in range(formats.GetNumberOfValues()))

    def loadNodes(self, kind: str, properties: dict[str, Any], loaded: Any, messages: Any = None) -> bool:
        path = str(properties["fileName"])
        if kind == "SceneFile":
            return self.loadScene(path, bool(properties.get("clear", False)))
        if not Path(path).is_file():
            return False
        name = properties.get("name") or _stem(path)
        if kind == "VolumeFile":
            node = _load_volume(path, name, properties)
        elif kind == "TransformFile":
            node = slicer.app.applicationLogic().GetModuleLogic("Transforms").AddTransform(path, slicer.mrmlScene)
        elif kind == "MarkupsFile":
            logic = slicer.app.applicationLogic().GetModuleLogic("Markups")
            node = slicer.mrmlScene.GetNodeByID((logic.LoadMarkups(path, name) or "").split(",")[0])
        else:
            classes = next((c for e, k, c in _READERS if k == kind and path.lower().endswith(e)), ())
            node = _load_with_storage(path, name, classes)
        if node is None:
            return False
        if loaded is not None:
            loaded.AddItem(node)
        return True

    def loadScene(self, path: str, clear: bool = True) -> bool:
        """Read a .mrml or .mrb; ``clear`` closes the present scene first, else the file is added to it."""
        scene = slicer.mrmlScene
        if path.lower().endswith(".mrb"):
            return bool(scene.ReadFromMRB(str(Path(path).absolute()), clear))
        scene.SetURL(str(Path(path).absolute()))
        return bool(scene.Connect() if clear else scene.Import())

    def saveNodes(self, kind: str, properties: dict[str, Any], messages: Any = None) -> bool:
        path = Path(str(properties["fileName"])).absolute()
        if kind == "SceneFile":
            return self.saveScene(path)
        return _write(slicer.mrmlScene.GetNodeByID(properties["nodeID"]), path, properties, keep_storage=True)

    def saveScene(self, path: Path) -> bool:
        scene = slicer.mrmlScene
        if path.suffix == ".mrb":
            return bool(scene.WriteToMRB(str(path)))
        if path.suffix == ".mrml":
            scene.SetURL(str(path))
            scene.SetRootDirectory(str(path.parent))
            return bool(scene.Commit(str(path)))
        path.mkdir(parents=True, exist_ok=True)
        return bool(scene.SaveSceneToSlicerDataBundleDirectory(str(path)))

    def exportNodes(
        self, identifiers: list[str], paths: list[str], properties: dict[str, Any], harden: bool, messages: Any = None
    ) -> bool:
        done = True
        for identifier, path in zip(identifiers, paths, strict=True):
            original = slicer.mrmlScene.GetNodeByID(identifier)
            node = slicer.mrmlScene.AddNewNodeByClass(original.GetClassName())
            node.CopyContent(original)
            node.SetName(original.GetName())
            if harden and original.GetParentTransformNode() is not None:
                node.SetAndObserveTransformNodeID(original.GetTransformNodeID())
                node.HardenTransform()
            done &= _write(node, Path(path).absolute(), properties, keep_storage=False)
            slicer.mrmlScene.RemoveNode(node)
        return done

    def addDefaultStorageNodes(self) -> None:
        scene = slicer.mrmlScene
        for index in range(scene.GetNumberOfNodesByClass("vtkMRMLStorableNode")):
            node = scene.GetNthNodeByClass(index, "vtkMRMLStorableNode")
            if node.GetStorageNode() is None:
                node.AddDefaultStorageNode()


def _ending(file_format: str) -> str:
    """``.nrrd`` of ``NRRD (.nrrd)``."""
    return slicer.vtkDataFileFormatHelper.GetFileExtensionFromFormatString(file_format)


def _stem(path: str) -> str:
    name = Path(path).name
    for ending, _kind, _classes in _READERS:
        if name.lower().endswith(ending):
            return name[: -len(ending)]
    return Path(path).stem


def _load_volume(path: str, name: str, properties: dict[str, Any]) -> Any:
    options = 0
    for bit, key in ((1, "labelmap"), (2, "center"), (4, "singleFile"), (16, "discardOrientation")):
        options |= bit if properties.get(key) else 0
    options |= 8 if properties.get("autoWindowLevel", True) else 0
    node = slicer.app.applicationLogic().GetModuleLogic("Volumes").AddArchetypeVolume(path, name, options)
    if node is not None and properties.get("show", True):
        slicer.util.setSliceViewerLayers(
            **{"label" if node.IsA("vtkMRMLLabelMapVolumeNode") else "background": node, "fit": True}
        )
    return node


def _load_with_storage(path: str, name: str, classes: tuple[str, ...]) -> Any:
    for class_name in classes:
        node = slicer.mrmlScene.AddNewNodeByClass(class_name, slicer.mrmlScene.GenerateUniqueName(name))
        storage = _storage_node(node)
        storage.SetFileName(path)
        if storage.ReadData(node):
            slicer.mrmlScene.AddNode(storage)
            node.SetAndObserveStorageNodeID(storage.GetID())
            if hasattr(node, "CreateDefaultDisplayNodes"):
                node.CreateDefaultDisplayNodes()
            return node
        slicer.mrmlScene.RemoveNode(node)
    return None


def _storage_node(node: Any) -> Any:
    """The node's storage node, or a new one outside the scene."""
    storage = node.GetStorageNode()
    if storage is None:
        storage = node.CreateDefaultStorageNode()
        storage.UnRegister(None)
    return storage


def _write(node: Any, path: Path, properties: dict[str, Any], keep_storage: bool) -> bool:
    if keep_storage:
        node.AddDefaultStorageNode()
        storage = node.GetStorageNode()
    else:
        storage = node.CreateDefaultStorageNode()
        storage.UnRegister(None)
        storage.SetScene(slicer.mrmlScene)
    storage.SetFileName(str(path))
    if "useCompression" in properties:
        storage.SetUseCompression(int(properties["useCompression"]))
    return bool(storage.WriteData(node))
