"""What is wrong about a call of ``register`` is said in a sentence before anything is computed."""

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from DeepRegistrationLib import InputError, register
from DeepRegistrationLib.geometry.image import Grid, Image
from DeepRegistrationLib.inputs.pair import working_grid
from Testing.Lib.test_pipeline import FAST, pair

GRID = Grid.from_shape((14, 16, 15), 2.0)
INSIDE = np.full((2, 3), 12.0)


def points(*values):
    wrong = INSIDE.copy()
    wrong[1, :] = values
    return wrong


def label_map(value, dtype=np.uint8, shape=GRID.shape):
    array = np.zeros(shape, dtype)
    array[tuple(slice(4, 9) for _ in shape)] = value
    return Image(array, Grid.from_shape(shape, 2.0))


def elsewhere(image):
    """The same voxels a meter away, as a map of another image, or of other coordinates, lies."""
    matrix = image.grid.matrix.copy()
    matrix[:-1, -1] += 1000.0
    return Image(image.array, Grid(image.grid.shape, matrix))


def half_outside(lost, kept):
    """A map that reaches beyond the image, where the label ``lost`` is."""
    grid = GRID.cropped([0, 0, 0], (14, 16, 29))
    array = np.zeros(grid.shape, np.uint8)
    array[4:9, 4:9, 4:9], array[4:9, 4:9, 20:25] = kept, lost
    return Image(array, grid)


ONE = label_map(1)


@pytest.fixture
def nothing_is_computed(monkeypatch):
    def refuse(*_args, **_keywords):
        raise AssertionError("the input was wrong, and something was computed")

    for name in ("find_alignment", "measure_mirror", "refine_field", "predict", "invert", "content_of"):
        monkeypatch.setattr(f"DeepRegistrationLib.pipeline.{name}", refuse)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"landmarks": (INSIDE, points(np.nan, 1, 1))}, r"moving landmarks have point 2 .* no place"),
        ({"landmarks": (points(np.inf, 1, 1), INSIDE)}, r"fixed landmarks have point 2 .* no place"),
        ({"landmarks": (points(1e300, 1, 1), INSIDE)}, "no place"),
        ({"landmarks": (points(-1e5, 1, 1), INSIDE)}, "far outside"),
        ({"landmarks": (INSIDE[:, :2], INSIDE[:, :2])}, "3-D ones are needed"),
        ({"landmarks": (INSIDE[:0], INSIDE[:0])}, "3-D ones are needed"),
        ({"landmarks": ([["a", "b", "c"]], [["a", "b", "c"]])}, "must be numbers, one row of coordinates a point"),
        ({"landmarks": INSIDE[0]}, "are a pair"),
        ({"landmarks": (INSIDE, INSIDE), "refine": "none"}, "act in the refinement only"),
        ({"labels": (ONE, ONE), "refine": "none"}, "act in the refinement only"),
        ({"labels": ONE}, "are a pair"),
        ({"labels": (label_map(1, shape=(14, 16)), ONE)}, "2-D and the images 3-D"),
        ({"labels": (label_map(1.5, np.float32), ONE)}, "is no label"),
        ({"labels": (label_map(1e300, np.float64), ONE)}, "are no labels"),
        ({"labels": (label_map(np.inf, np.float32), ONE)}, "are no labels"),
        ({"labels": (label_map(2**63, np.uint64), ONE)}, "are no labels"),
        ({"labels": (label_map(2), ONE)}, "no label in common"),
        ({"labels": ("nowhere.nii", ONE)}, "does not exist"),
        ({"labels": (elsewhere(ONE), ONE)}, "fixed label map has no label inside the fixed image"),
        ({"labels": (ONE, elsewhere(ONE))}, "moving label map has no label inside the moving image"),
        ({"labels": (ONE, half_outside(1, 2))}, "no label in common"),
        ({"similarity": "magic", "refine": "none"}, "similarity can be"),
        ({"similarity": None}, "similarity can be"),
        ({"refine": None}, "refine can be"),
        ({"affine": ["auto"]}, "affine can be"),
        ({"smoothness": "stiff"}, "smoothness is a number"),
        ({"smoothness": float("nan")}, "smoothness is a number"),
        ({"smoothness": True}, "smoothness is a number"),
        ({"seed": 2**64}, "out of range"),
        ({"seed": -1}, "out of range"),
        ({"seed": 1.5}, "whole number"),
        ({"seed": "one"}, "whole number"),
        ({"seed": None}, "whole number"),
        ({"variant": "zzz"}, "has no variants"),
        ({"fine_tune": True, "method": "none"}, "none to fine-tune"),
        ({"fine_tune": "yes", "method": "none"}, "True or False"),
        ({"refine": np.zeros((4, 4))}, "refine can be"),
        ({"seed": np.zeros((4, 4))}, "whole number"),
        ({"fine_tune": np.zeros((4, 4))}, "True or False"),
        ({"method": np.zeros((4, 4))}, "is a name or a path"),
        ({"method": "n" * 5000}, "is a name or a path"),
        ({"settings": {"refine": "fast"}}, "give single ones by name"),
        ({"settings": np.zeros((4, 4))}, "give single ones by name"),
        ({"progress": "bar"}, "progress is a function"),
        ({"cancel": True}, "cancel is a CancelToken"),
        ({"progress": lambda fraction: None}, "progress is called with stage, fraction, message; give"),
        ({"on_level": lambda: None}, "on_level is called with preview; give"),
        ({"stop": lambda preview: True}, "stop is called with nothing; give"),
        ({"landmark_names": ["a"]}, "landmark_names are those of landmarks"),
        ({"landmarks": (INSIDE, INSIDE), "landmark_names": "a" * 40}, "There are 40 landmark_names for"),
        ({"landmarks": (INSIDE + 1j, INSIDE)}, "must be numbers"),
        ({"initial_transform": np.eye(4)}, "must be a path or a SimpleITK transform"),
        ({"initial_transform": b"t.h5"}, "must be a path or a SimpleITK transform"),
        ({"device": "cpu:99"}, "no device cpu:99"),
        ({"device": "meta"}, "not supported"),
        ({"device": "gpu"}, "no device named gpu"),
        ({"device": 7.5}, "no device"),
        ({"device": None}, "no device"),
        ({"initial_transform": sitk.Transform(2, sitk.sitkIdentity)}, "is 2-D and the images 3-D"),
    ],
)
def test_it_is_refused_in_a_sentence_before_anything_is_computed(wrong, sentence, nothing_is_computed):
    fixed, moving = pair(GRID, 1.0)
    with pytest.raises(InputError, match=sentence) as caught:
        register(fixed, moving, **{"affine": "auto", "device": "cpu", **wrong})
    assert "\n" not in str(caught.value)


