"""What can be chosen in the panel is what the library can do: methods for these images, settings, former scenes."""

from __future__ import annotations

import json

import pytest

from Testing.host import interact

from ..cases import addVolume, blobs

import slicer  # isort: skip
import qt  # isort: skip
from DeepRegistrationLib import settings as library  # isort: skip
from DeepRegistrationSlicer.panel import parameters as parametersModule  # isort: skip

ENTRIES = [
    {"name": "auto", "takes": {"2": "flat", "3": "none"}, "takes_for": {"lncc": {"2": "none", "3": "none"}}},
    {"name": "none", "title": "Refinement alone", "dimensions": [2, 3], "trained": [2, 3], "network": False},
    {
        "name": "flat",
        "title": "SAR-Net",
        "dimensions": [2, 3],
        "trained": [2],
        "network": True,
        "purpose": "slices",
        "worth": {"2": "Measured as a start: no better than no network on chest X-rays."},
    },
    {"name": "new", "title": "VoxelMorph", "dimensions": [2, 3], "trained": [], "network": True},
]
FORMER = """<MRML version="Slicer4.4.0" userTags="">
 <ScriptedModule id="vtkMRMLScriptedModuleNodeDeepRegistration" name="DeepRegistration" hideFromEditors="true"
 selectable="true" selected="false" singletonTag="DeepRegistration" attributes="ModuleName:DeepRegistration"
 {parameters} ></ScriptedModule>
</MRML>
"""
SAVED = {
    "device": "CUDA", "fineTuneNetwork": "True", "imageKind": "CT_MR", "method": "universal", "opacity": "0.25",
    "quality": "ACCURATE", "seed": "7", "smoothness": "0.2", "useAffine": "False", "useGuidance": "False",
    "useRefinement": "True", "wantDoubt": "True", "wantInverse": "False", "wantVolume": "True",
}  # fmt: skip
"""As the version before the library's settings were taken wrote them."""


@pytest.fixture
def answered(faked):
    """The open panel, and the library's list of methods."""
    faked.panel.catalog._onAnswer(json.dumps(ENTRIES))
    return faked


def item(ui, title):
    """(can it be chosen?, its tool tip) of the entry that reads so."""
    index = ui.methodComboBox.findText(title)
    assert index >= 0, [ui.methodComboBox.itemText(i) for i in range(ui.methodComboBox.count)]
    return ui.methodComboBox.model().item(index).isEnabled(), ui.methodComboBox.itemData(index, qt.Qt.ToolTipRole)


def test_a_method_without_weights_for_these_images_cannot_be_chosen(answered, ui):
    assert item(ui, "Refinement alone")[0]
    enabled, why = item(ui, "SAR-Net (2-D only)")
    assert not enabled
    assert "weights for 2-D images only and these are 3-D" in why
    assert all(what in why for what in ("import", "train", "fine-tune"))
    enabled, why = item(ui, "VoxelMorph (no weights yet)")
    assert not enabled
    assert "no weights for VoxelMorph" in why


def test_it_can_be_for_other_images(answered, ui):
    for name, shift in (("left", 0), ("right", 2)):
        addVolume(blobs((1, 32, 32), (0, shift, 0)), name=name)
    interact.choose(ui.fixedSelector, "left")
    assert item(ui, "SAR-Net")[0]
    assert not item(ui, "VoxelMorph (no weights yet)")[0]
    interact.choose(ui.methodComboBox, "SAR-Net")
    interact.choose(ui.movingSelector, "right")
    assert ui.applyButton.enabled
    interact.choose(ui.fixedSelector, "T1")
    assert ui.methodComboBox.currentText == "SAR-Net (2-D only)"
    assert not ui.applyButton.enabled
    assert "these are 3-D" in ui.applyButton.toolTip
    interact.choose(ui.methodComboBox, "Refinement alone")
    assert ui.applyButton.enabled


def test_best_available_says_what_it_takes_and_counts_as_that(answered, ui):
    assert ui.methodLabel.text.endswith("For these images: Refinement alone.")
    assert not ui.fineTuneCheckBox.enabled
    addVolume(blobs((1, 32, 32)), name="flat")
    interact.choose(ui.fixedSelector, "flat")
    assert "For these images: SAR-Net." in ui.methodLabel.text
    assert ui.fineTuneCheckBox.enabled
    assert ui.refineCheckBox.enabled
    answered.panel.parameters.fixedVolume = None
    assert "these images" not in ui.methodLabel.text  # there are none


