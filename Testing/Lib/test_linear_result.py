"""One matrix as the result: rigid, similarity or affine, in files that Slicer reads, with words that fit it."""

import json

import numpy as np
import pytest
import SimpleITK as sitk

from DeepRegistrationLib import InputError, register
from DeepRegistrationLib.__main__ import main
from DeepRegistrationLib.settings import Settings
from Testing.Lib.affine.test_affine import _motion, _seen_through, _tissues

from .geometry.geometries import oblique

TABLE = (0, 500, 700, 900, 300)
MATRICES = ("similarity", "rigid")
"""Those that the alignment of a deformable result does not try."""


@pytest.fixture(scope="module")
def images():
    """A body and the same, turned by 20 degrees, shifted and 6 % larger; the true matrix, fixed to moving."""
    tissues = _tissues(3)
    middle = tissues.grid.center
    grid, coarse = oblique((32, 32, 32), (3.0, 3.0, 3.0)), tissues.grid.resized((32, 32, 32))
    grid.matrix[:3, 3] += middle - grid.center
    true = _motion(3, middle, 20, scale=1.06)
    fixed = _seen_through(tissues, grid, np.eye(4), TABLE, 0)
    moving = _seen_through(tissues, coarse, np.linalg.inv(true), TABLE, 1)
    return fixed, moving, true


@pytest.fixture(scope="module")
def results(images):
    fixed, moving, _true = images
    return {name: register(fixed, moving, result=name, device="cpu") for name in MATRICES}


def matrix_of(transform):
    corners = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1.0]])
    moved = np.array([transform.TransformPoint(c.tolist()) for c in corners])
    return (moved[1:] - moved[0]).T


@pytest.mark.parametrize("name", MATRICES)
def test_the_result_is_a_matrix_of_the_asked_kind_and_its_inverse_is_exact(results, images, name):
    result, (fixed, _moving, true) = results[name], images
    assert result.transform.IsLinear()
    assert result.inverse.IsLinear()
    linear = matrix_of(result.transform)
    scales = np.linalg.svd(linear, compute_uv=False)
    if name == "rigid":
        assert np.abs(scales - 1).max() < 1e-9
    if name == "similarity":
        assert np.ptp(scales) < 1e-9
    if name != "rigid":
        assert scales.mean() == pytest.approx(1.06, abs=0.01)
    assert np.linalg.det(linear) > 0
    points = fixed.grid.center + np.random.default_rng(0).uniform(-30, 30, (50, 3))
    there = result.transform.map_points(points)
    assert np.abs(result.inverse.map_points(there) - points).max() < 1e-9
    wanted = points @ true[:3, :3].T + true[:3, 3]
    assert np.linalg.norm(there - wanted, axis=1).max() < (4.0 if name == "rigid" else 1.0)  # 6 % of 50 mm is missed


@pytest.mark.parametrize("name", MATRICES)
def test_report_and_verdict_speak_of_a_matrix(results, images, name):
    report, linear = results[name].report, images[2][:3, :3]
    turn = np.degrees(np.arccos((np.trace(linear) / np.cbrt(np.linalg.det(linear)) - 1) / 2))
    lines = dict(report.lines())
    assert lines["Result"] == name
    assert (report.method, report.refine, report.affine) == ("none", "none", name)
    assert report.judge()[0] == "good", report.judge()
    said = json.dumps([lines, report.judge()])
    for word in ("fold", "Fold", "field", "Bending", "Inverse", "not measured", "Spread"):
        assert word not in said, word
    assert float(lines["Turned"].split()[0]) == pytest.approx(turn, abs=1 if name != "rigid" else 3)
    assert report.doubt_percent < 10


def test_every_kind_of_file_holds_it(results, tmp_path):
    transform = results["rigid"].transform
    for ending in (".h5", ".tfm", ".mat", ".nrrd"):
        transform.save(tmp_path / f"t{ending}")
        if ending == ".nrrd":
            continue
        again = sitk.ReadTransform(str(tmp_path / f"t{ending}"))
        assert again.IsLinear()
        assert np.abs(matrix_of(again) - matrix_of(transform)).max() < 1e-9


def test_the_command_line_writes_it(images, tmp_path):
    fixed, moving, true = images
    fixed.save(tmp_path / "f.nrrd")
    moving.save(tmp_path / "m.nrrd")
    out = [str(tmp_path / name) for name in ("t.mat", "i.tfm", "w.nrrd")]
    names = ("--output-transform", "--output-inverse", "--output-volume")
    arguments = [x for pair in zip(names, out, strict=True) for x in pair]
    files = [str(tmp_path / "f.nrrd"), str(tmp_path / "m.nrrd")]
    assert main(["register", *files, *arguments, "--result", "similarity", "--progress", "none"]) == 0
    assert np.abs(matrix_of(sitk.ReadTransform(out[0])) - true[:3, :3]).max() < 0.02
    both = sitk.CompositeTransform([sitk.ReadTransform(out[0]), sitk.ReadTransform(out[1])])
    assert np.abs(np.subtract(both.TransformPoint((5, 6, 7)), (5, 6, 7))).max() < 1e-9


def test_it_begins_at_an_initial_transform_and_stays_of_its_kind(images):
    fixed, moving, true = images
    bent = true.copy()
    bent[:3, 3] += 3
    start = sitk.AffineTransform(bent[:3, :3].ravel().tolist(), bent[:3, 3].tolist())
    found = register(fixed, moving, result="rigid", initial_transform=start, device="cpu")
    assert np.abs(np.linalg.svd(matrix_of(found.transform), compute_uv=False) - 1).max() < 1e-9
    middle = fixed.grid.center
    assert np.linalg.norm(found.transform.map_points(middle[None])[0] - (true[:3, :3] @ middle + true[:3, 3])) < 2


def test_what_only_a_field_has_is_not_silently_used(images):
    fixed, moving, _true = images
    with pytest.raises(InputError, match="labels act in the refinement only"):
        register(fixed, moving, result="rigid", labels=(fixed, moving))
    with pytest.raises(InputError, match="set affine to auto, or give 3 landmarks"):
        register(fixed, moving, result="rigid", affine="none")
    with pytest.raises(InputError, match="result can be deformable, affine, similarity or rigid"):
        Settings(result="elastic")


def test_a_single_slice_is_turned_in_its_plane():
    tissues = _tissues(2)
    true = _motion(2, tissues.grid.center, 12, shift=4)
    moving = _seen_through(tissues, tissues.grid, np.linalg.inv(true), TABLE, 1)
    fixed = _seen_through(tissues, tissues.grid, np.eye(3), TABLE, 0)
    result = register(fixed, moving, result="rigid", method="universal", device="cpu")
    assert result.report.warnings == ["A result that is rigid takes no network; the method universal was not used."]
    assert result.transform.GetDimension() == 2
    assert result.transform.IsLinear()
    assert result.report.shape.turn_degrees == pytest.approx(12, abs=1)
