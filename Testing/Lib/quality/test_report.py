import json

import numpy as np
import pytest

from DeepRegistrationLib.errors import InputError
from DeepRegistrationLib.geometry.image import Image
from DeepRegistrationLib.quality.report import Report, overlay_png, save_report
from DeepRegistrationLib.settings import AFFINE_ALONE, NETWORK_ALONE
from Testing.Lib.geometry.geometries import GRIDS, oblique


def report(**changes):
    values = {"similarity": "NMI", "similarity_before": 0.2, "similarity_after": 0.4, "seconds": {"refine": 2.0}}
    return Report("none", "fast", "auto", "cpu", "1.0", **{**values, **changes})


FAR_OFF = {"estimated_error_mm": 9.0, "affine_error_mm": 9.0, "error_step_mm": 3.0}


@pytest.mark.parametrize(
    ("changes", "verdict", "words"),
    [
        ({}, "good", "smooth and invertible"),
        ({"folding_percent": 0.01}, "check", "folds in 0.0100 %"),
        ({"inverse_error_mm": 3.0}, "check", "3.0 mm remain"),
        ({"warnings": ["Look here."]}, "check", "Look here."),
        ({"folding_percent": 2.0}, "bad", "more smoothness"),
        ({"similarity_after": 0.1}, "bad", "less alike"),
        ({"similarity_after": float("nan")}, "check", "could not be measured"),
        ({"chosen": AFFINE_ALONE}, "good", "which is the answer"),
        ({"chosen": AFFINE_ALONE, **FAR_OFF}, "check", "about 9.0 mm from where they belong"),
        (FAR_OFF, "good", "smooth and invertible"),
        ({"chosen": NETWORK_ALONE}, "check", "what the universal network proposes"),
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
    from DeepRegistrationLib.quality.slices import upright, views

    places = {}
    for name, axis in views(grid):
        picture, _ = upright(np.take(array, index[axis], axis=axis), grid, axis)
        row, column = np.argwhere(picture == 1)[0]
        places[name] = (row < 15, column >= 15)  # in the upper half? in the right half?
    assert places["axial"] == (True, True)  # front up, the patient's left on the right
    assert places["coronal"] == (True, True)
    assert places["sagittal"][0]


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    image = Image(np.eye(4, dtype=np.float32), GRIDS["oblique 2-D"].resized((4, 4)))
    with pytest.raises(InputError, match="cannot be written"):
        save_report(report(), tmp_path / "file" / "report", image, image, image)


def test_a_picture_is_png():
    grid = GRIDS["oblique 2-D"]
    image = Image(np.arange(np.prod(grid.shape), dtype=np.float32).reshape(grid.shape), grid)
    assert overlay_png(image, image, image)[:4] == b"\x89PNG"
