import json

import numpy as np
import pytest

from DeepRegistrationLib.errors import InputError
from DeepRegistrationLib.geometry.image import Image
from DeepRegistrationLib.quality.report import Report, overlay_png, save_report
from DeepRegistrationLib.quality.shape import Shape
from DeepRegistrationLib.quality.slices import EDGES, upright, views, world_axes
from DeepRegistrationLib.refinement.hypotheses import Evidence
from DeepRegistrationLib.settings import AFFINE_ALONE, NETWORK_ALONE
from Testing.Lib.geometry.geometries import GRIDS, oblique


def report(**changes):
    values = {"similarity": "NMI", "similarity_before": 0.2, "similarity_after": 0.4, "seconds": {"refine": 2.0}}
    return Report("none", "fast", "auto", "cpu", "1.0", **{**values, **changes})


ALONE = {
    "chosen": "information",
    "error_step_mm": 3.0,
    "hypotheses": (
        Evidence("information"),
        Evidence("translated", apart_mm=7.0),
        Evidence("far, information", apart_mm=9.0),
        Evidence(AFFINE_ALONE, apart_mm=2.0),
        Evidence(NETWORK_ALONE, apart_mm=1.0),
    ),
}
FAR_OFF = {"points_error_mm": 9.0, "affine_points_error_mm": 9.0, "error_step_mm": 3.0}
STAYED = {"affine_points_error_mm": 2.0, "error_step_mm": 3.0}
BENT = {"shape": Shape(bend_mm=20.0, bend_percent=11.0, largest_bend_percent=20.0), "error_step_mm": 3.0}
FOUND_AGAIN = {"points_error_mm": 0.6, "error_step_mm": 3.0, "doubt_percent": 2.0}


@pytest.mark.parametrize(
    ("changes", "verdict", "words"),
    [
        ({}, "good", "smooth and invertible"),
        ({"folding_percent": 0.01}, "check", "folds in 0.0100 %"),
        ({"inverse_error_mm": 3.0}, "check", "3.0 mm remain"),
        ({"elsewhere_mm": 40.0}, "check", "fit better 40 mm from where"),
        (
            {"elsewhere_mm": 40.0, "points_error_mm": 0.7, "error_step_mm": 3.0},
            "check",
            "fit better 40 mm from where",
        ),
        ({"elsewhere_mm": 40.0, "points_error_mm": 0.5, "error_step_mm": 3.0}, "good", "smooth and invertible"),
        ({"warnings": ["Look here."]}, "check", "Look here."),
        ({"folding_percent": 2.0}, "bad", "more smoothness"),
        ({"similarity_after": 0.1}, "bad", "less alike"),
        ({"similarity_after": float("nan")}, "check", "could not be measured"),
        ({"chosen": AFFINE_ALONE}, "good", "which is the answer"),
        ({"chosen": AFFINE_ALONE, **FAR_OFF}, "check", "about 9.0 mm from where they belong"),
        (FAR_OFF, "check", "about 9.0 mm from where they belong"),
        ({**FAR_OFF, "points_error_mm": 7.5}, "good", "smooth and invertible"),
        ({**FAR_OFF, "points_error_mm": 6.0}, "check", "about 6.0 mm from where they belong"),
        ({**FAR_OFF, "points_error_mm": 4.0}, "good", "smooth and invertible"),
        ({"chosen": AFFINE_ALONE, **FAR_OFF, "points_error_mm": 7.5}, "check", "about 7.5 mm"),
        ({"chosen": AFFINE_ALONE, **STAYED, "points_error_mm": 2.4}, "check", "about 2.4 mm"),
        ({"chosen": AFFINE_ALONE, **STAYED, "points_error_mm": 2.0}, "good", "which is the answer"),
        ({"chosen": NETWORK_ALONE}, "check", "what the universal network proposes"),
        (ALONE, "check", "the nearest lies 7.0 mm from the result"),
        ({**ALONE, "error_step_mm": 3.6}, "good", "smooth and invertible"),
        ({**ALONE, "error_step_mm": float("nan")}, "good", "smooth and invertible"),
        ({**ALONE, "chosen": AFFINE_ALONE}, "good", "which is the answer"),
        ({**ALONE, "hypotheses": ALONE["hypotheses"][:1]}, "good", "smooth and invertible"),
        (BENT, "check", "bent by up to 20 mm, 11 % of its size"),
        ({**BENT, **FOUND_AGAIN}, "good", "smooth and invertible"),
        ({**BENT, **FOUND_AGAIN, "points_error_mm": 1.0}, "check", "hardly plausible"),
        ({**BENT, **FOUND_AGAIN, "doubt_percent": 6.0}, "check", "hardly plausible"),
        ({**FOUND_AGAIN, "shape": Shape(bend_percent=15.0)}, "bad", "hardly plausible"),
        ({"shape": Shape(largest_bend_percent=20.0)}, "check", "pulled by"),
        ({**FOUND_AGAIN, "shape": Shape(largest_bend_percent=20.0)}, "good", "smooth and invertible"),
        ({"lost_percent": 3.0}, "good", "smooth and invertible"),
        ({"lost_percent": 14.0}, "check", "Hardly a point is found again in 14 % of the anatomy, though"),
        ({"filled_percent": 12.0}, "good", "smooth and invertible"),
        ({"filled_percent": 24.0}, "check", "24 % of the anatomy meets nothing"),
        ({"label_dice": 0.8}, "good", "smooth and invertible"),
        ({"label_dice": 0.2}, "check", "a Dice of only 0.20"),
    ],
)
def test_the_verdict_is_given_with_its_reason(changes, verdict, words):
    found, reasons = report(**changes).judge()
    assert found == verdict
    assert words in " ".join(reasons)


