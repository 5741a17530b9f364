"""The map of doubt, and the shape measures that join it in the verdict."""

import json

import numpy as np
import pytest
import SimpleITK as sitk

from DeepRegistrationLib.__main__ import main
from DeepRegistrationLib.affine.mirror import Mirror
from DeepRegistrationLib.geometry.image import Grid, Image, read_image
from DeepRegistrationLib.quality.doubt import measure_doubt
from DeepRegistrationLib.quality.report import Report
from DeepRegistrationLib.quality.shape import Shape, measure_shape
from DeepRegistrationLib.quality.there_and_back import missed_by_transforms
from Testing.Lib.geometry.geometries import oblique


def picture(grid, seed=0, smooth=3.0):
    """Blobs everywhere: each place has edges of its own."""
    noise = np.random.default_rng(seed).normal(size=grid.shape).astype(np.float32)
    return Image(sitk.GetArrayFromImage(sitk.SmoothingRecursiveGaussian(grid.to_sitk(noise), smooth)) * 1000, grid)


def shift(vector):
    return sitk.TranslationTransform(len(vector), vector)


def grids():
    return {
        "2-D": Grid.from_shape((90, 110), (1.5, 1.0)),
        "3-D": oblique((40, 44, 48), (1.2, 1.0, 1.0)),
        "one slice": oblique((1, 80, 90), (5, 1, 1)),
    }


@pytest.fixture(params=grids())
def grid(request):
    return grids()[request.param]


def small(grid):
    """A smoothness that fits a grid with a single slice."""
    if 1 not in grid.shape:
        return picture(grid)
    flat = picture(Grid.from_shape(grid.shape[1:]))
    return Image(flat.array[None], grid)


def test_an_image_on_itself_leaves_no_doubt(grid):
    image = small(grid)
    still = sitk.Transform(grid.ndim, sitk.sitkIdentity)
    found = measure_doubt(image, image, still, missed_by_transforms(still, still, grid))
    assert found.percent < 1
    assert found.on(grid).array.shape == grid.shape
    assert found.on(grid).array.max() < 0.5
    assert found.shape.bend_mm < 1e-3


def test_another_contrast_leaves_none_either(grid):
    image = small(grid)
    other = Image(np.abs(image.array - image.array.mean()) * -1, grid)
    assert measure_doubt(image, other, None).percent < 25


def test_an_unrelated_image_is_in_doubt_nearly_everywhere():
    grid = grids()["3-D"]
    found = measure_doubt(picture(grid), picture(grid, seed=1), sitk.Transform(3, sitk.sitkIdentity))
    assert found.percent > 50


def test_the_half_that_does_not_fit_is_the_half_in_doubt():
    grid = Grid.from_shape((120, 120))
    image, other = picture(grid), picture(grid, seed=1)
    mixed = image.array.copy()
    mixed[:, 60:] = other.array[:, 60:]
    doubt = measure_doubt(image, Image(mixed, grid), None).on(grid).array
    assert doubt[:, :50].mean() < 0.1
    assert doubt[:, 70:].mean() > 0.5


def test_a_way_back_that_misses_is_full_doubt():
    grid = grids()["3-D"]
    image = picture(grid)
    still = shift((0.0, 0, 0))
    good = measure_doubt(image, image, still, missed_by_transforms(still, shift((0.2, 0, 0)), grid))
    wrong = measure_doubt(image, image, still, missed_by_transforms(still, shift((3.0, 0, 0)), grid))
    assert good.percent < 5
    assert wrong.percent > 95


def test_a_transform_that_makes_it_worse_is_in_doubt():
    grid = Grid.from_shape((100, 100))
    image = picture(grid)
    assert measure_doubt(image, image, shift((9.0, 0.0))).percent > 50


def test_only_what_is_inside_the_mask_counts():
    grid = Grid.from_shape((120, 120))
    image, other = picture(grid), picture(grid, seed=1)
    mixed = image.array.copy()
    mixed[:, 60:] = other.array[:, 60:]
    mask = np.zeros(grid.shape, bool)
    mask[:, :50] = True
    assert measure_doubt(image, Image(mixed, grid), None, mask=mask).percent < 5
    assert measure_doubt(image, Image(mixed, grid), None, mask=~mask).percent > 40


def test_turn_scaling_and_bending_are_told_apart():
    grid = oblique((40, 44, 48))
    anatomy = np.ones(grid.shape, bool)
    turn = sitk.Euler3DTransform(grid.center.tolist(), 0.0, 0.0, np.radians(30))
    found = measure_shape(turn, grid, anatomy)
    assert found.turn_degrees == pytest.approx(30, abs=0.1)
    assert found.bend_mm < 1e-2
    scale = sitk.ScaleTransform(3, [2.0, 1.0, 0.5])
    found = measure_shape(scale, grid, anatomy)
    assert (found.scale_low, found.scale_high) == pytest.approx((0.5, 2.0), abs=1e-3)
    assert found.bend_mm < 1e-2


