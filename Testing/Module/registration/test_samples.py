"""The generated pair in Slicer's Sample Data module."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import pytest
import slicer

from ..cases import MODULE

from DeepRegistrationSlicer.scene import landmarks, masks  # isort: skip
from DeepRegistrationSlicer.registration import samples  # isort: skip
from DeepRegistrationSlicer.errors import RegistrationError  # isort: skip

pytestmark = pytest.mark.usefixtures("host")


@pytest.fixture
def sampleData(monkeypatch):
    """A Sample Data module that only takes note."""
    registered = []

    class SampleDataLogic:
        @staticmethod
        def registerCustomSampleDataSource(
            category="Custom",
            sampleName=None,
            uris=None,
            fileNames=None,
            thumbnailFileName=None,
            customDownloader=None,
        ):
            # Slicer's own goes through them, and compares their numbers.
            if len(uris) != len(fileNames) or isinstance(uris, str):
                raise ValueError("All fields of sample data source must have the same length")
            registered.append(types.SimpleNamespace(name=sampleName, icon=thumbnailFileName, load=customDownloader))

    module = types.ModuleType("SampleData")
    module.SampleDataLogic = SampleDataLogic
    monkeypatch.setitem(sys.modules, "SampleData", module)
    return registered


def test_it_is_offered_once_slicer_has_started(sampleData, load_module):
    load_module()
    assert sampleData == []
    slicer.modules.DeepRegistrationInstance.registerSampleData()
    assert [s.name for s in sampleData] == ["DeepRegistrationHeads"]
    assert Path(sampleData[0].icon).read_bytes()[:4] == b"\x89PNG"


def test_the_pair_comes_with_labels_and_landmarks(sampleData, monkeypatch):
    monkeypatch.setattr(
        samples, "MAKE", samples.MAKE.replace("demo_pair()", "demo_pair(shape=(24, 28, 24), spacing=7.5)")
    )
    samples.registerSamples(MODULE / "Resources" / "Icons")
    made = sampleData[0].load(None)
    assert [n.GetName() for n in made] == [
        "Head T1", "Head T1 labels", "Head T1 points", "Head T2", "Head T2 labels", "Head T2 points",
    ]  # fmt: skip
    assert made[2].GetNumberOfControlPoints() == made[5].GetNumberOfControlPoints() > 10
    assert made[2].GetNthControlPointLabel(0)
    assert masks.commonLabels(made[1], made[4])
    bounds = [0.0] * 6
    made[0].GetRASBounds(bounds)
    for position in landmarks.pairsOf(made[2], made[5]).fixed * [-1, -1, 1]:
        assert all(bounds[2 * a] < position[a] < bounds[2 * a + 1] for a in range(3))


def test_a_click_that_fails_is_a_window_and_no_traceback(sampleData, monkeypatch):
    shown = []
    monkeypatch.setattr(slicer.util, "errorDisplay", lambda text, *_: shown.append(text))

    def refuse(_self):
        raise RegistrationError("PyTorch is needed.")

    monkeypatch.setattr(samples.TorchInstaller, "ensure", refuse)
    samples.registerSamples(MODULE)
    assert sampleData[0].load(None) == []
    assert shown == ["PyTorch is needed."]


def test_without_the_sample_data_module_nothing_happens(monkeypatch):
    monkeypatch.setitem(sys.modules, "SampleData", None)
    samples.registerSamples(MODULE)
