"""An offscreen plot view: what qMRMLPlotView draws of a chart node, as a picture in memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import vtk
from vtk.util.numpy_support import vtk_to_numpy


def draw(chart: Any, size: tuple[int, int] = (600, 400)) -> np.ndarray:
    """A vtkMRMLPlotChartNode of scatter series as (height, width, 3) uint8, first row on top."""
    view = vtk.vtkContextView()
    view.GetRenderWindow().SetOffScreenRendering(True)
    view.GetRenderWindow().SetSize(*size)
    view.GetRenderer().SetBackground(1, 1, 1)
    plot = vtk.vtkChartXY()
    view.GetScene().AddItem(plot)
    plot.SetTitle(chart.GetTitle())
    plot.SetShowLegend(chart.GetLegendVisibility())
    for axis, title in ((vtk.vtkAxis.BOTTOM, chart.GetXAxisTitle()), (vtk.vtkAxis.LEFT, chart.GetYAxisTitle())):
        plot.GetAxis(axis).SetTitle(title)
    if not chart.GetYAxisRangeAuto():
        plot.GetAxis(vtk.vtkAxis.LEFT).SetBehavior(vtk.vtkAxis.FIXED)
        plot.GetAxis(vtk.vtkAxis.LEFT).SetRange(*chart.GetYAxisRange())
    for index in range(chart.GetNumberOfPlotSeriesNodes()):
        series = chart.GetNthPlotSeriesNode(index)
        line = plot.AddPlot(vtk.vtkChart.LINE)
        line.SetInputData(series.GetTableNode().GetTable(), series.GetXColumnName(), series.GetYColumnName())
        line.SetLabel(series.GetName())
        line.SetColorF(*series.GetColor())
        line.SetWidth(series.GetLineWidth())
        line.SetMarkerStyle(series.GetMarkerStyle())
        line.SetMarkerSize(series.GetMarkerSize())
    view.GetRenderWindow().Render()
    grabber = vtk.vtkWindowToImageFilter()
    grabber.SetInput(view.GetRenderWindow())
    grabber.ReadFrontBufferOff()
    grabber.Update()
    width, height, _ = grabber.GetOutput().GetDimensions()
    values = vtk_to_numpy(grabber.GetOutput().GetPointData().GetScalars()).reshape(height, width, -1)
    return np.ascontiguousarray(values[::-1, :, :3])
