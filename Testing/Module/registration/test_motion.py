"""A sequence over time: neighbors' results as starts, the loop's gap, curves, charts and smoothed transforms."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest

from Testing.host import interact, plot_view

from ..cases import FAKE, OBLIQUE, addVolume, blobs

import slicer  # isort: skip
from DeepRegistrationSlicer.errors import SceneInputError  # isort: skip
from DeepRegistrationSlicer.registration import motion, request  # isort: skip
from DeepRegistrationSlicer.registration.logic import RegistrationLogic  # isort: skip
from DeepRegistrationSlicer.registration.loop import loopGap  # isort: skip
from DeepRegistrationSlicer.registration.motion import InTime  # isort: skip
from DeepRegistrationSlicer.registration.request import Request  # isort: skip
from DeepRegistrationSlicer.registration.series import Series  # isort: skip
from DeepRegistrationSlicer.scene import plots  # isort: skip
from DeepRegistrationSlicer.worker import process  # isort: skip

pytestmark = pytest.mark.usefixtures("host")


def breathing(count=4):
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceNode", "breathing")
    node.SetIndexName("time")
    node.SetIndexUnit("s")
    for index in range(count):
        volume = addVolume(blobs((8, 8, 8)), OBLIQUE, f"phase {index}")
        node.SetDataNodeAtValue(volume, f"{0.5 * index}")
        slicer.mrmlScene.RemoveNode(volume)
    return node


@pytest.fixture
def fixed():
    return addVolume(blobs((8, 8, 8)), OBLIQUE, "fixed")


@pytest.fixture
def logic():
    made = RegistrationLogic(lambda: process.LibraryProcess(FAKE), installer=SimpleNamespace(ensure=lambda: None))
    yield made
    made.cancel()


@pytest.fixture
def said(monkeypatch):
    """The command line of each run."""
    lines, write = [], request.Request.write

    def noted(self, folder):
        lines.append(write(self, folder))
        return lines[-1]

    monkeypatch.setattr(request.Request, "write", noted)
    return lines


def run(series, *arguments):
    series.start(*arguments)
    interact.wait_until(lambda: not series.isRunning)


def starts(lines):
    return ["--initial-transform" in line for line in lines]


def test_each_frame_begins_at_the_result_of_the_one_before(logic, fixed, said):
    series = Series(logic)
    run(series, Request(fixed, None), [], breathing(), InTime())
    assert starts(said) == [False, True, True, True]
    assert series.transforms.GetNumberOfDataNodes() == 4


def test_a_cycle_is_gone_round_and_its_gap_is_in_the_table(logic, fixed, said):
    series, tables = Series(logic), []
    series.finished.connect(tables.append)
    run(series, Request(fixed, None), [], breathing(), InTime(isCyclic=True))
    assert starts(said) == [False, True, True, True, True]
    assert series.transforms.GetNumberOfDataNodes() == 4
    assert tables[0].GetCellText(4, 0) == "breathing 0.0, once round: 0.00 mm from closed"
    assert not [n for n in slicer.util.getNodesByClass("vtkMRMLTransformNode") if "once" in n.GetName()]


@pytest.mark.parametrize("why", ["not wanted", "volumes", "bad", "unconfirmed"])
def test_frames_begin_anew_where_there_is_no_neighbor(logic, fixed, said, why, monkeypatch):
    series = Series(logic)
    if why == "volumes":
        nodes = [addVolume(blobs((8, 8, 8)), OBLIQUE, f"CT{k}") for k in range(2)]
        run(series, Request(fixed, None), nodes, None, InTime())
    else:
        if why == "bad":
            read = json.loads
            monkeypatch.setattr(json, "loads", lambda text, **more: read(text.replace('"good"', '"bad"'), **more))
        if why == "unconfirmed":
            read, known = json.loads, '"chosen": "affine", "verdict"'
            monkeypatch.setattr(json, "loads", lambda text, **more: read(text.replace('"verdict"', known), **more))
        run(series, Request(fixed, None), [], breathing(2), InTime(neighbors=why != "not wanted"))
    assert starts(said) == [False, False]


def test_an_interrupted_sequence_goes_on_from_the_last_frame_that_is_there(logic, fixed, said):
    source, series = breathing(), Series(logic)
    run(series, Request(fixed, None), [], source, InTime())
    series.transforms.RemoveDataNodeAtValue("1.5")
    run(Series(logic), Request(fixed, None), [], source, InTime())
    assert starts(said) == [False, True, True, True, True]
    run(Series(logic), Request(fixed, None), [], source, InTime(neighbors=False))
    assert starts(said)[5:] == [False] * 4  # other results, in a sequence of their own


def shifted(*offset):
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    matrix = slicer.vtkMatrix4x4() if hasattr(slicer, "vtkMatrix4x4") else __import__("vtk").vtkMatrix4x4()
    for row, value in enumerate(offset):
        matrix.SetElement(row, 3, value)
    node.SetMatrixTransformFromParent(matrix)
    return node


def test_the_gap_of_a_loop_is_how_far_its_ends_are_apart(fixed):
    assert loopGap(shifted(1, 2, 3), shifted(1, 2, 3), fixed) == 0
    assert loopGap(shifted(1, 2, 3), shifted(4, 6, 3), fixed) == pytest.approx(5)


@pytest.mark.parametrize("size", [(600, 400), (400, 300)])
@pytest.mark.parametrize("values", [[1, 2, 4, 8], [300, 305, 310, 330], [0, 0, 0, 0], [float("nan"), 1, 2, 9]])
def test_the_legend_lies_over_no_curve(fixed, values, size):
    """Where the chart looks different with it, there is no curve without it; and the curves are not squeezed."""
    table = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTableNode", "curves")
    curves = {f"{name} (mm)": np.array(values) * (1 + k / 20) for k, name in enumerate(("Mean displacement", "tip"))}
    plots.fillCurves(table, ("time (s)", range(4)), curves)
    chart = plots.chartOf(table, "motion", "time (s)", "Displacement (mm)", list(curves))
    with_legend = plot_view.draw(chart, size).astype(int)
    chart.SetLegendVisibility(False)
    without = plot_view.draw(chart, size).astype(int)
    legend = np.argwhere(np.abs(with_legend - without).sum(-1) > 0)
    (top, left), (bottom, right) = legend.min(0), legend.max(0) + 1
    colored = np.ptp(without, axis=-1) > 40  # grid and letters are gray
    assert not colored[top:bottom, left:right].any()
    rows = np.flatnonzero(colored.any(1))
    if values[-1] > values[0]:
        assert np.ptp(rows) > size[1] / 3


def test_what_is_no_result_is_refused(fixed):
    with pytest.raises(SceneInputError, match="Register a sequence first"):
        motion.MotionMaker().start(breathing(2))


def test_the_motion_is_shown_by_click(faked, ui, host):
    """The real library measures what the pretended one registered: 2 mm."""
    section = faked.panel.sections["several"]
    section.series.logic.makeProcess = lambda: process.LibraryProcess(FAKE)
    section.series.logic.installer = SimpleNamespace(ensure=lambda: None)
    breathing()
    points = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "tip")
    points.AddControlPoint(OBLIQUE[:3, 3] + 8, "tip")
    faked.panel.parameters.fixedLandmarks = points
    labels = (blobs((8, 8, 8)) > 0.5).astype(np.uint8) * 7
    kind = "vtkMRMLLabelMapVolumeNode"
    faked.panel.parameters.fixedLabels = addVolume(labels, OBLIQUE, "organ", kind)
    ui.imagesButton.collapsed = ui.outputsButton.collapsed = True
    interact.click(ui.severalButton)
    interact.choose(ui.severalSequenceSelector, "breathing")
    assert ui.neighborCheckBox.checked
    interact.click(ui.cyclicCheckBox)
    assert faked.panel.parameters.isCyclic
    ui.smoothInTimeSlider.value = 1.0
    assert faked.panel.parameters.smoothInTime == 1.0
    assert not ui.motionButton.enabled
    interact.click(ui.registerAllButton)
    interact.wait_until(lambda: not section.series.isRunning, 60)
    interact.click(ui.motionButton)
    assert "Measuring" in ui.severalLabel.text
    interact.wait_until(lambda: "Measuring" not in ui.severalLabel.text, 120)
    assert "The curves are in the table breathing transforms motion" in ui.severalLabel.text
    table = slicer.util.getNode("breathing transforms motion")
    columns = [table.GetColumnName(k) for k in range(table.GetNumberOfColumns())]
    assert columns[:3] == ["time (s)", "Mean displacement (mm)", "Largest displacement (mm)"]
    curves = slicer.util.arrayFromTableColumn(table, "Mean displacement (mm)")
    assert curves == pytest.approx(np.full(4, 2.0), abs=0.05)
    assert slicer.util.arrayFromTableColumn(table, "time (s)") == pytest.approx([0, 0.5, 1, 1.5])
    assert slicer.util.arrayFromTableColumn(table, "tip: displacement (mm)") == pytest.approx(np.full(4, 2.0), abs=0.05)
    chart = slicer.util.getNode("breathing transforms displacement")
    names = [chart.GetNthPlotSeriesNode(k).GetName() for k in range(chart.GetNumberOfPlotSeriesNodes())]
    assert names == ["Mean displacement", "Largest displacement", "label 7", "tip"]
    assert chart.GetNthPlotSeriesNode(3).GetYColumnName() == "tip: displacement (mm)"
    assert chart.GetYAxisTitle() == "Displacement (mm)"
    picture = plot_view.draw(chart)
    drawn = [np.abs(picture - 255.0 * np.array(color)).sum(-1).min() < 30 for color in plots.COLORS[:4]]
    assert all(drawn)
    assert slicer.app.applicationLogic().GetSelectionNode().GetActivePlotChartID() == chart.GetID()
    assert host.layouts[-1] == slicer.vtkMRMLLayoutNode.SlicerLayoutConventionalPlotView
    smoothed = slicer.util.getNode("breathing transforms smoothed")
    assert smoothed.GetNumberOfDataNodes() == 4
    assert smoothed.GetNthIndexValue(3) == "1.5"
    place = OBLIQUE[:3, 3] + 8
    moved = smoothed.GetNthDataNode(1).GetTransformFromParent().TransformPoint(place.tolist())
    assert np.linalg.norm(np.subtract(moved, place)) == pytest.approx(2.0, abs=0.1)
    ui.severalSequenceSelector.setCurrentNode(smoothed)  # its motion can be shown as well
    assert ui.motionButton.enabled


def test_a_sequence_that_changes_while_its_curves_are_made_is_said(logic, fixed):
    series = Series(logic)
    run(series, Request(fixed, None), [], breathing(3), InTime(neighbors=False))
    maker, said, made = motion.MotionMaker(), [], []
    maker.failed.connect(said.append)
    maker.finished.connect(made.append)
    maker.start(series.transforms)
    series.transforms.RemoveDataNodeAtValue("1.0")
    interact.wait_until(lambda: not maker.answer.isRunning, 60)
    assert said == ["Changed while the curves were made: breathing transforms; ask for them again."]
    assert made == []