def test_what_a_network_is_worth_stands_beside_its_purpose_before_it_is_chosen(answered, ui):
    said = "no better than no network on chest X-rays"
    for name in ("left", "right"):
        addVolume(blobs((1, 32, 32)), name=name)
    interact.choose(ui.fixedSelector, "left")
    assert said in item(ui, "SAR-Net")[1]
    assert said in ui.methodLabel.text  # of what "Best available" takes
    interact.choose(ui.methodComboBox, "SAR-Net")
    assert ui.methodLabel.text.startswith("Slices. Measured as a start")
    interact.choose(ui.methodComboBox, "Refinement alone")
    assert said not in ui.methodLabel.text


def test_best_available_is_what_it_is_for_images_of_that_kind(answered, ui):
    addVolume(blobs((1, 32, 32)), name="flat")
    interact.choose(ui.fixedSelector, "flat")
    assert "For these images: SAR-Net." in ui.methodLabel.text
    one = next(kind for kind in parametersModule.ImageKind if kind.similarity == "lncc")
    answered.panel.parameters.imageKind = one
    assert ui.methodLabel.text.endswith("For these images: Refinement alone.")
    assert not ui.fineTuneCheckBox.enabled
    request, _into = parametersModule.requestFrom(answered.panel.parameters, answered.panel.catalog)
    assert request.settings.refine != "none"


def test_auto_is_passed_on_as_it_is(answered, ui):
    answered.panel.parameters.fineTuneNetwork = True
    request, _into = parametersModule.requestFrom(answered.panel.parameters, answered.panel.catalog)
    assert request.settings.method == "auto"
    assert not request.settings.fine_tune  # what it takes here has no network


def test_bounds_and_defaults_are_those_of_the_library(answered, ui):
    parameters, defaults = answered.panel.parameters, library.Settings()
    assert ui.smoothnessSlider.minimum == library.SMOOTHNESS.low
    assert ui.smoothnessSlider.maximum == library.SMOOTHNESS.high
    assert ui.smoothInTimeSlider.minimum == library.SMOOTH_IN_TIME.low == parameters.smoothInTime
    assert ui.smoothInTimeSlider.maximum == library.SMOOTH_IN_TIME.high
    request, _into = parametersModule.requestFrom(parameters, answered.panel.catalog)
    assert request.settings == defaults
    assert request.settings.arguments() == []


def test_the_choices_are_the_librarys():
    assert [device.value for device in parametersModule.Device] == list(library.DEVICES)
    assert {quality.value for quality in parametersModule.Quality} == set(library.REFINEMENTS) - {"none"}
    assert [kind.value for kind in parametersModule.ResultKind] == list(library.RESULTS)
    assert {kind.similarity for kind in parametersModule.ImageKind} <= set(library.SIMILARITIES)
    assert parametersModule.ImageKind.AUTOMATIC.similarity == library.Settings().similarity


def test_every_choice_can_be_asked_for(answered, ui):
    parameters = answered.panel.parameters
    for device in parametersModule.Device:
        for kind in parametersModule.ImageKind:
            parameters.device, parameters.imageKind = device, kind
            parametersModule.requestFrom(parameters, answered.panel.catalog)


def test_a_scene_of_the_former_version_loads(faked, ui, tmp_path):
    lines = [f'parameter{i}= "{name} {value}"' for i, (name, value) in enumerate(SAVED.items())]
    path = tmp_path / "former.mrml"
    path.write_text(FORMER.format(parameters="\n ".join(lines)), encoding="utf-8")
    slicer.mrmlScene.Clear(0)
    slicer.util.loadScene(str(path))
    interact.process_events()
    parameters = faked.panel.parameters
    for name, text in SAVED.items():
        value = getattr(parameters, name)
        assert getattr(value, "name", str(value)) == text, name
    assert ui.smoothnessSlider.value == pytest.approx(0.2)
    assert ui.deviceComboBox.currentText == "NVIDIA graphics card (GPU)"
    request, _into = parametersModule.requestFrom(parameters, faked.panel.catalog)
    assert request.settings == library.Settings(
        method="universal", fine_tune=True, refine="accurate", affine="none", similarity="mind", smoothness=0.2,
        device="cuda", seed=7,
    )  # fmt: skip
