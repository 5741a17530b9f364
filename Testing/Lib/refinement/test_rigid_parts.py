"""Parts that must not bend move as one piece; around them the field gives way without folds."""

import numpy as np
import pytest
import torch

from DeepRegistrationLib import InputError, register
from DeepRegistrationLib.__main__ import main
from DeepRegistrationLib.fields import inverse_error, invert
from DeepRegistrationLib.fields.folding import smallest_determinant
from DeepRegistrationLib.geometry.image import Grid, Image
from DeepRegistrationLib.refinement.rigid_parts import keep_rigid
from Testing.Lib.test_pipeline import FAST, pair

from ..geometry.geometries import oblique, rotation


def wave(shape, size):
    """A field that bends everything, by ``size`` voxels."""
    axes = torch.meshgrid(*[torch.linspace(0, 3.1, s) for s in shape], indexing="ij")
    edge = torch.ones(())
    for axis in axes:
        edge = edge * torch.sin(axis)
    return torch.stack([size * edge * torch.cos(2 * a + k) for k, a in enumerate(axes)])[None].contiguous()


def boxes(shape, *places):
    parts = torch.zeros(1, 1, *shape, dtype=torch.int64)
    for number, place in enumerate(places):
        parts[(0, 0, *place)] = number + 1
    return parts


def bending(u, inside, grid, matrix):
    """Largest change, mm, of a distance between two voxels of a part."""
    index = torch.nonzero(inside)[::7].double().numpy()
    moved = index + u[0][:, inside].T.double().numpy()[::7]
    n = index.shape[1]
    here = grid.to_world(index)
    there = grid.to_world(moved) @ matrix[:n, :n].T + matrix[:n, n]
    lengths = [np.linalg.norm(p[:, None] - p[None], axis=-1) for p in (here, there)]
    return float(np.abs(lengths[1] - lengths[0]).max())


@pytest.mark.parametrize("ndim", [2, 3])
def test_every_part_keeps_all_distances_and_nothing_folds(ndim):
    shape = (44, 40, 48)[:ndim]
    grid = oblique(shape, (1.5, 1.2, 1.0)) if ndim == 3 else Grid.from_shape(shape, (1.5, 1.2))
    matrix = np.eye(ndim + 1)  # a matrix that scales and shears: the whole map must be rigid
    matrix[:ndim, :ndim] = (rotation((10, 5, -20))[:ndim, :ndim] @ np.diag((1.1, 0.95, 1.03)[:ndim])) + 0.02
    matrix[:ndim, ndim] = 5
    u = wave(shape, 2.5)
    parts = boxes(shape, (slice(8, 16),) * ndim, (slice(24, 36),) * ndim)
    before = [bending(u, parts[0, 0] == label, grid, matrix) for label in (1, 2)]
    kept = keep_rigid(u, parts, grid.matrix, matrix)
    assert min(before) > 0.5
    for label in (1, 2):
        assert bending(kept.field, parts[0, 0] == label, grid, matrix) < 1e-4
    assert kept.labels == (1, 2)
    assert kept.left_mm < 1e-4
    assert 0.3 < kept.moved_mm < 8
    assert float(smallest_determinant(kept.field).min()) > 0
    missed = inverse_error(kept.field, invert(kept.field))
    assert float(missed.mean()) < 0.005
    assert float(missed.max()) < 0.11  # what ``invert`` promises
    far = (0, slice(None), *(slice(0, 2),) * ndim)
    assert torch.allclose(kept.field[far], u[far], atol=1e-3)  # what is far away stays as it was


def test_between_voxels_of_a_part_it_is_rigid_too():
    shape = (40, 40, 40)
    parts, grid = boxes(shape, (slice(14, 26),) * 3), Grid.from_shape(shape)
    kept = keep_rigid(wave(shape, 2.0), parts, grid.matrix, np.eye(4))
    from DeepRegistrationLib.fields import sample

    points = torch.as_tensor(np.random.default_rng(0).uniform(13.5, 25.5, (400, 3)), dtype=torch.float32)
    moved = points + sample(kept.field, points.T.reshape(1, 3, -1, 1, 1))[0].reshape(3, -1).T
    change = torch.cdist(moved.double(), moved.double()) - torch.cdist(points.double(), points.double())
    assert float(change.abs().max()) < 1e-4


def test_parts_that_run_into_each_other_are_said_and_do_not_fold():
    shape = (30, 30, 30)
    parts = boxes(shape, (slice(8, 22), slice(8, 22), slice(6, 14)), (slice(8, 22), slice(8, 22), slice(15, 23)))
    u = torch.zeros(1, 3, *shape)
    u[0, 2][(parts == 1)[0, 0]], u[0, 2][(parts == 2)[0, 0]] = 4.0, -4.0
    kept = keep_rigid(u, parts, np.eye(4), np.eye(4))
    assert float(smallest_determinant(kept.field).min()) > 0
    assert kept.left_mm > 0.1


def test_crumbs_are_no_parts():
    u = wave((12, 12, 12), 1.0)
    kept = keep_rigid(u, boxes((12, 12, 12), (5, 5, slice(5, 7))), np.eye(4), np.eye(4))
    assert kept.labels == ()
    assert kept.field is u


@pytest.fixture(scope="module")
def case():
    grid = Grid.from_shape((30, 32, 34), 1.5)
    fixed, moving = pair(grid, 2.5)
    array = np.zeros(grid.shape, np.uint8)
    array[12:20, 12:20, 8:14], array[12:20, 12:20, 20:27] = 3, 7
    return fixed, moving, Image(array, grid, "bones")


def test_a_registration_keeps_them_and_its_inverse_fits(case):
    fixed, moving, bones = case
    result = register(fixed, moving, rigid_labels=bones, **FAST)
    for label in (3, 7):
        points = fixed.grid.to_world(np.argwhere(bones.array == label)[::5])
        moved = result.transform.map_points(points)
        change = np.linalg.norm(moved[:, None] - moved, axis=-1) - np.linalg.norm(points[:, None] - points, axis=-1)
        assert np.abs(change).max() < 1e-3
        assert np.abs(result.inverse.map_points(moved) - points).max() < 0.05
    report = result.report
    assert report.rigid_parts == (3, 7)
    assert report.rigid_left_mm < 1e-3
    assert report.rigid_moved_mm > 0.1
    assert report.folding_percent == 0
    assert dict(report.lines())["Kept rigid"].startswith("2 parts, each to 0.0")
    assert report.similarity_after > report.similarity_before


def test_the_command_line_takes_them_and_refuses_what_is_none(case, tmp_path, capsys):
    for image, name in zip(case, ("f.nrrd", "m.nrrd", "r.nrrd"), strict=True):
        image.save(tmp_path / name)
    Image(np.zeros_like(case[2].array), case[2].grid).save(tmp_path / "none.nrrd")
    files = [str(tmp_path / name) for name in ("f.nrrd", "m.nrrd")]
    how = ["--affine", "none", "--report", str(tmp_path / "report"), "--progress", "none", "--method", "none"]
    assert main(["register", *files, *how, "--rigid-labels", str(tmp_path / "r.nrrd")]) == 0
    assert "Kept rigid" in (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    assert main(["register", *files, *how, "--rigid-labels", str(tmp_path / "none.nrrd")]) == 2
    assert "no part inside the fixed image" in capsys.readouterr().err


def test_a_matrix_has_no_parts(case):
    with pytest.raises(InputError, match="in a deformable result only"):
        register(case[0], case[1], result="affine", rigid_labels=case[2], device="cpu")