def test_lists_of_points_and_numbers_of_numpy_are_fine():
    fixed, moving = pair(GRID, 1.0)
    result = register(
        fixed,
        moving,
        landmarks=[INSIDE.tolist(), INSIDE.tolist()],
        seed=np.int64(3),
        smoothness=np.float32(2),
        **FAST,
    )
    assert result.report.folding_percent == 0


def test_label_maps_with_gaps_of_no_number_and_huge_labels_pull():
    fixed, moving = pair(GRID, 1.0)
    maps = label_map(16e6, np.float64), label_map(16_000_000, np.uint32)
    maps[0].array[0, 0, 0] = np.nan
    assert register(fixed, moving, labels=maps, **FAST).report.folding_percent == 0


def test_the_working_grid_does_not_depend_on_what_is_free_just_now_and_a_coarser_one_is_said(monkeypatch):
    large = Grid.from_shape((300, 300, 300))
    found = []
    for free in (100, 4, 20):
        monkeypatch.setattr("DeepRegistrationLib.inputs.pair.available_bytes", lambda device, free=free: free << 30)
        found.append(working_grid(large, torch.device("cpu")).shape)
    assert found[0] == found[1] == found[2]
    monkeypatch.setattr("DeepRegistrationLib.inputs.pair.available_bytes", lambda device: 100 << 20)
    with pytest.raises(InputError, match=r"0\.1 of about 2\.\d GB"):
        working_grid(large, torch.device("cpu"))
    monkeypatch.undo()
    monkeypatch.setitem(__import__("DeepRegistrationLib.inputs.pair").inputs.pair.MOST_VOXELS, "cpu", 2000)
    fixed, moving = pair(GRID, 1.0)
    result = register(fixed, moving, **FAST)
    assert any("instead of 2 x 2 x 2 mm" in warning for warning in result.report.warnings)
    assert result.report.judge()[0] == "check"


def test_values_that_are_the_same_in_double_precision_are_said_to_be_so():
    fixed, moving = pair(GRID, 1.0)
    far = Image((fixed.array / 8).astype(np.uint64) + np.uint64(2**62), fixed.grid)
    with pytest.raises(InputError, match=r"values of the .*4.61e\+18, differ by too little"):
        register(far, moving, **FAST)
