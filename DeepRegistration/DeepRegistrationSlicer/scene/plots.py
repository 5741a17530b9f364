"""Curves as a table, and charts of its columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import slicer
import vtk

from .nodes import Node, newNode

COLORS = ((0.12, 0.47, 0.71), (0.84, 0.15, 0.16), (0.17, 0.63, 0.17), (1.0, 0.5, 0.05), (0.58, 0.4, 0.74))

LEGEND_ROOM, MOST_ROOM = 0.1, 1.0
"""Share of the curves' height that the legend takes for each line; and at most, so that the curves stay readable."""


def fillCurves(tableNode: Node, index: tuple[str, Sequence[float]], curves: Mapping[str, Sequence[float]]) -> None:
    """The columns of a table anew: ``index``, title and values, then each curve."""
    tableNode.RemoveAllColumns()
    for title, values in (index, *curves.items()):
        column = vtk.vtkDoubleArray()
        column.SetName(title)
        for value in values:
            column.InsertNextValue(float(value))
        tableNode.AddColumn(column)
    tableNode.SetUseColumnTitleAsColumnHeader(True)
    tableNode.Modified()


def chartOf(tableNode: Node, name: str, xTitle: str, yTitle: str, columns: Sequence[str]) -> Node:
    """A new chart of some columns over the first one."""
    chart = newNode("vtkMRMLPlotChartNode", name)
    chart.SetTitle(name)
    chart.SetXAxisTitle(xTitle)
    chart.SetYAxisTitle(yTitle)
    for number, column in enumerate(columns):
        series = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLPlotSeriesNode", _shortly(column))
        series.SetAndObserveTableNodeID(tableNode.GetID())
        series.SetXColumnName(tableNode.GetColumnName(0))
        series.SetYColumnName(column)
        series.SetPlotType(slicer.vtkMRMLPlotSeriesNode.PlotTypeScatter)  # a line; Slicer's "line" has no x column
        series.SetMarkerStyle(slicer.vtkMRMLPlotSeriesNode.MarkerStyleCircle)
        series.SetColor(*COLORS[number % len(COLORS)])
        chart.AddAndObservePlotSeriesNodeID(series.GetID())
    _leaveRoom(tableNode, chart, columns)
    return chart


def _leaveRoom(tableNode: Node, chart: Node, columns: Sequence[str]) -> None:
    """Room above the curves for the legend, which Slicer puts into the upper right corner, over what is there."""
    values = np.concatenate([slicer.util.arrayFromTableColumn(tableNode, column) for column in columns])
    values = values[np.isfinite(values)]
    if not values.size:
        return
    low, high = float(values.min()), float(values.max())
    height = high - low or abs(high) / 10 or 1.0
    chart.SetYAxisRangeAuto(False)
    chart.SetYAxisRange(low - height / 20, high + height * min(LEGEND_ROOM * (len(columns) + 1), MOST_ROOM))


def _shortly(column: str) -> str:
    """What the legend says, which lies over the curves: the axis has the quantity and its unit."""
    name, colon, _quantity = column.partition(": ")
    return name if colon else column.partition(" (")[0]


def showChart(chartNode: Node) -> None:
    """The chart in Slicer's plot view, beside the slice views."""
    slicer.app.layoutManager().setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutConventionalPlotView)
    slicer.app.applicationLogic().GetSelectionNode().SetReferenceActivePlotChartID(chartNode.GetID())
    slicer.app.applicationLogic().PropagatePlotChartSelection()