def test_the_report_is_valid_json_even_without_a_similarity():
    values = json.loads(json.dumps(report(similarity_after=float("nan")).as_dict(), allow_nan=False))
    assert values["similarity_after"] is None
    assert values["total_seconds"] == 2.0


@pytest.mark.parametrize("grid", [*GRIDS.values(), oblique((1, 30, 20))], ids=[*GRIDS, "one slice"])
def test_the_page_shows_numbers_and_pictures(tmp_path, grid):
    image = Image(np.random.default_rng(0).normal(size=grid.shape).astype(np.float32), grid)
    page = save_report(report(warnings=["a < b"]), tmp_path / "new" / "folder", image, image, image).read_text(
        encoding="utf-8"
    )
    assert "data:image/png" in page
    assert "0.200 before, 0.400 after" in page
    assert "a &lt; b" in page


def test_the_overlay_hangs_upright():
    # A bright spot at the patient's left, front, top, in a grid whose axes all point the other way.
    grid = oblique((30, 30, 30), (1, 1, 1), (0, 0, 0), flips=(-1, -1, -1), origin=(0, 0, 0))
    array = np.zeros(grid.shape, np.float32)
    low = np.full(3, -27.0)
    index = tuple(grid.to_index(np.array([low[0] + 24, low[1] + 3, low[2] + 24])).round().astype(int))
    array[index] = 1
    places = {}
    for name, axis in views(grid):
        picture, _ = upright(np.take(array, index[axis], axis=axis), grid, axis)
        row, column = np.argwhere(picture == 1)[0]
        places[name] = (row < 15, column >= 15)  # in the upper half? in the right half?
    assert places["axial"] == (True, True)  # front up, the patient's left on the right
    assert places["coronal"] == (True, True)
    assert places["sagittal"][0]


@pytest.mark.parametrize("angles", [(0, 0, 45), (45, 35.26, 0), (30, 40, 50), (0, 0, -45)], ids=str)
def test_each_plane_is_there_once_however_oblique(angles):
    grid = oblique((20, 30, 40), (1, 1, 1), angles)
    assert sorted(name for name, _ in views(grid)) == ["axial", "coronal", "sagittal"]
    assert sorted(world_axes(grid)) == [0, 1, 2]


@pytest.mark.parametrize("flips", [(1, 1, 1), (-1, 1, -1), (-1, -1, -1)], ids=str)
def test_the_letters_are_at_the_sides_that_they_name(flips):
    grid = oblique((21, 22, 23), (1, 1, 1), (5, 8, -6), flips=flips)
    center = grid.to_world((np.array(grid.shape) - 1) / 2)
    toward = {"L": (9, 0, 0), "R": (-9, 0, 0), "P": (0, 9, 0), "A": (0, -9, 0), "S": (0, 0, 9), "I": (0, 0, -9)}
    for name, axis in views(grid):
        for letter, place in zip(EDGES[name], ("left", "right", "top", "bottom"), strict=True):
            array = np.zeros(grid.shape, np.float32)
            index = grid.to_index(center + toward[letter]).round().astype(int)
            array[tuple(index)] = 1
            picture, _ = upright(np.take(array, index[axis], axis=axis), grid, axis)
            (row, column), (rows, columns) = np.argwhere(picture == 1)[0], picture.shape
            sides = {"left": -column, "right": column - columns, "top": -row, "bottom": row - rows}
            assert max(sides, key=sides.get) == place, (name, letter)


def test_what_went_on_is_told_with_what_was_weighed_if_anything_was():
    said = dict(report(chosen="lncc").lines())["Chosen"]
    assert said == "lncc, as nothing else was weighed"
    said = dict(report(chosen="lncc", hypotheses=(Evidence("lncc", gain=0.5), Evidence("affine"))).lines())["Chosen"]
    assert said == "lncc (worth of what was tried: lncc +0.500, affine +0.000)"


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    image = Image(np.eye(4, dtype=np.float32), GRIDS["oblique 2-D"].resized((4, 4)))
    with pytest.raises(InputError, match="cannot be written"):
        save_report(report(), tmp_path / "file" / "report", image, image, image)


def test_a_picture_is_png():
    grid = GRIDS["oblique 2-D"]
    image = Image(np.arange(np.prod(grid.shape), dtype=np.float32).reshape(grid.shape), grid)
    assert overlay_png(image, image, image)[:4] == b"\x89PNG"
