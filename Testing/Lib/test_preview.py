"""What a registration shows on its way is what it has found; stopped, that is the result."""

from __future__ import annotations

import json

import numpy as np
import pytest
import SimpleITK as sitk

from DeepRegistrationLib import Image, InputError, register
from DeepRegistrationLib.__main__ import main
from DeepRegistrationLib.geometry.image import Grid


def ball(shape=(24, 28, 30), shift=0.0, spacing=(2.0, 1.5, 1.25)):
    """Two balls in one another; bent by a sine of ``shift`` mm."""
    matrix = np.eye(4)
    matrix[:3, :3] = np.fliplr(np.diag(spacing)) * [1, -1, 1]
    matrix[:3, 3] = (11, -7, 5)
    k, j, i = np.indices(shape, dtype=np.float32)
    axes = [((a + 0.5) / n - 0.5) * 2 for a, n in zip((k, j, i), shape, strict=True)]
    axes[2] = axes[2] + shift * np.sin(3 * axes[1]) / shape[2]
    r = np.sqrt(sum(a**2 for a in axes))
    return Image(
        (np.clip(8 * (0.8 - r), 0, 1) + np.clip(8 * (0.45 - r), 0, 1)).astype(np.float32) * 100,
        Grid(shape, matrix),
        "ball",
    )


def apart(preview, transform):
    """mm between a preview and a transform, over the fixed image's middle."""
    field = preview.transform()
    shape = np.array(preview.grid.shape)
    rng = np.random.default_rng(0)
    voxels = (0.25 + 0.5 * rng.random((200, len(shape)))) * shape
    points = voxels @ preview.grid.matrix[:-1, :-1].T + preview.grid.matrix[:-1, -1]
    moved = [np.array([t.TransformPoint(p) for p in points.tolist()]) for t in (field, transform)]
    return np.linalg.norm(moved[0] - moved[1], axis=1)


def test_the_affine_comes_first_and_the_last_preview_is_the_result():
    seen = []
    result = register(ball(), ball(shift=3.0), on_level=seen.append)
    assert seen[0].level == "affine"
    assert seen[-1].level == "refined"
    assert [p.level for p in seen if p.level.startswith("level")]
    errors = [apart(p, result.transform).mean() for p in seen]
    assert errors[-1] < 0.02
    assert errors[-1] < 0.2 * errors[0]
    assert result.report.stopped_at == ""


def test_again_from_here_the_result_is_seen_before_it_is_judged():
    accepted, told, seen = register(ball(), ball(shift=3.0), affine="none").transform, [], []

    def noted(preview):
        told.append(preview.level)
        seen.append(preview)

    result = register(
        ball(),
        ball(shift=4.0),
        initial_transform=accepted,
        from_here=True,
        on_level=noted,
        progress=lambda stage, *_: told.append(stage),
    )
    assert told.index("refined") < told.index("output")
    assert apart(seen[-1], result.transform).mean() < 0.02


def test_looking_on_changes_nothing():
    alone = register(ball(), ball(shift=3.0), affine="none")
    watched = register(ball(), ball(shift=3.0), affine="none", on_level=lambda _: None, stop=lambda: False)
    assert np.array_equal(alone.warped.array, watched.warped.array)


def test_stopped_after_a_level_its_field_is_the_result():
    seen = []
    result = register(
        ball(),
        ball(shift=3.0),
        affine="none",
        similarity="lncc",
        on_level=seen.append,
        stop=lambda: any("level" in p.level for p in seen),
    )
    last = next(p for p in seen if "level" in p.level)
    assert apart(last, result.transform).mean() < 0.1
    assert "level" in result.report.stopped_at
    assert result.report.stopped_at in result.report.warnings[-1]
    assert result.report.judge()[0] in ("good", "check", "bad")
    assert ("Stopped by hand at", result.report.stopped_at) in result.report.lines()
    there = np.array(result.transform.TransformPoint((25.0, -25.0, 25.0)))
    assert np.linalg.norm(np.array(result.inverse.TransformPoint(there.tolist())) - (25, -25, 25)) < 0.2


def test_stopped_before_the_guard_has_judged_nothing_is_kept_that_was_not_seen():
    seen = []
    result = register(ball(), ball(shift=3.0), on_level=seen.append, stop=lambda: True)
    assert [p.level for p in seen] == ["affine", "refined"]
    assert np.abs(result.field.numpy()).max() == 0
    assert result.report.chosen == ""
    assert apart(seen[0], result.transform).max() < 1e-3
    assert result.report.warnings[-1].endswith("before it had a field to keep: the images are aligned as a whole only.")


class After:
    """Says stop from its ``count``-th call on."""

    def __init__(self, count):
        self.left = count

    def __call__(self):
        self.left -= 1
        return self.left < 0


@pytest.mark.parametrize(("similarity", "keeps"), [("lncc", True), ("auto", False)])
def test_stopped_amid_the_coarse_levels_what_was_shown_is_kept_and_the_report_says_which(similarity, keeps):
    """A chosen similarity is not judged and shown from the first level on; else the guard looks at it before."""
    seen = []
    result = register(
        *(ball(), ball(shift=3.0)),
        **{"affine": "none", "method": "none", "similarity": similarity, "on_level": seen.append, "stop": After(25)},
    )
    assert "level 1 of" in result.report.stopped_at
    assert (np.abs(result.field.numpy()).max() > 0.5) == keeps
    shown = [p for p in seen if p.level != "refined"][-1]
    assert apart(shown, result.transform).max() < 0.3
    assert ("is the result." in result.report.warnings[-1]) == keeps
    assert ("the images lie as they were." in result.report.warnings[-1]) == (not keeps)


def test_a_single_slice_is_shown_with_a_depth(tmp_path):
    volume = ball((1, 48, 44))
    seen = []
    result = register(volume, ball((1, 48, 44), shift=3.0), affine="none", on_level=seen.append)
    seen[-1].save(tmp_path / "p.nrrd")
    image = sitk.ReadImage(str(tmp_path / "p.nrrd"))
    assert 3 in image.GetSize()
    middle = [(n - 1) / 2 for n in image.GetSize()]
    point = image.TransformContinuousIndexToPhysicalPoint(middle)
    field = sitk.DisplacementFieldTransform(sitk.Cast(image, sitk.sitkVectorFloat64))
    assert np.allclose(field.TransformPoint(point), result.transform.TransformPoint(point), atol=0.1)


@pytest.mark.parametrize("name", ["on_level", "stop"])
def test_what_cannot_be_called_is_refused(name):
    with pytest.raises(InputError, match=f"{name} is a function"):
        register(ball(), ball(), **{name: 3})


def test_the_command_line_names_files_that_are_whole(tmp_path, capsys, monkeypatch):
    ball().save(tmp_path / "f.nrrd")
    ball(shift=3.0).save(tmp_path / "m.nrrd")
    monkeypatch.chdir(tmp_path)
    options = ["--affine", "none", "--progress", "json", "--previews", "--output-transform", "t.nrrd"]
    assert main(["register", "f.nrrd", "m.nrrd", *options]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    files = [line["preview"] for line in lines if "preview" in line]
    assert len(files) >= 3
    assert sorted(p.name for p in tmp_path.glob("*preview*")) == sorted(files)
    for name in files:
        assert sitk.ReadImage(name).GetNumberOfComponentsPerPixel() == 3