@pytest.mark.parametrize("name", ["2-D", "3-D", "one slice"])
def test_a_field_that_squeezes_is_seen(name):
    grid = grids()[name]
    squeeze = np.zeros((*grid.shape, grid.ndim), np.float32)
    axis = grid.ndim - 1
    ramp = np.clip(np.arange(grid.shape[axis]) - 15, 0, 15) * grid.spacing[axis]  # 15 voxels become none
    squeeze += -0.95 * ramp[:, None] * grid.directions[:, axis]
    field = grid.to_sitk(squeeze.astype(np.float64), vector=True)
    found = measure_shape(sitk.DisplacementFieldTransform(field), grid, np.ones(grid.shape, bool))
    assert 5 < found.squeezed_percent < 60
    assert found.bend_mm > 1


def report(**changes):
    values = {"similarity": "NMI", "similarity_before": 0.2, "similarity_after": 0.4}
    return Report("none", "fast", "auto", "cpu", "1.0", **{**values, **changes})


@pytest.mark.parametrize(
    ("changes", "verdict", "words"),
    [
        ({"doubt_percent": 30.0}, "good", "smooth"),
        ({"doubt_percent": 65.0}, "check", "65 % of the anatomy"),
        ({"doubt_percent": 90.0}, "bad", "same part of the body"),
        ({"shape": Shape(bend_mm=50, bend_percent=11)}, "check", "bent by up to 50 mm, 11 % of its size"),
        ({"shape": Shape(bend_mm=75, bend_percent=17)}, "bad", "hardly plausible"),
        ({"shape": Shape(largest_bend_mm=75, largest_bend_percent=19)}, "check", "pulled by 75 mm"),
        ({"shape": Shape(squeezed_percent=8)}, "check", "8 % of the anatomy is squeezed"),
        ({"shape": Shape(turn_degrees=178)}, "check", "turned by 178 degrees"),
        ({"shape": Shape(turn_degrees=178), "mirror": Mirror(1.0, "left to right")}, "check", "left from right"),
        ({"shape": Shape(turn_degrees=178), "mirror": Mirror(0.2, "left to right")}, "good", "smooth"),
        ({"orientation_open": True}, "check", "alike in another orientation"),
        ({"shape": Shape(scale_high=2.5)}, "check", "scaled by 2.50"),
        ({"shape": Shape(scale_low=0.4)}, "check", "scaled by 0.40"),
    ],
)
def test_the_reason_is_said_in_words(changes, verdict, words):
    found, reasons = report(**changes).judge()
    assert found == verdict
    assert words in " ".join(reasons)


def test_the_command_line_writes_the_map_and_its_summary(tmp_path, capsys):
    grid = oblique((24, 28, 26))
    for name, seed in (("fixed", 0), ("moving", 1)):
        picture(grid, seed).save(tmp_path / f"{name}.nrrd")
    arguments = [
        str(tmp_path / "fixed.nrrd"),
        str(tmp_path / "moving.nrrd"),
        "--output-doubt",
        str(tmp_path / "d.nrrd"),
    ]
    code = main(["register", *arguments, "--affine", "none", "--refine", "none", "--progress", "json"])
    assert code == 0
    done = json.loads(capsys.readouterr().out.splitlines()[-1])["report"]
    assert done["doubt_percent"] > 50
    assert done["shape"]["bend_mm"] < 1e-3
    assert done["verdict"] != "good"
    doubt = read_image(tmp_path / "d.nrrd")
    assert doubt.grid.same_as(grid)
    assert 0 <= doubt.array.min() <= doubt.array.max() <= 1


def test_exchange_files_can_be_written_without_compression(tmp_path):
    grid = oblique((24, 28, 26))
    picture(grid).save(tmp_path / "fixed.nrrd")
    picture(grid, 1).save(tmp_path / "moving.nrrd")
    same = [str(tmp_path / "fixed.nrrd"), str(tmp_path / "moving.nrrd"), "--affine", "none", "--refine", "none"]
    encodings = {}
    for option in ("", "--no-compression"):
        out = ["--output-volume", "--output-transform", "--output-jacobian", "--output-doubt", "--output-inverse"]
        files = [tmp_path / f"{name[9:]}{option}.nrrd" for name in out]
        outputs = [str(x) for pair in zip(out, files, strict=True) for x in pair]
        assert main(["register", *same, *outputs, "--progress", "none", *([option] if option else [])]) == 0
        encodings[option] = {path.read_bytes().split(b"encoding: ")[1].split(b"\n")[0] for path in files}
    assert encodings == {"": {b"gzip"}, "--no-compression": {b"raw"}}
