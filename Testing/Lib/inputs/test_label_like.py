import numpy as np
import pytest

from DeepRegistrationLib.geometry.image import read_image
from DeepRegistrationLib.inputs.label_like import looks_like_labels
from Testing.data import DATA

RNG = np.random.default_rng(0)


def regions(shape, count):
    """Blocks of 5 voxels with numbers from 0 to ``count``."""
    blocks = RNG.integers(0, count + 1, [n // 5 for n in shape])
    for axis in range(len(shape)):
        blocks = blocks.repeat(5, axis)
    return blocks


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (regions((40, 40, 40), 20).astype(np.uint8), True),
        (regions((100, 100), 300).astype(np.int32) * 50, True),
        (regions((40, 40, 40), 20).astype(np.float32), True),
        (regions((40, 40), 20) - 1024, True),
        (RNG.random((30, 30)) > 0.5, True),
        ((RNG.random((30, 30)) > 0.9).astype(np.uint8) * 255, True),
        (regions((40, 40), 20) + 0.5, False),
        (np.where(regions((40, 40), 3), np.nan, 1.0), False),
        (RNG.integers(0, 256, (40, 40)).astype(np.uint8), False),
        (np.round(RNG.normal(100, 5, (20, 20, 20))).astype(np.int16), False),
        (np.add.outer(np.arange(40), np.arange(40)).astype(np.uint8), False),
        (np.arange(40_000).reshape(200, 200), False),
        (np.full((8, 8), 7, np.uint8), True),
    ],
)
def test_numbers_of_regions_are_told_from_intensities(array, expected):
    assert looks_like_labels(array) is expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("brain_slices/OAS1_0001_slice_seg24.nii.gz", True),
        ("brain_slices/OAS1_0001_slice_norm.nii.gz", False),
        ("cardiac_mr/sa_ED_label.nii.gz", True),
        ("cardiac_mr/sa_ED.nii.gz", False),
        ("hippocampus/hippocampus_004_img.nii.gz", False),
        ("ct_mr_smoke/example_seg.nii.gz", True),
        ("ct_mr_smoke/example_ct_sm.nii.gz", False),
        ("retina/fixed_vessels.png", True),
        ("retina/fixed.png", False),
        ("hand_xray/fixed.png", False),
        ("knee_mr/fixed.nii.gz", False),
    ],
)
def test_real_images_and_label_maps_are_told_apart(name, expected):
    if not (DATA / name).exists():
        pytest.skip("the shared data are not here")
    assert looks_like_labels(read_image(DATA / name).array) is expected
