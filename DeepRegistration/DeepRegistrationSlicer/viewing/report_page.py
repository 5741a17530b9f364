"""The report as a web page that stands alone: words, numbers, and the images before and after."""

from __future__ import annotations

import base64
import html
import json
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import vtk
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

from DeepRegistrationLib.geometry.image import Grid, Image
from DeepRegistrationLib.quality.slices import upright
from DeepRegistrationLib.quality.verdict import VERDICT_COLORS
from DeepRegistrationLib.quality.viewer import viewer_html

from ..errors import RegistrationError, SceneInputError
from ..registration import report_words, results
from ..scene import derived, nodes
from ..scene.nodes import Node
from ..texts import tr as _

MOST_PIXELS = 320


def write(transformNode: Node, path: Path) -> None:
    """The report that came with ``transformNode`` into an HTML file, or one of JSON where ``path`` ends so.

    Raises:
        SceneInputError: if the transform has no report.
        RegistrationError: if the file cannot be written.
    """
    report = results.reportOf(transformNode)
    if not report:
        raise SceneInputError(
            _("{name} has no report; choose a transform that this module made.").format(name=transformNode.GetName())
        )
    try:
        isPage = path.suffix.lower() != ".json"
        path.write_text(_page(transformNode, report) if isPage else json.dumps(report, indent=2), encoding="utf-8")
    except OSError as error:
        raise RegistrationError(
            _("The report cannot be written to {path} ({reason}); choose another folder.").format(
                path=path, reason=error.strerror
            )
        ) from error


def _page(transformNode: Node, report: dict) -> str:
    fixedNode, movingNode = nodes.fixedOf(transformNode), nodes.movingOf(transformNode)
    kind, words = report_words.verdict(report)
    rows = "\n".join(
        f"<tr><th>{html.escape(name)}</th><td>{html.escape(value)}</td></tr>"
        for name, value in report_words.rows(report)
    )
    title, pictures, viewer = html.escape(transformNode.GetName()), "", ""
    if fixedNode is not None and movingNode is not None:
        names = ", ".join(html.escape(node.GetName()) for node in (fixedNode, movingNode))
        pictures = f"<p>{_('Fixed image in magenta, moving image in green; gray where they agree.')} ({names})</p>"
        for caption, transform in ((_("Before"), None), (_("After"), transformNode)):
            data = base64.b64encode(_png(overlays(fixedNode, movingNode, transform, transformNode))).decode("ascii")
            pictures += f'<h2>{caption}</h2><img alt="{caption}" src="data:image/png;base64,{data}">\n'
        viewer = _viewer(fixedNode, movingNode, transformNode)
    signed = "".join(f"<span>{word}</span>" for word in (_("Reviewed by"), _("Date"), _("Signature")))
    color = VERDICT_COLORS.get(kind, "#555")
    return f"""<!DOCTYPE html>
<html><head><meta charset="utf-8"><title>{title}</title>
<style>body{{font:15px sans-serif;max-width:65em;margin:2em auto;padding:0 1em;color:#222}}
th{{text-align:left;vertical-align:top;font-weight:normal;padding-right:2em}}
td{{overflow-wrap:anywhere}}td,th{{border-bottom:1px solid #ddd;padding:.3em 2em .3em 0}}
p.verdict{{border-left:.6em solid {color};padding:.5em 1em;font-size:1.2em}}
img{{max-width:100%;background:#000}}@media print{{.viewer{{display:none}}}}
.sign span{{display:inline-block;min-width:17em;margin:3em 2em 0 0;border-bottom:1px solid #222}}</style>
</head><body><h1>{title}</h1><p class="verdict">{html.escape(words)}</p>
{viewer}<table>{rows}</table>
{pictures}<p class="sign">{signed}</p></body></html>
"""


def _viewer(fixedNode: Node, movingNode: Node, transformNode: Node) -> str:
    """Slices to scroll, fade and blink."""
    fixed = nodes.imageOf(fixedNode)
    if fixed.GetNumberOfComponentsPerPixel() > 1:
        fixed = derived.gray(fixed)
    moved = [derived.moved(movingNode, fixedNode, t, transformNode) for t in (None, transformNode)]
    return viewer_html(*(Image(sitk.GetArrayFromImage(i), Grid.from_sitk(fixed)) for i in (fixed, *moved)))


def overlays(fixedNode: Node, movingNode: Node, transformNode: Node | None, ignore: Node | None = None) -> np.ndarray:
    """(height, width, 3) uint8: the middle slice along each axis, fixed in magenta and moving in green.

    Hung as the slices of the viewer above: the patient's right on the left.
    """
    fixed = nodes.imageOf(fixedNode)
    grid = Grid.from_sitk(fixed)
    if fixed.GetNumberOfComponentsPerPixel() > 1:
        fixed = derived.gray(fixed)
    other = sitk.GetArrayFromImage(derived.moved(movingNode, fixedNode, transformNode, ignore))
    pair = [
        derived.unit(sitk.GetArrayFromImage(fixed), fixedNode),
        derived.unit(other, movingNode),
    ]
    shape = pair[0].shape
    tiles = []
    for axis in range(3):
        if 1 in (shape[a] for a in range(3) if a != axis):
            continue
        hung = [upright(np.take(a, shape[axis] // 2, axis=axis), grid, axis) for a in pair]
        planes = [_squared(plane, np.array([aspect, 1.0])) for plane, aspect in hung]
        tiles.append(np.stack([planes[0], planes[1], planes[0]], -1))
    height = max(tile.shape[0] for tile in tiles)
    padded = [np.pad(tile, ((0, height - tile.shape[0]), (0, 8), (0, 0))) for tile in tiles]
    return (np.concatenate(padded, 1) * 255).astype(np.uint8)


def _squared(plane: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """The plane with square pixels, its longer side ``MOST_PIXELS``."""
    size = np.asarray(plane.shape) * steps
    pixels = np.maximum(1, np.round(size * MOST_PIXELS / size.max()).astype(int))
    rows, columns = (np.minimum(np.arange(p) * n // p, n - 1) for p, n in zip(pixels, plane.shape, strict=True))
    return plane[np.ix_(rows, columns)]


def _png(picture: np.ndarray) -> bytes:
    imageData = vtk.vtkImageData()
    imageData.SetDimensions(picture.shape[1], picture.shape[0], 1)
    flat = np.ascontiguousarray(picture[::-1]).reshape(-1, 3)
    imageData.GetPointData().SetScalars(numpy_to_vtk(flat, deep=True))
    writer = vtk.vtkPNGWriter()
    writer.WriteToMemoryOn()
    writer.SetInputData(imageData)
    writer.Write()
    return vtk_to_numpy(writer.GetResult()).tobytes()
