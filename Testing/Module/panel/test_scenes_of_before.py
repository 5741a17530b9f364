"""A scene saved by an earlier version opens with all that was set, and its result still tells how it came about.

What lies in the nodes is as version 0.1.0 of November 2026 wrote it, before the settings had one place.
"""

from __future__ import annotations

import json

import pytest

from Testing.host import interact

from .. import cases
from ..cases import PLAIN, addVolume, blobs

import slicer  # isort: skip
from DeepRegistrationSlicer.registration import report_words, request, results  # isort: skip

pytestmark = pytest.mark.usefixtures("host")

SETTINGS = {
    "device": "CPU",
    "fineTuneNetwork": "False",
    "fixedLabels_2": "True",
    "fixedMask_2": "True",
    "imageKind": "CT_MR",
    "method": "none",
    "movingLabels_2": "True",
    "movingMask_2": "True",
    "opacity": "0.25",
    "quality": "ACCURATE",
    "seed": "7",
    "smoothness": "2.5",
    "useAffine": "False",
    "useGuidance": "False",
    "useRefinement": "True",
    "wantDoubt": "False",
    "wantInverse": "True",
    "wantJacobian": "False",
    "wantMagnitude": "False",
    "wantVolume": "False",
}
NODES = (
    *("fixedVolume", "movingVolume", "initialTransform", "fixedLandmarks", "movingLandmarks"),
    *("outputTransform", "outputVolume", "outputInverse", "outputJacobian", "outputMagnitude", "outputDoubt"),
)
SHAPE = {
    "bend_mm": 2.0736,
    "bend_percent": 3.5752,
    "largest_bend_mm": 2.4866,
    "largest_bend_percent": 4.2872,
    "squeezed_percent": 0.0,
    "turn_degrees": 0.1977,
    "scale_low": 0.9686,
    "scale_high": 0.9749,
}
REPORT = {
    "method": "none",
    "refine": "fast",
    "affine": "none",
    "device": "cpu",
    "version": "0.1.0",
    "model": "",
    "model_hash": "",
    "fine_tune": False,
    "similarity": "normalized mutual information",
    "similarity_before": 0.1493,
    "similarity_after": 0.3532,
    "folding_percent": 0.0,
    "log_jacobian_sd": 0.1745,
    "max_displacement_mm": 5.578,
    "mean_displacement_mm": 1.7786,
    "max_deformation_mm": 5.578,
    "inverse_error_mm": 0.0044,
    "max_inverse_error_mm": 0.2,
    "doubt_percent": 0.0217,
    "shape": SHAPE,
    "mirror": {"gain": 0.8653, "direction": "head to foot"},
    "working_spacing_mm": [2.0, 2.0, 2.0],
    "seed": 0,
    "seconds": {"read": 0.03, "affine": 3.84, "prepare": 0.01, "network": 0.0, "refine": 1.25, "output": 0.32},
    "warnings": [],
    "total_seconds": 5.446,
    "verdict": "good",
    "reasons": ["The field is smooth and invertible, and the images are more alike than before."],
}
RUN = {
    "method": "none",
    "fineTune": False,
    "refine": "fast",
    "affine": "none",
    "similarity": "auto",
    "smoothness": 1.0,
    "seed": 0,
}


@pytest.fixture
def scene(host, tmp_path):
    """The file of a scene in which T2 was registered to T1."""
    fixed, moving = addVolume(blobs(), PLAIN, "T1"), addVolume(blobs(shift=(1, 2, 1)), PLAIN, "T2")
    transform = cases.bendingTransform("T2 to T1")
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScriptedModuleNode", "DeepRegistration")
    node.SetSingletonTag("DeepRegistration")
    node.SetAttribute("ModuleName", "DeepRegistration")
    for name, text in {**SETTINGS, **dict.fromkeys(NODES, "")}.items():
        node.SetParameter(name, text)
    for role, other in {"fixedVolume": fixed, "movingVolume": moving, "outputTransform": transform}.items():
        node.SetNodeReferenceID(role, other.GetID())
    transform.SetNodeReferenceID("spatialRegistrationFixed", fixed.GetID())
    transform.SetNodeReferenceID("spatialRegistrationMoving", moving.GetID())
    transform.SetAttribute("DeepRegistration.Report", json.dumps(REPORT))
    transform.SetAttribute("DeepRegistration.Settings", json.dumps(RUN))
    assert slicer.util.saveScene(str(tmp_path / "before.mrb"))
    slicer.mrmlScene.Clear(False)
    return tmp_path / "before.mrb"


def test_an_earlier_scene_opens_with_all_that_was_set_and_its_result(scene, panel):
    slicer.util.loadScene(str(scene))
    interact.process_events(50)
    parameters = panel.panel.parameters
    found = {name: getattr(parameters, name) for name in SETTINGS if not name.endswith("_2")}
    written = {name: getattr(value, "name", str(value)) for name, value in found.items()}
    assert written == {name: text for name, text in SETTINGS.items() if name in found}
    assert parameters.fixedMask is parameters.movingLabels is None
    assert (parameters.fixedVolume.GetName(), parameters.movingVolume.GetName()) == ("T1", "T2")
    assert panel.ui.applyButton.enabled
    transform = parameters.outputTransform
    assert results.reportOf(transform) == REPORT
    assert REPORT["reasons"][0] in panel.ui.verdictLabel.text
    assert "0.35" in panel.ui.reportLabel.text
    table = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTableNode", "report")
    report_words.fillTable(table, results.reportOf(transform))
    assert table.GetNumberOfRows() > 5


def test_a_series_knows_what_an_earlier_version_has_registered_already(scene, panel):
    """The run's settings are kept as text, and compared so."""
    slicer.util.loadScene(str(scene))
    fixed, moving = slicer.util.getNode("T1"), slicer.util.getNode("T2")
    chosen = request.settingsFrom({name: value for name, value in RUN.items() if name != "seed"})
    assert request.Request(fixed, moving, chosen).key() == json.dumps(RUN)
