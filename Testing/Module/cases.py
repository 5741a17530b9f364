"""Small scenes for the tests of the Slicer module."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import SimpleITK as sitk
import slicer
import vtk

from Testing import host

MODULE = Path(__file__).resolve().parents[2] / "DeepRegistration"
FAKE = [sys.executable, str(Path(__file__).with_name("fake_worker.py"))]
"""The command of a worker that only pretends."""

HOST = host.boot()
if str(MODULE) not in sys.path:
    sys.path.insert(0, str(MODULE))


def setModelsFolder(folder: Path) -> None:
    """Let the user's models lie in ``folder``."""
    from DeepRegistrationSlicer.worker import models

    slicer.app.userSettings().setValue(models.SETTING, str(folder))
    models.tellWorker()


def geometry(
    angles: tuple[float, float, float], spacing: tuple[float, float, float], flip: tuple[int, int, int], origin: Any
) -> np.ndarray:
    """(4, 4) voxel to RAS: rotations about x, y, z in degrees, mm, +1 or -1 for each axis."""
    matrix = np.eye(4)
    for axis, angle in enumerate(np.radians(angles)):
        turn = np.eye(3)
        a, b = [i for i in range(3) if i != axis]
        turn[a, a] = turn[b, b] = np.cos(angle)
        turn[a, b], turn[b, a] = -np.sin(angle), np.sin(angle)
        matrix[:3, :3] = turn @ matrix[:3, :3]
    matrix[:3, :3] = matrix[:3, :3] * np.asarray(flip) * np.asarray(spacing)
    matrix[:3, 3] = origin
    return matrix


OBLIQUE = geometry((17, -9, 24), (1.1, 1.7, 2.6), (1, -1, 1), (12, -31, 44))
OTHER = geometry((-8, 12, 5), (1.5, 1.2, 2.0), (-1, -1, 1), (60, 45, 10))
PLAIN = geometry((0, 0, 0), (2, 2, 2), (-1, -1, 1), (40, 40, -40))


def centered(
    matrix: np.ndarray, shape: tuple[int, int, int], on: np.ndarray, onShape: tuple[int, int, int]
) -> np.ndarray:
    """``matrix`` moved so that the middle of its grid is the middle of another."""
    moved = matrix.copy()
    middles = [m @ [*((np.asarray(s[::-1]) - 1) / 2), 1] for m, s in ((on, onShape), (matrix, shape))]
    moved[:3, 3] += (middles[0] - middles[1])[:3]
    return moved


def addVolume(array: np.ndarray, matrix: np.ndarray = PLAIN, name: str = "volume", className: str | None = None) -> Any:
    node = slicer.mrmlScene.AddNewNodeByClass(className or "vtkMRMLScalarVolumeNode", name)
    slicer.util.updateVolumeFromArray(node, np.ascontiguousarray(array))
    node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(matrix))
    return node


def blobs(shape: tuple[int, int, int] = (32, 32, 32), shift: tuple[float, float, float] = (0, 0, 0)) -> np.ndarray:
    """A head-like picture: a bright ball with two darker balls in it, moved by ``shift`` voxels."""
    grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, s) for s in shape], indexing="ij"))
    grid = grid - (np.asarray(shift) * 2 / np.asarray(shape))[:, None, None, None]

    def ball(center: tuple[float, float, float], radius: float) -> np.ndarray:
        distance = np.sqrt(((grid - np.asarray(center)[:, None, None, None]) ** 2).sum(0))
        return 1 / (1 + np.exp((distance - radius) * 20))

    picture = 300 * ball((0, 0, 0), 0.7) - 150 * ball((0.1, 0.2, 0.25), 0.25) - 100 * ball((-0.2, -0.2, -0.2), 0.2)
    return picture.astype(np.float32)


def smoothField(image: sitk.Image, size: float = 4.0, seed: int = 0) -> sitk.Image:
    """A smooth random displacement field (LPS mm) on the grid of ``image``, zero at its border."""
    rng = np.random.default_rng(seed)
    shape = tuple(reversed(image.GetSize()))
    axes = [np.linspace(0, np.pi, s) for s in shape]
    window = np.einsum("k,j,i->kji", *[np.sin(a) for a in axes])
    waves = np.stack(np.meshgrid(*axes, indexing="ij"))
    vectors = np.stack([window * np.cos(np.tensordot(rng.normal(size=3), waves, 1)) for _ in range(3)], -1) * size
    field = sitk.GetImageFromArray(vectors.astype(np.float32), isVector=True)
    field.CopyInformation(image)
    return field


def randomPoints(matrix: np.ndarray, shape: tuple[int, int, int], count: int, seed: int = 1) -> np.ndarray:
    """(count, 3) RAS points inside a grid, half a voxel from its border or more."""
    rng = np.random.default_rng(seed)
    ijk = 0.5 + rng.random((count, 3)) * (np.asarray(shape[::-1]) - 2)
    return ijk @ matrix[:3, :3].T + matrix[:3, 3]


@contextmanager
def unchangedScene() -> Iterator[None]:
    """Fails if nodes come or go."""
    before = sceneContent()
    yield
    assert sceneContent() == before


def sceneContent() -> list[str]:
    scene = slicer.mrmlScene
    return sorted(scene.GetNthNode(i).GetID() for i in range(scene.GetNumberOfNodes()))


def linearTransform(matrix: np.ndarray, name: str = "linear") -> Any:
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", name)
    node.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    return node


def bendingTransform(name: str = "bend") -> Any:
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTransformNode", name)
    spline = vtk.vtkThinPlateSplineTransform()
    points = vtk.vtkPoints()
    for point in ((0, 0, 0), (10, 0, 0), (0, 10, 0), (0, 0, 10), (5, 5, 9)):
        points.InsertNextPoint(point)
    moved = vtk.vtkPoints()
    moved.DeepCopy(points)
    moved.SetPoint(4, 6, 4, 12)
    spline.SetSourceLandmarks(points)
    spline.SetTargetLandmarks(moved)
    spline.SetBasisToR()
    node.SetAndObserveTransformToParent(spline)
    return node


def haveEnded(family: Iterable[psutil.Process], seconds: float = 60.0) -> bool:
    """Whether all processes end within ``seconds``; zombies have ended, and so has what is gone while looked at."""
    _gone, alive = psutil.wait_procs(list(family), timeout=seconds)
    return all(_isZombie(p) for p in alive)


def _isZombie(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
